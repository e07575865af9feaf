package processor

import (
	"math/rand/v2"
	"testing"
)

func TestWindow(t *testing.T) {
	var w window
	if _, ok := w.low(); ok {
		t.Error("an unused window has a mark")
	}
	for _, offset := range []int64{5, 6, 9, 10} { // 7 and 8 are gaps
		w.deliver(offset)
	}
	for _, step := range []struct{ mark, low int64 }{{9, 5}, {10, 5}, {5, 6}, {5, 6}, {42, 6}, {6, 11}} {
		w.mark(step.mark)
		if low, _ := w.low(); low != step.low {
			t.Errorf("after %d: low is %d, want %d", step.mark, low, step.low)
		}
	}
}

// In whatever order claims become durable, the committed offset is never above an open one, and in the end all offsets
// are committed.
func TestWindowInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var w window
		open := map[int64]bool{}
		next := int64(0)
		for range 300 {
			if len(open) < 16 && rng.IntN(2) == 0 {
				next += 1 + rng.Int64N(3)
				w.deliver(next)
				open[next] = true
			} else {
				for offset := range open {
					w.mark(offset)
					delete(open, offset)
					break
				}
			}
			low, ok := w.low()
			for offset := range open {
				if ok && low > offset {
					t.Fatalf("committed %d while %d is open", low, offset)
				}
			}
			if ok && len(open) == 0 && low != next+1 {
				t.Fatalf("low is %d with nothing open, want %d", low, next+1)
			}
			if len(w.open) > 16 {
				t.Fatalf("window holds %d offsets", len(w.open))
			}
		}
	}
}
