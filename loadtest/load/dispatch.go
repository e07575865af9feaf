package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/scenario"
)

// dispatcher hands submits to clients when they are due. A submit for which no socket has room waits in the backlog,
// and its latency goes on counting: an open loop, without coordinated omission.
type dispatcher struct {
	r        *run
	schedule *schedule
	mix      *mix
	backlog  []*arrival
	cursor   int  // the client whose turn it is
	stuck    bool // no client had room at the last attempt
}

// run goes through the schedule and returns when all submits are due, or ctx ends.
func (d *dispatcher) run(ctx context.Context, began time.Time) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	at, phase, more := d.schedule.next()
	for more {
		now := time.Now()
		for more && !began.Add(at).After(now) {
			d.arrive(began.Add(at), phase)
			at, phase, more = d.schedule.next()
		}
		d.hand()
		if !more {
			return
		}
		timer.Reset(time.Until(began.Add(at)))
		select {
		case <-timer.C:
		case <-d.r.room:
			d.stuck = false
		case <-ctx.Done():
			return
		}
	}
}

// arrive puts a submit that is due into the backlog.
func (d *dispatcher) arrive(due time.Time, phase int) {
	d.r.rec.Arrived(phase)
	if len(d.backlog) >= maxBacklog || d.r.jobs.len() >= maxOpenJobs {
		d.r.rec.Count(func(n *measure.Counts) { n.Dropped++; n.Backlog-- })
		return
	}
	a := &arrival{of: measure.Of{Job: d.mix.next(), Phase: phase}, due: due}
	share := d.r.kinds[a.of.Job].Output
	a.output = share > 0 && d.r.chance(share)
	d.backlog = append(d.backlog, a)
}

// hand gives the backlog to clients as long as one has room.
func (d *dispatcher) hand() {
	for len(d.backlog) > 0 && !d.stuck {
		a := d.backlog[0]
		if !d.give(a) {
			d.stuck = true
			break
		}
		d.backlog[0] = nil
		d.backlog = d.backlog[1:]
		waited := a.waited
		d.r.rec.Count(func(n *measure.Counts) {
			n.Backlog--
			if waited {
				n.Delayed++
			}
		})
	}
	for i := len(d.backlog) - 1; i >= 0 && !d.backlog[i].waited; i-- {
		d.backlog[i].waited = true
	}
}

// give finds the next client that takes a.
func (d *dispatcher) give(a *arrival) bool {
	for range d.r.clients {
		c := d.r.clients[d.cursor]
		d.cursor = (d.cursor + 1) % len(d.r.clients)
		if c.submit(a) {
			return true
		}
	}
	return false
}

// finish hands out what is left, until ctx ends. What is left then was never sent.
func (d *dispatcher) finish(ctx context.Context) {
	for {
		d.hand()
		if len(d.backlog) == 0 {
			return
		}
		select {
		case <-d.r.room:
			d.stuck = false
		case <-ctx.Done():
			left := int64(len(d.backlog))
			d.backlog = nil
			d.r.rec.Count(func(n *measure.Counts) { n.Dropped += left; n.Backlog -= left })
			return
		}
	}
}

// gather makes other clients watch a job that was just acked.
func (r *run) gather(submitter *client, jobID string, watchers int, f *fan, o *output) {
	if watchers == 0 {
		return
	}
	r.mu.Lock()
	start := r.random.IntN(len(r.clients))
	r.mu.Unlock()
	for i := range r.clients {
		c := r.clients[(start+i)%len(r.clients)]
		if c == submitter {
			continue
		}
		c.watch(jobID, f, o.fresh())
		watchers--
		if watchers == 0 {
			return
		}
	}
}

// stage records the current phase, for the view, and cuts sockets if the phase asks for it.
func (r *run) stage(ctx context.Context, began time.Time) {
	begin := began
	for i, p := range r.cfg.Scenario.Phases {
		if !pause.For(ctx, time.Until(begin)) {
			return
		}
		r.rec.Stage(p.Name, i)
		if c := p.Reconnect; c != nil {
			at := begin.Add(c.At)
			r.wg.Go(func() {
				if pause.For(ctx, time.Until(at)) {
					r.cut(ctx, c, i)
				}
			})
		}
		begin = begin.Add(p.Duration)
	}
}

// cut closes a share of the sockets. The fault is over when all clients may have reconnected.
func (r *run) cut(ctx context.Context, c *scenario.Reconnect, phase int) {
	random := rand.New(rand.NewPCG(r.cfg.Scenario.Seed, uint64(100+phase)))
	n := int(c.Share*float64(len(r.clients)) + 0.5)
	now := time.Now()
	r.fault("%d sockets are cut", n)
	for _, i := range random.Perm(len(r.clients))[:n] {
		r.clients[i].cutOff(now.Add(time.Duration(random.Float64() * float64(c.Over))))
	}
	if pause.For(ctx, c.Over) {
		r.fault("all that were cut may be back")
	}
}

// key returns an idempotency key that no other run has.
func (r *run) key() string { return fmt.Sprintf("%s-%d", r.keys, r.keyed.Add(1)) }
