package lists

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// upstream notes what is watched.
type upstream struct {
	lists map[uint32]*trackerpb.ListRequest
}

func (u *upstream) AddList(a *trackerpb.ListAdd) { u.lists[a.Handle] = a.List }
func (u *upstream) RemoveList(handle uint32)     { delete(u.lists, handle) }
func (u *upstream) handle() (handle uint32) { // of the only list
	for handle = range u.lists {
	}
	return handle
}

// counts are the metrics.
type counts struct{ rows, conflated, overflows int }

func (c *counts) ListRows(n int) { c.rows += n }
func (c *counts) ListConflated() { c.conflated++ }
func (c *counts) ListOverflow()  { c.overflows++ }

// reader is a subscriber.
type reader struct {
	answers []code.Code
	ready   int
}

func (r *reader) Listening(c code.Code) { r.answers = append(r.answers, c) }
func (r *reader) Ready()                { r.ready++ }

func newIndex() (*Index, *upstream, *counts) {
	u, c := &upstream{lists: map[uint32]*trackerpb.ListRequest{}}, &counts{}
	x := New(kafka.Bounds{Delivery: 5 * time.Second}, c)
	x.Attach(u)
	return x, u, c
}

func cover(x *Index, u *upstream, stream uint64, partition int32, lost bool) {
	x.Covered(stream, &trackerpb.Coverage{Partition: partition, Partitions: 2, Lists: []uint32{u.handle()}, Lost: lost})
}

func rows(n, from int, version int64, bytes int) (all []*trackerpb.ListChange) {
	for i := range n {
		all = append(all, &trackerpb.ListChange{JobId: fmt.Sprint(from + i), Version: version,
			Document: []byte(`"` + strings.Repeat("x", bytes) + `"`)})
	}
	return all
}

// TestAClientThatReadsNothingCostsNoMemory: of a list so much is kept and no more, however much changes, and none of it
// for a single client. When the client reads on, it is told to ask again.
func TestAClientThatReadsNothingCostsNoMemory(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		x, u, c := newIndex()
		stalled, reads := &reader{}, &reader{}
		subs := []*Subscription{{Subscriber: stalled}, {Subscriber: reads}}
		for _, sub := range subs {
			sub.List = &trackerpb.ListRequest{Tenant: "acme"}
			if err := x.Subscribe(sub); err != nil {
				t.Fatal(err)
			}
		}
		if len(u.lists) != 1 {
			t.Fatalf("%d lists are watched for two equal filters", len(u.lists))
		}
		cover(x, u, 1, 0, false)
		if len(stalled.answers) != 0 {
			t.Error("it is answered before each partition is covered")
		}
		cover(x, u, 1, 1, false)
		l := subs[0].list
		told := 0
		for i := range 200 {
			x.Listed(&trackerpb.ListChanges{Handle: u.handle(), Changes: rows(50, 50*i, 1, 5000)})
			if l.changes.Len() > maxJobs || l.changes.Bytes() > maxBytes {
				t.Fatalf("the list holds %d jobs, %d bytes", l.changes.Len(), l.changes.Bytes())
			}
			for more := true; more; {
				var b *Batch
				if b, more = x.Take(subs[1], 16<<10); b != nil {
					told += len(b.Rows)
					if b.Again {
						t.Fatal("a client that reads is told to ask again")
					}
				}
			}
			time.Sleep(125 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if b, _ := x.Take(subs[1], 1<<20); b != nil {
			told += len(b.Rows)
		}
		if told != 10_000 {
			t.Errorf("the client that reads was told %d rows", told)
		}
		if stalled.ready != 1 {
			t.Errorf("the client that does not read was woken %d times", stalled.ready)
		}
		b, _ := x.Take(subs[0], 16<<10)
		if b == nil || !b.Again || b.Missed != 10_000 || len(b.Rows) != 0 || c.overflows != 1 {
			t.Errorf("then it is told %+v; %d overflows", b, c.overflows)
		}
		for _, sub := range subs {
			x.Unsubscribe(sub)
		}
		if n, s := x.Size(); n+s+len(u.lists)+len(x.tenants)+len(x.handles) != 0 {
			t.Errorf("%d lists and %d subscriptions are left", n, s)
		}
	})
}

// TestFlushesArePaced: a flush has so many rows, and the next one waits.
func TestFlushesArePaced(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		x, u, c := newIndex()
		r := &reader{}
		sub := &Subscription{Subscriber: r, List: &trackerpb.ListRequest{Tenant: "acme"}}
		if err := x.Subscribe(sub); err != nil {
			t.Fatal(err)
		}
		defer x.Unsubscribe(sub)
		cover(x, u, 1, 0, false)
		cover(x, u, 1, 1, false)
		x.Listed(&trackerpb.ListChanges{Handle: u.handle(), Changes: rows(250, 0, 1, 10)})
		x.Listed(&trackerpb.ListChanges{Handle: u.handle(), Changes: rows(250, 0, 2, 10)})
		for i, want := range []int{flushRows, flushRows, 50, 0} {
			got := 0
			for more := true; more; {
				var b *Batch
				if b, more = x.Take(sub, 1000); b != nil {
					got += len(b.Rows)
					if size := len(b.Rows) * len(b.Rows[0].Bytes); size > 1000 {
						t.Errorf("a frame has %d bytes", size)
					}
				}
			}
			if got != want {
				t.Errorf("flush %d has %d rows, want %d", i, got, want)
			}
			time.Sleep(flushWait + time.Millisecond)
		}
		if r.ready != 3 || c.conflated != 250 || c.rows != 250 {
			t.Errorf("woken %d times, %+v", r.ready, c)
		}
	})
}

// TestAPartitionMoves: what its former and its new tracker may not have told is asked for, once all is covered again.
func TestAPartitionMoves(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		x, u, _ := newIndex()
		sub := &Subscription{Subscriber: &reader{}, List: &trackerpb.ListRequest{Tenant: "acme"}}
		if err := x.Subscribe(sub); err != nil {
			t.Fatal(err)
		}
		defer x.Unsubscribe(sub)
		cover(x, u, 1, 0, false)
		cover(x, u, 1, 1, false)
		cover(x, u, 1, 1, false) // said again
		want := func(why string, again bool) {
			t.Helper()
			time.Sleep(time.Second)
			b, _ := x.Take(sub, 1000)
			if (b != nil && b.Again) != again {
				t.Errorf("%s: %+v", why, b)
			}
		}
		want("at its begin", false)
		cover(x, u, 1, 1, true)
		want("a partition has left", false)
		cover(x, u, 2, 1, false)
		want("another tracker has it", true)
		x.Uncovered(2)
		want("that one's stream ends", false)
		x.Listed(&trackerpb.ListChanges{Handle: u.handle(), Changes: rows(1, 0, 9, 10)}) // of the other partition
		cover(x, u, 3, 1, false)
		want("it comes back", true)
		// A log that has lost its end has lower versions.
		x.Listed(&trackerpb.ListChanges{Handle: u.handle(), Changes: rows(1, 0, 5, 10)})
		time.Sleep(time.Second)
		if b, _ := x.Take(sub, 1000); b == nil || len(b.Rows) != 1 {
			t.Errorf("a lower version after a move: %+v", b)
		}
	})
}

// TestManyListsShareABound: the rows of all lists together have a bound, a client whose list goes beyond it is told to
// ask again, and the rows of lists that nobody watches any more do not count.
func TestManyListsShareABound(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		x, u, _ := newIndex()
		var subs []*Subscription
		for i := range 2 * maxHeld / maxBytes {
			sub := &Subscription{Subscriber: &reader{}, List: &trackerpb.ListRequest{Tenant: fmt.Sprint("tenant-", i)}}
			if err := x.Subscribe(sub); err != nil {
				t.Fatal(err)
			}
			for partition := range int32(2) {
				x.Covered(1, &trackerpb.Coverage{Partition: partition, Partitions: 2, Lists: []uint32{sub.list.handle}})
			}
			x.Listed(&trackerpb.ListChanges{Handle: sub.list.handle, Changes: rows(100, 0, 1, maxBytes/101)})
			subs = append(subs, sub)
			held := 0
			for _, l := range x.lists {
				held += l.changes.Bytes()
			}
			if held != x.held || held > maxHeld {
				t.Fatalf("%d lists hold %d bytes, counted are %d, the bound is %d", len(subs), held, x.held, maxHeld)
			}
		}
		first, _ := x.Take(subs[0], maxBytes)
		last, _ := x.Take(subs[len(subs)-1], maxBytes)
		if first == nil || first.Again || len(first.Rows) == 0 || last == nil || !last.Again {
			t.Errorf("the first is told %+v, the last %+v", first, last)
		}
		for _, sub := range subs {
			x.Unsubscribe(sub)
		}
		if x.held != 0 || len(u.lists) != 0 {
			t.Errorf("%d bytes of %d lists are left", x.held, len(u.lists))
		}
	})
}

// TestHowManyDifferentLists: the trackers compare each change of a tenant's jobs with so many lists at most.
func TestHowManyDifferentLists(t *testing.T) {
	x, u, _ := newIndex()
	var last *Subscription
	for i := range MaxTenantLists {
		last = &Subscription{Subscriber: &reader{}, List: &trackerpb.ListRequest{Tenant: "acme", Types: []string{
			fmt.Sprint(i)}}}
		if err := x.Subscribe(last); err != nil {
			t.Fatal(err)
		}
	}
	one := func(tenant, jobType string) error {
		return x.Subscribe(&Subscription{Subscriber: &reader{}, List: &trackerpb.ListRequest{
			Tenant: tenant, Types: []string{jobType}}})
	}
	if one("acme", "another") == nil {
		t.Error("one too many")
	}
	if err := one("acme", "7"); err != nil {
		t.Errorf("one that is watched already: %v", err)
	}
	if err := one("globex", "another"); err != nil {
		t.Errorf("of another tenant: %v", err)
	}
	x.Unsubscribe(last)
	if err := one("acme", "another"); err != nil {
		t.Errorf("once one has ended: %v", err)
	}
	if len(u.lists) != MaxTenantLists+1 {
		t.Errorf("%d lists are watched", len(u.lists))
	}
}
