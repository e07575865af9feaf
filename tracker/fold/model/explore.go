package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// Config bounds a model.
type Config struct {
	Payloads  []string // of the submits, which all have one key; one each
	Scheduled []bool   // which of them have a start time in the future
	NoLives   bool     // gateways name no lives, as those of before did
	Workers   int      // 2 at most; with none no job need end
	Trackers  int      // 2 at most
	Attempts  int
	// How often what may happen, happens at most.
	Faults, Cancels, Retries, Releases, Expiries int
	// Lag lets checkpoints stay behind the fold; else each fold is saved at once.
	Lag bool
	// MaxLog is how far trackers may be behind before runs are silent.
	MaxLog int
	// MaxStates ends an exploration that is not through by then.
	MaxStates int
	Without   Rule // the rule that is taken out; empty: none is

	policy *job.Policy
}

// Report is what an exploration has found.
type Report struct {
	States   int
	Depth    int
	Complete bool     // every state was reached
	Broken   string   // a promise that does not hold; empty: all do
	Course   []string // the steps to where it is broken
}

// String tells a broken promise with its course.
func (r *Report) String() string {
	s := fmt.Sprintf("%d states, %d steps deep", r.States, r.Depth)
	if !r.Complete {
		s += ", not all"
	}
	if r.Broken == "" {
		return s
	}
	return fmt.Sprintf("%s: %s:\n  %s", s, r.Broken, strings.Join(r.Course, "\n  "))
}

// node is one state that was reached.
type node struct {
	from int32 // node that it was first reached from
	what string
	goal bool // the promise to end is kept here, or not made
}

// edge is a step that is no fault.
type edge struct{ from, to int32 }

// Explore walks through all states that the Config allows, breadth first, so that the
// course to a broken promise is as short as any.
func Explore(c Config) *Report {
	c.policy = policy(c.Attempts)
	begin := &state{owner: nobody, holder: nobody, saver: nobody,
		submits: make([]submit, len(c.Payloads)), workers: make([]worker, c.Workers), trackers: make([]tracker, c.Trackers),
		left: left{faults: c.Faults, cancels: c.Cancels, retries: c.Retries, releases: c.Releases, expiries: c.Expiries}}
	seen := map[key]int32{begin.key(): 0}
	nodes := []node{{from: nobody, goal: true}}
	var edges []edge
	report := &Report{Complete: true}
	frontier := []*state{begin}
	numbers := []int32{0}
	for len(frontier) > 0 {
		report.Depth++
		var next []*state
		var nextNumbers []int32
		for i, s := range frontier {
			for _, st := range c.steps(s) {
				k := st.to.key()
				number, known := seen[k]
				if !known {
					number = int32(len(nodes))
					seen[k] = number
					nodes = append(nodes, node{from: numbers[i], what: st.what, goal: st.to.fulfilled()})
					next, nextNumbers = append(next, st.to), append(nextNumbers, number)
				}
				if !st.fault {
					edges = append(edges, edge{numbers[i], number})
				}
				if broken := st.to.promise(); broken != "" {
					report.States = len(nodes)
					report.Broken, report.Course = broken, append(course(nodes, numbers[i]), st.what)
					report.Complete = false
					return report
				}
			}
		}
		if len(nodes) > c.MaxStates {
			report.States, report.Complete = len(nodes), false
			return report
		}
		frontier, numbers = next, nextNumbers
	}
	report.States = len(nodes)
	if stuck := deadEnd(nodes, edges); stuck >= 0 && c.Workers > 0 {
		report.Broken, report.Course = "an acked job cannot end any more", course(nodes, stuck)
	}
	return report
}

func course(nodes []node, at int32) []string {
	var steps []string
	for ; at > 0; at = nodes[at].from {
		steps = append(steps, nodes[at].what)
	}
	slices.Reverse(steps)
	return steps
}

// fulfilled: nothing acked waits to end.
func (s *state) fulfilled() bool {
	return !s.anyAcked() || s.now.job == nil || s.ended()
}

// promise names what does not hold in the state.
func (s *state) promise() string {
	switch {
	case s.broken != "":
		return s.broken
	case s.anyAcked() && s.now.life == 0:
		return "a submit was acked and its job is not known"
	case s.anyAcked() && s.now.job != nil && s.now.job.Doc.State == job.Pending && !s.carried():
		return "an acked job is pending and nothing carries it to a worker"
	}
	return ""
}

// carried reports whether a worker has still to read a request that the pending job takes,
// or one is on its way.
func (s *state) carried() bool {
	j := s.now.job
	for at := s.commit; at < len(s.requests); at++ {
		r := s.requests[at]
		if r.dispatch == j.Dispatch && r.payload == j.PayloadHash && (j.Request == nil || j.Request.Offset == int64(at)) {
			return true
		}
	}
	return slices.ContainsFunc(s.messages, func(m message) bool { return m.request != nil || m.e.Type == event.Claimed })
}

// deadEnd finds a state from which no step that must happen leads to one where all is
// fulfilled; -1 is none.
func deadEnd(nodes []node, edges []edge) int32 {
	back := make([][]int32, len(nodes))
	for _, e := range edges {
		back[e.to] = append(back[e.to], e.from)
	}
	ends := make([]bool, len(nodes))
	var open []int32
	for i := range nodes {
		if nodes[i].goal {
			ends[i] = true
			open = append(open, int32(i))
		}
	}
	for len(open) > 0 {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		for _, from := range back[at] {
			if !ends[from] {
				ends[from] = true
				open = append(open, from)
			}
		}
	}
	return int32(slices.Index(ends, false))
}
