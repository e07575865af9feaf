package measure

import (
	"maps"
	"time"
)

// Result returns the result of the run.
func (r *Recorder) Result(urls []string, embedded, brokenOff bool) *Result {
	s := r.scenario
	out := &Result{
		Format: ResultFormat, Scenario: s.Name, About: s.About, URLs: urls, Embedded: embedded, BrokenOff: brokenOff,
		Sockets: s.Sockets, Tenants: s.Tenants, Seconds: s.Duration().Seconds(), Interval: r.interval.Seconds(),
		Latencies: map[Series]Summary{},
	}
	for name, l := range r.total {
		if sum := l.Summary(); sum.Count > 0 {
			out.Latencies[name] = sum
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out.Began = r.began.UTC().Truncate(time.Millisecond)
	out.Counts, out.Timeline = r.counts, r.timeline
	out.Errors, out.Losses = maps.Clone(r.errors), maps.Clone(r.losses)
	for i, j := range s.Jobs {
		p := r.jobs[i]
		out.Jobs = append(out.Jobs, JobResult{
			Name: j.Name, Type: j.Type, Acked: p.acked, Ended: maps.Clone(p.ended), Unexpected: p.unexpected,
			Ack: p.ack.Summary(), End: p.end.Summary(),
		})
	}
	var begin time.Duration
	var arrivals, seconds float64
	for i, ph := range s.Phases {
		p := r.phases[i]
		out.Phases = append(out.Phases, PhaseResult{
			Name: ph.Name, Begin: begin.Seconds(), Seconds: ph.Duration.Seconds(), From: ph.From, To: ph.To,
			Measured: ph.Measured,
			Arrivals: p.arrivals, Refused: p.refused, Ack: p.ack.Summary(), End: p.end.Summary(),
		})
		begin += ph.Duration
		if ph.Measured {
			arrivals += float64(p.arrivals)
			seconds += ph.Duration.Seconds()
		}
	}
	if seconds > 0 {
		out.Rate = arrivals / seconds
	}
	out.Machine = r.machine(out.Latencies[Ack], out.Latencies[Lag], embedded)
	return out
}
