package measure

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// Limits above which a figure of the generator's machine may have distorted the measurements.
const (
	lagShare  = 0.1 // of the ack's median
	lagFloor  = 1.0 // milliseconds
	busyLine  = 0.9 // of the machine's processors
	busyTime  = 0.1 // of the time
	cpuLine   = 0.8 // of the machine's processors, by the generator alone
	schedLine = 5.0 // milliseconds
	minValues = 100 // with fewer values a p99 says little
)

// usage is a reading of the machine's counters.
type usage struct {
	cpu         time.Duration // of this process
	busy, total uint64        // of the machine, in ticks; 0: not known
}

func readUsage() usage {
	u := usage{cpu: processCPU()}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u
	}
	// cpu user nice system idle iowait irq softirq steal … (proc(5))
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, word := range strings.Fields(line)[1:] {
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil || i > 7 { // guest time is in user's
			break
		}
		u.total += n
		if i != 3 && i != 4 {
			u.busy += n
		}
	}
	return u
}

func (u usage) cpuSince(was usage, seconds float64) float64 {
	return (u.cpu - was.cpu).Seconds() / seconds
}

// busySince returns the machine's load since was, from 0 to 1; negative when it is not known.
func (u usage) busySince(was usage) float64 {
	if u.total <= was.total {
		return -1
	}
	return float64(u.busy-was.busy) / float64(u.total-was.total)
}

// Watch begins to watch the machine. The function that it returns says how busy it was since then, from 0 to 1 or
// negative when that is not known, and how many cores this process has used.
func Watch() func() (busy, cores float64) {
	was, began := readUsage(), time.Now()
	return func() (busy, cores float64) {
		now := readUsage()
		return now.busySince(was), now.cpuSince(was, time.Since(began).Seconds())
	}
}

// schedP99 returns the p99 of the time for which runnable goroutines waited for a processor since the process began, in
// milliseconds.
func schedP99() float64 {
	sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := sample[0].Value.Float64Histogram()
	var total, seen uint64
	for _, n := range h.Counts {
		total += n
	}
	for i, n := range h.Counts {
		seen += n
		if total > 0 && float64(seen) >= 0.99*float64(total) {
			if v := h.Buckets[i+1]; !math.IsInf(v, 0) {
				return v * 1000
			}
			return h.Buckets[i] * 1000
		}
	}
	return 0
}

// machine returns the figures of the generator's machine. r.mu is held.
func (r *Recorder) machine(ack, lag Summary, embedded bool) Machine {
	m := Machine{
		Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Lag: lag, SchedP99: schedP99(), Descriptors: descriptorLimit(), MaxRSSMiB: maxRSS() >> 20,
		OutOfDescriptors: r.noFiles, OutOfPorts: r.noPorts, GetsSkipped: r.skipped, Busy: -1,
	}
	var busy, cpu float64
	var known, above int
	for _, p := range r.timeline {
		cpu += p.CPU
		if p.Busy >= 0 {
			known++
			busy += p.Busy
			if p.Busy > busyLine {
				above++
			}
		}
	}
	if n := len(r.timeline); n > 0 {
		m.CPU = cpu / float64(n)
	}
	if known > 0 {
		m.Busy, m.BusyShare = busy/float64(known), float64(above)/float64(known)
	}
	m.judge(ack, r.counts, embedded)
	return m
}

// judge adds a finding, a sentence, for each condition of the machine that has distorted the measurements.
func (m *Machine) judge(ack Summary, c Counts, embedded bool) {
	limit := func(format string, args ...any) {
		m.Limited = true
		m.Findings = append(m.Findings, fmt.Sprintf(format, args...))
	}
	if m.Lag.Count >= minValues && m.Lag.P99 > max(lagFloor, lagShare*ack.P50) {
		limit("The generator was late: 1 %% of the submits were written %.1f ms or more after they were due (at worst %.1f "+
			"ms), beside an ack's median of %.1f ms. Latencies contain it.", m.Lag.P99, m.Lag.Max, ack.P50)
	}
	if m.BusyShare > busyTime {
		limit("The machine's processors were above %.0f %% busy in %.0f %% of the time: the latencies are those of a full "+
			"machine.", 100*busyLine, 100*m.BusyShare)
	}
	if m.CPU > cpuLine*float64(m.Cores) && !embedded {
		limit("The generator itself took %.1f of %d cores: give it more, or run several.", m.CPU, m.Cores)
	}
	if m.SchedP99 > schedLine {
		limit("1 %% of the generator's goroutines waited %.1f ms or more for a processor.", m.SchedP99)
	}
	if c.Dropped > 0 {
		limit("%d arrivals were dropped because the generator's bounds were reached: the load was lower than the schedule's.",
			c.Dropped)
	}
	if m.OutOfDescriptors > 0 {
		limit("%d connects failed because the process has only %d descriptors (ulimit -n).", m.OutOfDescriptors,
			m.Descriptors)
	}
	if m.OutOfPorts > 0 {
		limit("%d connects failed because a source address ran out of ports: name more with --source.", m.OutOfPorts)
	}
	if m.GetsSkipped > 0 {
		limit("%d GETs after an ack were left out because too many were on their way.", m.GetsSkipped)
	}
	if c.Delayed > 0 {
		m.Findings = append(m.Findings,
			fmt.Sprintf("%d submits had to wait, because no client had a socket or each had as many submits in flight as the "+
				"server allows. That wait is in their latencies; it is not the generator's.", c.Delayed))
	}
	if embedded {
		m.Findings = append(m.Findings,
			"The system ran in the generator's own process: both shared its processors, and its CPU is in the generator's.")
	}
	if !m.Limited {
		m.Findings = append(m.Findings,
			fmt.Sprintf("Nothing on the generator's side limited this run: 99 %% of the submits were written within %.2f ms "+
				"of when they were due.", m.Lag.P99))
	}
}
