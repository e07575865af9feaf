package outbox

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// joined returns the frames' bytes, one after the other.
func joined(frames []*Frame) (all []byte) {
	for _, f := range frames {
		all = append(all, f.Bytes...)
	}
	return all
}

// drain takes everything that waits and returns it frame by frame.
func drain(o *Outbox) []string {
	var all []byte
	for {
		taken, _, more := o.Take(nil, nil, 1<<10)
		if !more {
			frames := strings.SplitAfter(string(all), ";")
			return frames[:len(frames)-1]
		}
		all = append(all, joined(taken)...)
	}
}

func TestTheNewestWinsAndKeepsItsPlace(t *testing.T) {
	var o Outbox
	var a, b Slot
	for i, got := range []Outcome{
		o.Put(&a, status(1, 1)), o.Put(&b, status(2, 1)), o.Send(control(1)), o.Put(&a, status(1, 2)),
		o.Put(&a, status(1, 2)), o.Put(&a, status(1, 1)), o.Put(&a, status(1, 9)),
	} {
		if want := []Outcome{Start, Queued, Queued, Replaced, Old, Old, Replaced}[i]; got != want {
			t.Errorf("step %d: outcome %d, want %d", i, got, want)
		}
	}
	if got := strings.Join(drain(&o), ""); got != "s1:9;s2:1;c1;" {
		t.Errorf("sent %s", got)
	}
	if got := o.Put(&a, status(1, 9)); got != Old {
		t.Errorf("a version that was sent before: outcome %d", got)
	}
}

// A terminal status replaces the one that waits, and a late older status does not replace it.
func TestATerminalStatusIsSent(t *testing.T) {
	var o Outbox
	var s Slot
	o.Put(&s, status(1, 5))
	last := status(1, 6)
	last.Terminal = true
	o.Put(&s, last)
	o.Put(&s, status(1, 4))
	o.Close(control(1))
	o.Put(&s, status(1, 7))
	if got := strings.Join(drain(&o), ""); got != "s1:6;c1;" {
		t.Errorf("sent %s", got)
	}
}

func TestNothingOfAJobBeforeItsAck(t *testing.T) {
	var o Outbox
	var s Slot
	o.Hold(&s)
	o.Put(&s, status(1, 1))
	o.Put(&s, status(1, 2))
	if !o.Idle() {
		t.Error("what is held does not wait to be sent")
	}
	o.Send(control(1))
	o.Release(&s)
	if got := strings.Join(drain(&o), ""); got != "c1;s1:2;" {
		t.Errorf("sent %s", got)
	}
}

// If two answers hold a slot, the release of the later one queues its status.
func TestTwoHolds(t *testing.T) {
	var o Outbox
	var s Slot
	o.Hold(&s)
	o.Hold(&s)
	o.Put(&s, status(1, 1))
	if got := o.Release(&s); got != Queued || len(drain(&o)) != 0 {
		t.Errorf("the first release: outcome %d", got)
	}
	if got := o.Release(&s); got != Start || len(drain(&o)) != 1 {
		t.Errorf("the second release: outcome %d", got)
	}
}

// If a client subscribes to a job again, after a version that is newer than the waiting status, that status is dropped:
// "after" asks only for newer versions.
func TestASubscribeWithAfterDropsWhatIsOlder(t *testing.T) {
	var o Outbox
	var was, s Slot
	o.Put(&was, status(1, 5))
	o.Skip(&s, 10)
	o.Hold(&s)
	o.Inherit(&s, &was)
	o.Send(control(1))
	o.Release(&s)
	if got := strings.Join(drain(&o), ""); got != "c1;" {
		t.Errorf("sent %s", got)
	}
	if got := o.Put(&s, status(1, 10)); got != Old {
		t.Errorf("version 10: outcome %d", got)
	}
	if got := o.Put(&s, status(1, 11)); got != Start {
		t.Errorf("version 11: outcome %d", got)
	}
}

// Statuses that were queued before the close are sent, even if the client subscribes again meanwhile.
func TestASubscribeAfterTheCloseLosesNothing(t *testing.T) {
	var o Outbox
	var was, s Slot
	o.Put(&was, status(1, 5))
	o.Close(control(1))
	o.Hold(&s)
	o.Inherit(&s, &was)
	o.Release(&s)
	if got := strings.Join(drain(&o), ""); got != "s1:5;c1;" {
		t.Errorf("sent %s", got)
	}
}

func TestWhatWaitedIsInheritedOnce(t *testing.T) {
	var o Outbox
	var was, s Slot
	o.Put(&was, status(1, 5))
	o.Skip(&s, 4)
	o.Hold(&s)
	o.Inherit(&s, &was)
	o.Send(control(1))
	o.Release(&s)
	o.Put(&s, status(1, 5))
	if got := strings.Join(drain(&o), ""); got != "c1;s1:5;" {
		t.Errorf("sent %s", got)
	}
}

// A client that reads nothing costs at most the named bounds: a frame above a bound is
// refused, those that wait keep their order, and the close frame is still queued.
func TestASlowClientIsBounded(t *testing.T) {
	for _, c := range []struct {
		what string
		size int
		want int
	}{
		{"small frames", 16, MaxControlFrames},
		{"frames that just fit", MaxControlBytes / 8, 8},
		{"frames of which the last would not fit", MaxControlBytes/8 + 1, 7},
		{"one frame above all bounds", MaxControlBytes + 1, 0},
	} {
		var o Outbox
		b := append(bytes.Repeat([]byte("c"), c.size-1), ';')
		taken := 0
		for o.Send(b) != Overflow {
			taken++
			if taken > MaxControlFrames {
				t.Fatalf("%s: no bound", c.what)
			}
		}
		if taken != c.want {
			t.Errorf("%s: %d were taken, want %d", c.what, taken, c.want)
		}
		if got := o.Close([]byte("closed;")); got == Overflow {
			t.Errorf("%s: no close frame", c.what)
		}
		frames := drain(&o)
		if len(frames) != taken+1 || frames[taken] != "closed;" {
			t.Errorf("%s: %d frames came out", c.what, len(frames))
		}
	}
}

// If a thousand jobs change a hundred times each, a thousand statuses wait for a client that reads nothing, the last of
// each job, and no control frame is refused because of them.
func TestStatusesOfASlowClientAreConflated(t *testing.T) {
	const jobs, changes = 1000, 100
	var o Outbox
	slots := make([]Slot, jobs)
	for v := range int64(changes) {
		for i := range slots {
			o.Put(&slots[i], status(i+1, v+1))
		}
	}
	if got := o.Send(control(1)); got != Queued {
		t.Errorf("a control frame: outcome %d", got)
	}
	frames := drain(&o)
	if len(frames) != jobs+1 {
		t.Fatalf("%d frames", len(frames))
	}
	for i, f := range frames[:jobs] {
		if job, v := parse(t, f); job != i+1 || v != changes {
			t.Errorf("frame %d: %s", i, f)
		}
	}
}

// Frames that were written free their room.
func TestRoomComesBack(t *testing.T) {
	var o Outbox
	for range 3 {
		for range MaxControlFrames {
			if o.Send(control(1)) == Overflow {
				t.Fatal("overflow before the bound")
			}
		}
		if got := o.Send(control(1)); got != Overflow {
			t.Fatalf("above the bound: outcome %d", got)
		}
		if n := len(drain(&o)); n != MaxControlFrames {
			t.Fatalf("%d frames", n)
		}
	}
}

func TestAFrameAboveTheLimitGoesAlone(t *testing.T) {
	var o Outbox
	var s Slot
	o.Send([]byte(strings.Repeat("x", 99) + ";"))
	o.Put(&s, status(1, 1))
	taken, statuses, more := o.Take(nil, nil, 10)
	if buf := joined(taken); len(buf) != 100 || len(statuses) != 0 || !more {
		t.Errorf("%d bytes, %d statuses, more %v", len(buf), len(statuses), more)
	}
	taken, statuses, more = o.Take(taken[:0], nil, 10)
	if buf := joined(taken); string(buf) != "s1:1;" || len(statuses) != 1 || !more {
		t.Errorf("%s, %d statuses, more %v", buf, len(statuses), more)
	}
}

func TestACloseWithoutAFrame(t *testing.T) {
	var o Outbox
	o.Send(control(1))
	o.Close(nil)
	if got := o.Send(control(2)); got != Closed {
		t.Errorf("after the close: outcome %d", got)
	}
	if got := strings.Join(drain(&o), ""); got != "c1;" || !o.Idle() {
		t.Errorf("sent %q, idle %v", got, o.Idle())
	}
}

// Of concurrent puts only one starts a flush at a time: the output is complete, in order per sender, and its versions
// rise per job.
func TestConcurrentPutsAndOneFlush(t *testing.T) {
	const jobs, versions, sends = 8, 500, 2000
	var o Outbox
	var flushes sync.WaitGroup
	var wrote []byte // without a lock: the race detector would see two flushes at once
	flush := func() {
		for {
			taken, _, more := o.Take(nil, nil, 64)
			if !more {
				return
			}
			wrote = append(wrote, joined(taken)...)
		}
	}
	start := func(got Outcome) {
		switch got {
		case Start:
			flushes.Go(flush)
		case Overflow:
			t.Error("overflow")
		}
	}
	var putters sync.WaitGroup
	for i := range jobs {
		putters.Go(func() {
			var s Slot
			for v := range int64(versions) {
				start(o.Put(&s, status(i+1, v+1)))
			}
		})
	}
	putters.Go(func() {
		for n := range sends {
			start(o.Send(control(n + 1)))
		}
	})
	putters.Wait()
	flushes.Wait()
	var last [jobs + 1]int64
	frames := strings.SplitAfter(string(wrote), ";")
	for _, f := range frames[:len(frames)-1] {
		job, n := parse(t, f)
		if n <= last[job] || job == 0 && n != last[0]+1 {
			t.Fatalf("%s after %d", f, last[job])
		}
		last[job] = n
	}
	for job, n := range last {
		if want := int64(versions); job > 0 && n != want || job == 0 && n != sends {
			t.Errorf("job %d ended at %d", job, n)
		}
	}
	if !o.Idle() {
		t.Error("something is left")
	}
}

func TestAGroupHasAPlacePerJobWhileItWaits(t *testing.T) {
	o := Outbox{MaxStatuses: 2}
	var g Group
	for i, got := range []Outcome{
		o.PutGroup(&g, "1", status(1, 1)), o.PutGroup(&g, "2", status(2, 1)), o.PutGroup(&g, "1", status(1, 3)),
		o.PutGroup(&g, "1", status(1, 2)), o.PutGroup(&g, "3", status(3, 1)),
	} {
		if want := []Outcome{Start, Queued, Replaced, Old, Overflow}[i]; got != want {
			t.Errorf("step %d: outcome %d, want %d", i, got, want)
		}
	}
	if got := strings.Join(drain(&o), ""); got != "s1:3;s2:1;" || len(g.slots) != 0 {
		t.Errorf("sent %s, %d places are left", got, len(g.slots))
	}
	o.PutGroup(&g, "1", status(1, 4))
	o.ClearGroup(&g)
	o.PutGroup(&g, "2", status(2, 2))
	if got := strings.Join(drain(&o), ""); got != "s2:2;" || len(g.slots) != 0 {
		t.Errorf("sent %s, %d places are left", got, len(g.slots))
	}
	o.Close(nil)
	if got := o.PutGroup(&g, "1", status(1, 9)); got != Closed || len(g.slots) != 0 {
		t.Errorf("once it is closed: outcome %d", got)
	}
}

// A frame is compressed once, when the first socket needs it, even if many sockets need it at the same time. If
// compression does not make it smaller it is sent as it is.
func TestAFrameIsDeflatedOnce(t *testing.T) {
	const sockets = 1000
	f := status(1, 1)
	var made atomic.Int64
	var all sync.WaitGroup
	got := make([][]byte, sockets)
	for i := range sockets {
		all.Go(func() {
			got[i] = f.Deflated(func(b []byte) []byte {
				made.Add(1)
				return []byte("small")
			})
		})
	}
	all.Wait()
	for _, b := range got {
		if string(b) != "small" || &b[0] != &got[0][0] {
			t.Fatalf("one is %q, or a copy", b)
		}
	}
	if made.Load() != 1 || string(f.Bytes) != "s1:1;" {
		t.Errorf("made %d times; the frame is %s", made.Load(), f.Bytes)
	}
	g := status(2, 1)
	for range 2 {
		if b := g.Deflated(func([]byte) []byte { made.Add(1); return nil }); string(b) != "s2:1;" {
			t.Errorf("what is no smaller is %q", b)
		}
	}
	if made.Load() != 2 {
		t.Errorf("what is no smaller was tried %d times", made.Load()-1)
	}
	if n := testing.AllocsPerRun(100, func() { f.Deflated(nil) }); n != 0 {
		t.Errorf("%v allocations for a frame that is there", n)
	}
}
