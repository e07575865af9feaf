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
	Payloads  []string // of the submits, one each; all submits have the same key
	Scheduled []bool   // which submits have a start time in the future
	NoLives   bool     // gateways name no lives, as older gateways did
	Workers   int      // at most 2; with none no job need end
	Trackers  int      // at most 2
	Attempts  int
	// How often each of these may happen at most.
	Faults, Cancels, Retries, Releases, Expiries, Erasures int
	// Lag lets checkpoints stay behind the fold; else each fold is saved at once.
	Lag bool
	// MaxLog is how many events trackers may be behind before runs stop sending beats.
	MaxLog int
	// MaxStates is the number of states after which an exploration gives up.
	MaxStates int
	Without   Rule // the rule that is taken out; empty for none

	policy *job.Policy
}

// Report is the result of an exploration.
type Report struct {
	States   int
	Depth    int
	Complete bool     // every state was reached
	Broken   string   // the promise that does not hold; empty when all hold
	Course   []string // the steps that lead to the broken promise
}

// String describes the exploration and a broken promise with its course.
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
	from int32  // node that it was first reached from
	what string // step by which it was reached
	goal bool   // no acked job waits to end here
}

// edge is a step that is not a fault.
type edge struct{ from, to int32 }

// Explore walks through all states that the Config allows, breadth first, so that the
// course to a broken promise is as short as any.
func Explore(c Config) *Report {
	c.policy = policy(c.Attempts)
	begin := &state{owner: nobody, holder: nobody, saver: nobody,
		submits: make([]submit, len(c.Payloads)), workers: make([]worker, c.Workers), trackers: make([]tracker, c.Trackers),
		left: left{faults: c.Faults, cancels: c.Cancels, retries: c.Retries, releases: c.Releases, expiries: c.Expiries,
			erasures: c.Erasures}}
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

// course returns the steps from the first state to the node.
func course(nodes []node, at int32) []string {
	var steps []string
	for ; at > 0; at = nodes[at].from {
		steps = append(steps, nodes[at].what)
	}
	slices.Reverse(steps)
	return steps
}

// fulfilled reports whether no acked job waits to end.
func (s *state) fulfilled() bool {
	return !s.anyAcked() || s.now.job == nil || s.ended()
}

// promise returns the promise that the state breaks, or the empty string.
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

// carried reports whether a worker still has to read a request of the pending job, or a request or claim
// is on its way to Kafka.
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

// deadEnd returns a state from which no course without faults leads to a goal, or -1. It walks
// backwards from all goals and looks for a node that it does not reach.
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
