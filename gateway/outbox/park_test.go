package outbox

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// purse is an account with a fixed number of bytes.
type purse struct {
	limit, used, most int64
}

func (p *purse) Take(n int64) bool {
	if p.used+n > p.limit {
		return false
	}
	p.used += n
	p.most = max(p.most, p.used)
	return true
}

func (p *purse) Give(n int64) { p.used -= n }

func large(job int, version int64, size int) *Frame {
	f := status(job, version)
	f.Bytes = append(f.Bytes, make([]byte, size)...)
	return f
}

// TestWhatIsNotReadHasABoundInBytes puts large statuses of many jobs for a client that at first reads
// nothing: the waiting bytes never exceed the bound, and when it reads it gets each job's latest status.
func TestWhatIsNotReadHasABoundInBytes(t *testing.T) {
	const jobs, size, bound = 1000, 60 << 10, 1 << 20
	p := &purse{limit: 1 << 40}
	o := Outbox{MaxBytes: bound}
	o.Join(p)
	slots := make([]Slot, jobs)
	parked := 0
	for version := int64(1); version <= 3; version++ {
		for i := range slots {
			slots[i].Owner = i
			if o.Put(&slots[i], large(i, version, size)) == Parked {
				parked++
			}
		}
	}
	if o.bytes > bound || p.most > bound || parked < jobs {
		t.Fatalf("%d bytes wait, %d at most, %d were parked", o.bytes, p.most, parked)
	}
	got := map[string]bool{}
	for range 10 * jobs {
		frames, _, _ := o.Take(nil, nil, 16<<10)
		for _, f := range frames {
			got[fmt.Sprintf("%.12s", f.Bytes)] = true
		}
		due, later := o.Due(4)
		if later {
			t.Fatal("there is room, and it is to be waited for")
		}
		for _, w := range due {
			o.PutOwed(w, large(w.Owner.(int), 3, size))
		}
		if o.bytes > bound {
			t.Fatalf("%d bytes wait", o.bytes)
		}
	}
	for i := range jobs {
		if !got[fmt.Sprintf("%.12s", large(i, 3, size).Bytes)] {
			t.Fatalf("job %d: its last status did not come", i)
		}
	}
	o.Take(nil, nil, 1)
	if o.bytes != 0 || p.used != 0 || o.fetches != 0 || o.Owing() {
		t.Errorf("%d bytes, %d of the account, %d loads are left", o.bytes, p.used, o.fetches)
	}
}

// TestParkedStatuses puts, subscribes anew, unsubscribes, reclaims, takes and loads at random, with an
// account that has hardly any room: bytes are never lost or counted twice, and at the end each
// slot that is still watched has sent its latest status.
func TestParkedStatuses(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := &purse{limit: 20 << 10}
		o := Outbox{MaxBytes: 16 << 10}
		o.Join(p)
		type job struct {
			slot           *Slot
			version, sent  int64
			watched, group bool
		}
		g := &Group{Owner: "group"}
		var jobs []*job
		byKey := map[string]*job{}
		for i := range 10 {
			j := &job{watched: true, group: i >= 7}
			j.slot = &Slot{Owner: j}
			jobs = append(jobs, j)
			byKey[fmt.Sprint(i)] = j
		}
		frame := func(i int) *Frame {
			return &Frame{Bytes: make([]byte, 1+rng.IntN(7<<10)), Version: jobs[i].version, Time: int64(i)}
		}
		take := func() {
			frames, _, _ := o.Take(nil, nil, 8<<10)
			for _, f := range frames {
				if j := jobs[f.Time]; f.Version <= j.sent {
					t.Fatalf("seed %d: version %d after %d", seed, f.Version, j.sent)
				} else {
					j.sent = f.Version
				}
			}
		}
		load := func(fails bool) {
			due, _ := o.Due(3)
			for _, w := range due {
				j, _ := w.Owner.(*job)
				if j == nil {
					j = byKey[w.Key]
				}
				i := 0
				for jobs[i] != j {
					i++
				}
				if fails && rng.IntN(3) == 0 {
					o.Again(w)
				} else if w.Key == "" && j.group { // its subscription has ended while it was loaded
					o.Unowed(w)
				} else {
					o.PutOwed(w, frame(i))
				}
			}
		}
		for range 400 {
			i := rng.IntN(len(jobs))
			j := jobs[i]
			switch n := rng.IntN(10); {
			case n < 5:
				j.version++
				if j.group {
					o.PutGroup(g, fmt.Sprint(i), frame(i))
				} else {
					o.Put(j.slot, frame(i))
				}
			case n < 7:
				take()
			case n < 9:
				load(true)
			case !j.group && rng.IntN(8) == 0: // it is unsubscribed; the group covers it
				if _, ceded := o.Cede(j.slot, g, fmt.Sprint(i)); !ceded {
					if f := o.Clear(j.slot); f != nil {
						o.PutGroup(g, fmt.Sprint(i), f)
					}
				}
				j.group = true
			case j.group && rng.IntN(8) == 0: // it is watched by itself again
				s := &Slot{Owner: j}
				o.Hold(s)
				if !o.Reclaim(s, g, fmt.Sprint(i)) {
					o.Skip(s, j.version) // the group sends it, or has
				}
				j.slot, j.group = s, false
				o.Put(s, frame(i)) // the state now
				o.Release(s)
			case !j.group:
				s := &Slot{Owner: j}
				o.Hold(s)
				o.Inherit(s, j.slot)
				j.slot = s
				o.Put(s, frame(i)) // the state now
				o.Release(s)
			}
			if p.used > p.limit || o.bytes < 0 || p.used < 0 {
				t.Fatalf("seed %d: %d bytes, %d of the account", seed, o.bytes, p.used)
			}
		}
		for range 200 {
			take()
			load(false)
		}
		for i, j := range jobs {
			if j.sent != j.version {
				t.Fatalf("seed %d: job %d was sent %d, its last is %d", seed, i, j.sent, j.version)
			}
		}
		if o.bytes != 0 || p.used != 0 || o.fetches != 0 || o.listed != 0 {
			t.Fatalf("seed %d: %d bytes, %d of the account, %d loads, %d parked are left", seed, o.bytes, p.used, o.fetches,
				o.listed)
		}
	}
}

// TestAParkedStatusIsCeded unsubscribes a job whose status is parked, in every state that the slot can have, while a
// group covers the job: the group sends the status, once.
func TestAParkedStatusIsCeded(t *testing.T) {
	for _, c := range []struct {
		what  string
		begin func(o *Outbox, s *Slot, g *Group)
		end   func(o *Outbox, s *Slot)
		sent  int
	}{
		{"it waits", nil, nil, 1},
		{
			"an answer goes before it", func(o *Outbox, s *Slot, _ *Group) { o.Hold(s) },
			func(o *Outbox, s *Slot) { o.Release(s) }, 1,
		},
		{"the group owes an older one", func(o *Outbox, _ *Slot, g *Group) { o.PutGroup(g, "1", large(1, 1, 100)) }, nil, 1},
		{"the group owes it, too", func(o *Outbox, _ *Slot, g *Group) { o.PutGroup(g, "1", large(1, 2, 100)) }, nil, 1},
	} {
		for _, loading := range []bool{false, true} {
			o, s, g := &Outbox{MaxBytes: 1000}, &Slot{Owner: "watch"}, &Group{Owner: "group"}
			var blocker Slot
			o.Put(&blocker, large(0, 1, 900))
			if c.begin != nil {
				c.begin(o, s, g)
			}
			if out := o.Put(s, large(1, 2, 100)); out != Parked {
				t.Fatalf("%s: %v", c.what, out)
			}
			room := func() {
				o.Take(nil, nil, 1)
				o.Take(nil, nil, 1)
			}
			var stale []Owed
			if loading {
				room()
				stale, _ = o.Due(4)
			}
			o.Cede(s, g, "1")
			for _, w := range stale {
				if w.Owner == "watch" {
					o.Unowed(w)
				} else {
					o.Again(w)
				}
			}
			if c.end != nil {
				c.end(o, s)
			}
			room()
			sent := 0
			for range 3 {
				due, _ := o.Due(4)
				for _, w := range due {
					if w.Owner != "group" || w.Key != "1" {
						t.Errorf("%s: owed by %v %q", c.what, w.Owner, w.Key)
					}
					o.PutOwed(w, large(1, 2, 100))
				}
				frames, _, _ := o.Take(nil, nil, 1)
				sent += len(frames)
			}
			o.Take(nil, nil, 1)
			if sent != c.sent || o.bytes != 0 || o.listed != 0 || o.fetches != 0 || len(g.slots) != 0 {
				t.Errorf("%s, loading %v: sent %d times; %d bytes, %d listed, %d loads, %d slots are left", c.what, loading, sent,
					o.bytes, o.listed, o.fetches, len(g.slots))
			}
		}
	}
}
