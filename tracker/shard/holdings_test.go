package shard

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// TestHoldingsAreWhatTheJobsSay: after any changes each worker holds just the jobs that its runs hold, the oldest claim
// first, and each lane has as many that are processing.
func TestHoldingsAreWhatTheJobsSay(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	h := newHoldings()
	entries := make([]*entry, 200)
	for i := range entries {
		entries[i] = &entry{id: fmt.Sprintf("job-%03d", i)}
	}
	began := time.Date(2026, 2, 2, 9, 30, 0, 0, time.UTC)
	change := func(e *entry, at time.Time) {
		run := fmt.Sprint("run-", at.UnixNano())
		switch random.IntN(6) {
		case 0:
			e.job = nil
		case 1:
			e.job = &fold.Job{Doc: job.Document{JobID: e.id, State: job.Completed, Lane: "a"}}
		case 2: // a beat of the same run
			if isHeld(e) {
				j := *e.job
				j.RenewedAt = at
				e.job = &j
			}
		default:
			e.job = &fold.Job{Doc: job.Document{JobID: e.id, State: job.Processing,
				Lane:     fmt.Sprint("lane-", random.IntN(3)),
				Attempts: []job.Attempt{{Number: 1, StartedAt: at}}}, Tenant: "acme", Run: run,
				Worker: fmt.Sprint("worker-", random.IntN(7)), RenewedAt: at}
		}
	}
	check := func() {
		t.Helper()
		want, lanes := map[string][]*entry{}, map[string]int64{}
		for _, e := range entries {
			if isHeld(e) {
				want[e.job.Worker] = append(want[e.job.Worker], e)
				lanes[e.job.Doc.Lane]++
			}
		}
		sum := h.sum()
		if len(sum.names) != len(want) || len(sum.Lanes) != len(lanes) || sum.More {
			t.Fatalf("%d workers and %v, want %d and %v", len(sum.names), sum.Lanes, len(want), lanes)
		}
		for lane, n := range lanes {
			if sum.Lanes[lane] != n {
				t.Fatalf("lane %s has %d, want %d", lane, sum.Lanes[lane], n)
			}
		}
		for _, w := range h.of(append(sum.names, "nobody")) {
			all := want[w.Worker]
			slices.SortFunc(all, func(a, b *entry) int { return since(a).Compare(since(b)) })
			if w.Jobs != len(all) || len(w.Oldest) != min(len(all), MaxHolds) {
				t.Fatalf("%s holds %d and tells %d, want %d", w.Worker, w.Jobs, len(w.Oldest), len(all))
			}
			for i, hold := range w.Oldest {
				if hold.JobID != all[i].id || !hold.Since.Equal(since(all[i])) || hold.LastSign != all[i].job.RenewedAt {
					t.Fatalf("%s holds %+v, want %s", w.Worker, hold, all[i].id)
				}
			}
		}
	}
	for i := range 5000 {
		e := entries[random.IntN(len(entries))]
		change(e, began.Add(time.Duration(i)*time.Second))
		h.changed(e)
		if i%50 == 0 {
			check()
		}
	}
	check()
	running := slices.Clone(entries) // as a shard finds them in its store
	random.Shuffle(len(running), func(i, j int) { running[i], running[j] = running[j], running[i] })
	h = newHoldings()
	for _, e := range entries {
		e.held = held{}
	}
	h.begin(running)
	check()
	for _, e := range entries {
		e.job = nil
		h.changed(e)
	}
	if len(h.holders) != 0 || h.order.Len() != 0 || len(h.lanes) != 0 {
		t.Errorf("%d workers are left", len(h.holders))
	}
}

// TestHoldingsAreBounded: of more workers than are told, those that have held jobs for longest are.
func TestHoldingsAreBounded(t *testing.T) {
	h := newHoldings()
	for i := range MaxHolders + 10 {
		h.changed(&entry{id: fmt.Sprint("job-", i), job: &fold.Job{
			Doc: job.Document{State: job.Processing, Lane: fmt.Sprint("lane-", i)}, Run: "r", Worker: fmt.Sprint("worker-", i),
		}})
	}
	sum := h.sum()
	if len(sum.names) != MaxHolders || sum.names[0] != "worker-0" || len(sum.Lanes) != maxLaneRow || !sum.More {
		t.Errorf("%d workers, %d lanes, more %t", len(sum.names), len(sum.Lanes), sum.More)
	}
}

func TestHoldingsOfTwoShardsAreOne(t *testing.T) {
	at := time.Date(2026, 2, 2, 9, 30, 0, 0, time.UTC)
	part := func(from int) (w Holding) {
		w.Jobs = 30
		for i := range MaxHolds {
			w.Oldest = append(w.Oldest, Hold{JobID: fmt.Sprint(from, i), Since: at.Add(time.Duration(2*i+from) * time.Second)})
		}
		return w
	}
	got := part(0).Merge(part(1))
	if got.Jobs != 60 || len(got.Oldest) != MaxHolds {
		t.Fatalf("%d jobs, %d told", got.Jobs, len(got.Oldest))
	}
	for i, hold := range got.Oldest {
		if !hold.Since.Equal(at.Add(time.Duration(i) * time.Second)) {
			t.Errorf("number %d is of %s", i, hold.Since)
		}
	}
}
