package processor

import (
	"testing"
)

func TestSeenIsBounded(t *testing.T) {
	s := newSeen(8)
	for i := range 1000 {
		if s.meet(id(i)) {
			t.Fatalf("%s was never met", id(i))
		}
		for back := range min(i, 4) {
			if !s.meet(id(i - back)) {
				t.Fatalf("%s forgotten at %d", id(i-back), i)
			}
		}
		if n := len(s.young) + len(s.former); n > 8 {
			t.Fatalf("%d remembered", n)
		}
	}
}
