package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/profile"
)

// ProcessCost is what one job costs a process.
type ProcessCost struct {
	Process  string        `json:"process"`
	CPU      float64       `json:"cpuMicrosecondsPerJob"`
	Packages []PackageCost `json:"packages,omitempty"`
	// Problem is why there is no profile; else empty.
	Problem string `json:"problem,omitempty"`
}

// PackageCost is what one job costs in a package of a process: its share of the profile, of the process's CPU time.
type PackageCost struct {
	profile.Package
	SelfCPU  float64 `json:"selfMicrosecondsPerJob"`
	TotalCPU float64 `json:"totalMicrosecondsPerJob"`
}

// print writes the packages that took the most CPU time.
func (c ProcessCost) print(w io.Writer, most int) {
	fmt.Fprintf(w, "\n%s: %.0f µs of CPU per job", c.Process, c.CPU)
	if c.Problem != "" {
		fmt.Fprintf(w, "; no profile: %s\n", c.Problem)
		return
	}
	fmt.Fprintf(w, "\n%10s %7s   %12s   package\n", "µs per job", "share", "with callees")
	for i, p := range c.Packages {
		if i == most {
			break
		}
		fmt.Fprintf(w, "%10.1f %6.1f%%   %12.1f   %s\n", p.SelfCPU, 100*p.Self, p.TotalCPU, p.Name)
	}
}

// measuredProcess is a process whose CPU time is measured.
type measuredProcess struct {
	name  string
	pid   int    // 0 for a process that may be on another machine
	ops   string // address of its operations listener; empty if it has none
	token string // of the operations listener
}

// clientsName is the name of this process in reports.
const clientsName = "clients"

// cpuTimes has the CPU seconds of processes, by their names.
type cpuTimes map[string]float64

// perJob returns microseconds per job; nil without jobs.
func (t cpuTimes) perJob(jobs int64) map[string]float64 {
	if jobs == 0 {
		return nil
	}
	out := map[string]float64{}
	for name, seconds := range t {
		out[name] = seconds * 1e6 / float64(jobs)
	}
	return out
}

// cpuDuring returns the CPU time of all processes from now until ctx ends.
func (s *measuredSystem) cpuDuring(ctx context.Context) (cpuTimes, error) {
	read := func() (cpuTimes, error) {
		out := cpuTimes{}
		for _, p := range s.processes {
			seconds, err := p.seconds(context.WithoutCancel(ctx))
			if err != nil {
				return nil, fmt.Errorf("the CPU time of %s: %w", p.name, err)
			}
			out[p.name] = seconds
		}
		return out, nil
	}
	before, err := read()
	if err != nil {
		return nil, err
	}
	<-ctx.Done()
	after, err := read()
	for name := range after {
		after[name] -= before[name]
	}
	return after, err
}

// seconds returns the CPU time of the process since its start.
func (p measuredProcess) seconds(ctx context.Context) (float64, error) {
	if p.pid != 0 {
		u, err := usage(p.pid)
		return u.seconds, err
	}
	body, err := p.get(ctx, "/metrics", 10*time.Second)
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "process_cpu_seconds_total "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("%s/metrics has no process_cpu_seconds_total", p.ops)
}

// get reads a page of the operations listener.
func (p measuredProcess) get(ctx context.Context, path string, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.ops, "/")+path, nil)
	if err != nil {
		return nil, err
	}
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	answer, err := keptAlive.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", path, answer.Status, bytes.TrimSpace(body))
	}
	return body, err
}

// processProfile has the packages of a process, or the problem why they are not known.
type processProfile struct {
	process  string
	packages []profile.Package
	problem  string
}

// profilesDuring profiles all processes for some seconds, less if ctx ends before.
func (s *measuredSystem) profilesDuring(ctx context.Context, seconds int) []processProfile {
	out := make([]processProfile, len(s.processes))
	var all sync.WaitGroup
	for i, p := range s.processes {
		all.Go(func() {
			packages, err := p.profile(ctx, seconds)
			out[i] = processProfile{process: p.name, packages: packages}
			if err != nil {
				out[i].problem = err.Error()
			}
		})
	}
	all.Wait()
	slices.SortStableFunc(out, func(a, b processProfile) int { // processes without a profile last
		return cmp.Compare(min(len(a.problem), 1), min(len(b.problem), 1))
	})
	return out
}

func (p measuredProcess) profile(ctx context.Context, seconds int) ([]profile.Package, error) {
	switch {
	case p.pid == os.Getpid():
		var file bytes.Buffer
		if err := pprof.StartCPUProfile(&file); err != nil {
			return nil, err
		}
		pause.For(ctx, time.Duration(seconds)*time.Second)
		pprof.StopCPUProfile()
		return profile.ByPackage(&file)
	case p.ops == "":
		return nil, fmt.Errorf("%s has no operations listener", p.name)
	}
	// The listener answers when the profile is complete, perhaps after ctx has ended.
	file, err := p.get(context.WithoutCancel(ctx), fmt.Sprint("/debug/pprof/profile?seconds=", seconds),
		time.Duration(seconds+30)*time.Second)
	if err != nil {
		return nil, err
	}
	return profile.ByPackage(bytes.NewReader(file))
}
