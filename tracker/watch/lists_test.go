package watch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

func change(i int, version int64, bytes int) *trackerpb.ListChange {
	return &trackerpb.ListChange{JobId: fmt.Sprintf("job-%d", i), Version: version,
		Document: []byte(strings.Repeat("x", bytes))}
}

// TestChangesOfAListArePaced: the first change is sent at once, later ones together, of each job the newest.
func TestChangesOfAListArePaced(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := NewStream()
		s.AddList(7)
		began := time.Now()
		next := func() *trackerpb.ListChanges {
			t.Helper()
			r, err := s.Next(t.Context())
			if err != nil || len(r.Lists) != 1 || r.Lists[0].Handle != 7 {
				t.Fatalf("%v, %v", r, err)
			}
			return r.Lists[0]
		}
		s.PutList(7, change(1, 1, 10))
		if got := next(); len(got.Changes) != 1 || time.Since(began) != 0 {
			t.Errorf("the first: %v after %s", got, time.Since(began))
		}
		var outcomes [5]int
		for i := range 2000 {
			outcomes[s.PutList(7, change(i%100, int64(i+2), 10))]++
			if i%100 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		got := next()
		if len(got.Changes) != 100 || got.Missed != 0 || time.Since(began) != listPace {
			t.Errorf("%d changes, %d missed, after %s", len(got.Changes), got.Missed, time.Since(began))
		}
		for _, c := range got.Changes {
			if c.Version <= 1901 {
				t.Errorf("%s is version %d", c.JobId, c.Version)
			}
		}
		if outcomes != [5]int{ListKept: 100, ListReplaced: 1900} {
			t.Errorf("outcomes: %v", outcomes)
		}
		s.RemoveList(7)
		if s.PutList(7, change(1, 9999, 10)) != ListGone || s.lists.bytes != 0 {
			t.Errorf("a list that was removed: %d bytes", s.lists.bytes)
		}
		s.Close()
		if s.PutList(7, change(1, 9999, 10)) != StreamGone {
			t.Error("a closed stream takes changes")
		}
	})
}

// TestAGatewayThatReadsNothingCostsABoundedMemory: of each list only so much is kept, and of all lists together.
func TestAGatewayThatReadsNothingCostsABoundedMemory(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := NewStream()
		defer s.Close()
		s.AddList(1)
		s.AddList(2)
		for i := range 5000 {
			s.PutList(1, change(i, 1, 10))
			s.PutList(2, change(i, 1, MaxRow))
		}
		for handle, l := range s.lists.all {
			if l.changes.Len() > maxListJobs || l.changes.Bytes() > maxListBytes {
				t.Errorf("list %d holds %d jobs, %d bytes", handle, l.changes.Len(), l.changes.Bytes())
			}
		}
		for handle := uint32(3); handle < 100; handle++ {
			s.AddList(handle)
			for i := range 100 {
				s.PutList(handle, change(i, 1, MaxRow))
			}
		}
		if s.lists.bytes > maxListsHeld {
			t.Errorf("all lists hold %d bytes", s.lists.bytes)
		}
		missed, changes := map[uint32]int64{}, map[uint32]int{}
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			r, err := s.Next(ctx)
			cancel()
			if err != nil {
				break
			}
			size := 0
			for _, l := range r.Lists {
				missed[l.Handle] += l.Missed
				changes[l.Handle] += len(l.Changes)
				for _, c := range l.Changes {
					size += len(c.Document)
				}
			}
			if size > maxListPart+MaxRow {
				t.Errorf("a response has %d bytes", size)
			}
		}
		if missed[1] != 5000 || missed[2] != 5000 || changes[1] != 0 || s.lists.bytes != 0 {
			t.Errorf("missed %d and %d, %d changes of the first; %d bytes are left", missed[1], missed[2], changes[1],
				s.lists.bytes)
		}
	})
}

func TestHowManyListsAStreamMayHave(t *testing.T) {
	all := Lists{Full: FullOfLists}
	s, n := NewStream(), uint32(0)
	add := func(tenant string) bool {
		n++
		return all.Add(s, &trackerpb.ListAdd{Handle: n, List: &trackerpb.ListRequest{Tenant: tenant}})
	}
	for i := range MaxTenantLists {
		if !add("acme") {
			t.Fatalf("list %d is one too many", i)
		}
	}
	if add("acme") {
		t.Error("one tenant has more")
	}
	for i := MaxTenantLists; i < MaxLists; i++ {
		if !add(fmt.Sprint(i)) {
			t.Fatalf("list %d is one too many", i)
		}
	}
	if add("globex") || all.Len() != MaxLists {
		t.Errorf("a stream has %d lists", all.Len())
	}
	all.Remove(s, 1)
	if !add("globex") {
		t.Error("there is no room after one was removed")
	}
}
