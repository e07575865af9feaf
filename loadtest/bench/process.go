package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/system"
)

// gatewayProcess is a gateway in its own process, so that its memory and CPU can be measured.
type gatewayProcess struct {
	addr, ops string // host:port
	pid       int
	stop      func()
}

// startGateway starts a gateway for a system and waits until it is ready. Clients without a token are the system's
// anonymous tenant, and one user may have any number of sockets.
func startGateway(ctx context.Context, binary string, sys *system.System, args ...string) (*gatewayProcess, error) {
	addrs, err := system.FreeAddrs(2)
	if err != nil {
		return nil, err
	}
	child := exec.CommandContext(ctx, binary, append([]string{"--kafka", sys.Kafka.Brokers[0], "--listen", addrs[0],
		"--ops-listen", addrs[1],
		"--anonymous-tenant", "local", "--subject-sessions", "0", "--log-level", "error"}, args...)...)
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	g := &gatewayProcess{
		addr: addrs[0], ops: addrs[1], pid: child.Process.Pid,
		stop: func() { _ = child.Process.Kill(); _ = child.Wait() },
	}
	if err := waitServing(ctx, "http://"+g.addr+"/v1/stats"); err != nil {
		g.stop()
		return nil, err
	}
	return g, nil
}

// counter returns the value of a metric without labels.
func (g *gatewayProcess) counter(ctx context.Context, name string) (float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.ops+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// heap returns the bytes of the gateway's heap that are in use after a collection. The gateway must have been started
// with --debug-endpoints.
func (g *gatewayProcess) heap(ctx context.Context) (float64, error) {
	for range 3 { // what finalizers and pools hold is gone after the second
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.ops+"/debug/pprof/heap?gc=1", nil)
		if err != nil {
			return 0, err
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			return 0, err
		}
		if answer.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("read the heap: %s", answer.Status)
		}
	}
	return g.counter(ctx, "go_memstats_heap_alloc_bytes")
}

func waitServing(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(r); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		if !pause.For(ctx, 100*time.Millisecond) {
			return fmt.Errorf("the gateway does not serve: %w", ctx.Err())
		}
	}
}

// processUsage has figures of a process from /proc.
type processUsage struct {
	rssKB   float64
	seconds float64 // of CPU
}

const ticksPerSecond = 100 // USER_HZ, the same on every Linux of today

func usage(pid int) (u processUsage, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(after, &u.rssKB); err != nil {
		return u, fmt.Errorf("read the memory of %d: %w", pid, err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("read the CPU time of %d", pid)
	}
	for _, f := range fields[11:13] { // utime, stime: proc(5)
		ticks, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return u, err
		}
		u.seconds += ticks / ticksPerSecond
	}
	return u, nil
}

// cpuOver returns the share of one CPU that a process uses during d.
func cpuOver(ctx context.Context, pid int, d time.Duration) (float64, error) {
	from, err := usage(pid)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if !pause.For(ctx, d) {
		return 0, ctx.Err()
	}
	to, err := usage(pid)
	return (to.seconds - from.seconds) / time.Since(began).Seconds(), err
}
