package outbox

import "testing"

// A put into an empty slot, a put that replaces another, and a take allocate nothing.
func TestPutsCostNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var o Outbox
	var s, again Slot
	f := Frame{Bytes: make([]byte, 500)}
	taken, times := make([]*Frame, 0, 8), make([]int64, 0, 8)
	if n := testing.AllocsPerRun(1000, func() {
		for range 3 {
			f.Version++
			o.Put(&s, &f)
		}
		o.Hold(&again)
		o.Inherit(&again, &s)
		o.Release(&again)
		o.Inherit(&s, &again)
		taken, times, _ = o.Take(taken[:0], times[:0], 1<<10)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkPut measures a put into an empty slot and its take.
func BenchmarkPut(b *testing.B) {
	var o Outbox
	var s Slot
	f := Frame{Bytes: make([]byte, 500)}
	taken, times := make([]*Frame, 0, 8), make([]int64, 0, 8)
	b.ReportAllocs()
	for b.Loop() {
		f.Version++
		o.Put(&s, &f)
		taken, times, _ = o.Take(taken[:0], times[:0], 1<<10)
	}
}

// BenchmarkConflate measures a put that replaces a status that was not sent yet.
func BenchmarkConflate(b *testing.B) {
	var o Outbox
	var s Slot
	f := Frame{Bytes: make([]byte, 500)}
	b.ReportAllocs()
	for b.Loop() {
		f.Version++
		o.Put(&s, &f)
	}
}
