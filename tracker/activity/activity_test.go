package activity

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var noon = time.Date(2026, 2, 2, 12, 0, 0, 0, time.UTC)

// TestRecentIsWhatHappened compares the counts with those made from all that has happened, while time goes on and some
// things are told late.
func TestRecentIsWhatHappened(t *testing.T) {
	type thing struct {
		minute       int64
		tenant, lane string
		what         What
	}
	random := rand.New(rand.NewPCG(1, 2))
	var budget Budget
	log, now := NewLog(&budget, noon), noon
	var all []thing
	latest := map[int64]int64{} // by place: the last minute that was counted there
	for range 6_000 {
		now = now.Add(time.Duration(random.IntN(2000)) * time.Millisecond)
		if random.IntN(500) == 0 {
			now = now.Add(time.Duration(random.IntN(90)) * time.Minute)
		}
		at := now.Add(-time.Duration(random.IntN(90)*random.IntN(2)) * time.Minute)
		e := thing{at.Unix() / 60, fmt.Sprint(random.IntN(3)), fmt.Sprint(random.IntN(2)), What(random.IntN(int(Kinds)))}
		log.Count(at, e.tenant, e.lane, e.what)
		if place := e.minute % Minutes; e.minute >= latest[place] {
			latest[place] = e.minute
			all = append(all, e)
		}
		if random.IntN(200) != 0 {
			continue
		}
		last := now.Unix() / 60
		for tenant := range 3 {
			want := map[string]*[Minutes]Counts{}
			for _, e := range all {
				place := e.minute - last + Minutes - 1
				if e.tenant != fmt.Sprint(tenant) || place < 0 || place >= Minutes {
					continue
				}
				if want[e.lane] == nil {
					want[e.lane] = new([Minutes]Counts)
				}
				want[e.lane][place][e.what]++
			}
			got := log.Recent(now, fmt.Sprint(tenant))
			if len(got.Lanes) != len(want) || got.Short || got.Since != noon {
				t.Fatalf("%d lanes, %v, since %v", len(got.Lanes), got.Short, got.Since)
			}
			for lane, minutes := range want {
				if *got.Lanes[lane] != *minutes {
					t.Fatalf("lane %s: %v, want %v", lane, *got.Lanes[lane], *minutes)
				}
			}
		}
	}
	log.Close()
	if n := budget.Used(); n != 0 {
		t.Errorf("%d entries in use after the end", n)
	}
}

// TestManyTenants: what the budget has no entry for is not counted, and that is told for as long as it matters. Entries
// of minutes that are over come back.
func TestManyTenants(t *testing.T) {
	var budget Budget
	a, b := NewLog(&budget, noon), NewLog(&budget, noon)
	for i := range MaxEntries + 10 {
		log := a
		if i%2 == 1 {
			log = b
		}
		log.Count(noon, fmt.Sprint("tenant-", i), "default", Accepted)
	}
	a.Count(noon, "tenant-0", "default", Accepted) // has its entry
	if n := budget.Used(); n != MaxEntries {
		t.Errorf("%d entries in use", n)
	}
	if r := a.Recent(noon, "tenant-0"); !r.Short || r.Lanes["default"][Minutes-1][Accepted] != 2 {
		t.Errorf("%+v", r)
	}
	if r := a.Recent(noon.Add(time.Hour), "tenant-0"); r.Short || len(r.Lanes) != 0 {
		t.Errorf("an hour later: %+v", r)
	}
	a.Count(noon.Add(time.Hour), "late", "default", Failed)
	if n := budget.Used(); n != MaxEntries/2+1 {
		t.Errorf("%d entries in use after an hour", n)
	}
}

// TestMerge: sums are whole from when the last of the parts is.
func TestMerge(t *testing.T) {
	var budget Budget
	a, b := NewLog(&budget, noon), NewLog(&budget, noon.Add(time.Minute))
	b.From(noon.Add(30 * time.Second))
	b.From(noon.Add(40 * time.Second))
	a.Count(noon, "acme", "x", Completed)
	a.Count(noon, "other", "z", Completed)
	b.Count(noon, "acme", "x", Completed)
	b.Count(noon.Add(time.Minute), "acme", "y", Cancelled)
	r := Merge(a.Recent(noon.Add(time.Minute), "acme"), b.Recent(noon.Add(time.Minute), "acme"))
	if names := fmt.Sprint(r.Names()); names != "[x y]" || r.Since != noon.Add(30*time.Second) {
		t.Fatalf("%s since %v", names, r.Since)
	}
	if r.Lanes["x"][Minutes-2][Completed] != 2 || r.Lanes["y"][Minutes-1][Cancelled] != 1 {
		t.Errorf("%v", r.Lanes)
	}
}
