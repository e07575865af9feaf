package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/ackwire/ackwire/loadtest/pace"
)

// peer is a system with settings, under a name for the table.
type peer struct {
	name string
	// open starts what the system needs in this process: clients and, but for Ackwire, workers. stop stops it.
	open func(ctx context.Context) (do pace.Job, stop func(), err error)
}

// row has what was measured of a peer.
type row struct {
	name    string
	results map[float64][]pace.Result // by rate, one of each round
	highest float64                   // 0: not searched, or no rate was held
}

// compare measures all peers: in rounds at each rate, by turns, and then the highest rate of each.
func compare(ctx context.Context, c config, peers []peer, tell func(format string, args ...any)) ([]row, error) {
	rows := make([]row, len(peers))
	for i, p := range peers {
		rows[i] = row{name: p.name, results: map[float64][]pace.Result{}}
	}
	bounds := pace.Bounds{Ack: c.Bound, End: c.EndBound}
	step := pace.Step{WarmUp: c.WarmUp, For: c.Duration, Behind: bounds.Behind()}
	for round := range c.Rounds {
		for _, rate := range c.Rates {
			for k := range peers {
				i := (k + round) % len(peers) // so that none is always first
				step.Rate = rate
				err := with(ctx, peers[i], func(do pace.Job) error {
					r, err := step.Run(ctx, do)
					if err == nil {
						rows[i].results[rate] = append(rows[i].results[rate], r)
						tell("%s", told(peers[i].name, r))
					}
					return err
				})
				if err != nil {
					return rows, err
				}
			}
		}
	}
	if c.Precision == 0 {
		return rows, nil
	}
	search := pace.Search{From: c.From, Most: c.Most, Precision: c.Precision}
	for i, p := range peers {
		err := with(ctx, p, func(do pace.Job) (err error) {
			rows[i].highest, err = search.Run(ctx, step, bounds, do, func(r pace.Result, held bool) {
				tell("%s, held: %v", told(p.name, r), held)
			})
			return err
		})
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// with opens a peer, uses it and closes it.
func with(ctx context.Context, p peer, use func(pace.Job) error) error {
	do, stop, err := p.open(ctx)
	if err == nil {
		err = use(do)
		stop()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

func told(name string, r pace.Result) string {
	return fmt.Sprintf("%-40s %6g/s: ack %.2f, %.2f ms; end %.2f, %.2f ms; %d failed %s",
		name, r.Rate, r.Ack.P50, r.Ack.P99, r.End.P50, r.End.P99, r.Failed, r.Problem)
}

// ends lets goroutines wait for the ends of jobs, which may be known before the job's ID.
type ends[ID comparable] struct {
	mu    sync.Mutex // guards known
	known map[ID]chan struct{}
}

func newEnds[ID comparable]() *ends[ID] { return &ends[ID]{known: map[ID]chan struct{}{}} }

// of returns the channel that is closed at the job's end.
func (e *ends[ID]) of(id ID) chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.known[id]
	if c == nil {
		c = make(chan struct{})
		e.known[id] = c
	}
	return c
}

// ended notes a job's end. Systems that run a job at least once may tell of it twice.
func (e *ends[ID]) ended(id ID) {
	c := e.of(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-c:
	default:
		close(c)
	}
}

// wait returns at the job's end.
func (e *ends[ID]) wait(ctx context.Context, id ID) error {
	c := e.of(id)
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.known, id)
	}()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// version returns a module's version in this binary.
func version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, d := range info.Deps {
			if d.Path == module {
				return d.Version
			}
		}
	}
	return "of unknown version"
}
