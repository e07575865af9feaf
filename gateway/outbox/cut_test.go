package outbox

import "testing"

// TestCut: everything that waits is dropped, and only the last frame is sent.
func TestCut(t *testing.T) {
	o := &Outbox{MaxStatuses: 3}
	g := &Group{}
	s := &Slot{}
	o.Put(s, &Frame{Version: 1, Bytes: []byte("s")})
	o.PutGroup(g, "a", &Frame{Version: 1, Bytes: []byte("a")})
	o.Mark([]byte("mark"))
	o.PutGroup(g, "b", &Frame{Version: 1, Bytes: []byte("b")})
	if got := o.PutGroup(g, "c", &Frame{Version: 1, Bytes: []byte("c")}); got != Overflow {
		t.Fatalf("outcome %d", got)
	}
	o.Cut([]byte("last"))
	if got := o.Put(s, &Frame{Version: 2}); got != Closed {
		t.Errorf("outcome %d after the last frame", got)
	}
	frames, _, more := o.Take(nil, nil, 1<<20)
	if !more || len(frames) != 1 || string(frames[0].Bytes) != "last" || len(g.slots) != 0 {
		t.Errorf("%d frames, %d slots", len(frames), len(g.slots))
	}
	if _, _, more := o.Take(nil, nil, 1<<20); more || !o.Over() {
		t.Error("something follows")
	}
}

// TestAMarkSaysNothingOfWhatIsHeldBack: a mark is sent after everything that was put before, or not at all.
func TestAMarkSaysNothingOfWhatIsHeldBack(t *testing.T) {
	o := &Outbox{}
	s := &Slot{}
	o.Hold(s)
	o.Put(s, &Frame{Version: 1, Bytes: []byte("held")})
	if got := o.Mark([]byte("mark")); got != Old {
		t.Errorf("outcome %d while something is held back", got)
	}
	o.Release(s)
	if got := o.Mark([]byte("mark")); got != Queued {
		t.Errorf("outcome %d", got)
	}
	if got := o.Mark([]byte("mark")); got != Old {
		t.Errorf("outcome %d while one waits", got)
	}
	frames, _, _ := o.Take(nil, nil, 1<<20)
	if len(frames) != 2 || string(frames[1].Bytes) != "mark" {
		t.Errorf("%d frames", len(frames))
	}
}
