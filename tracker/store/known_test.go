package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// What is known by a seal, and by changes since, is what is known without one, through any number of seals.
func TestKnownThroughSeals(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	sealed, plain, jobs := newKnown(), newKnown(), map[string]int64{}
	for step := range 20_000 {
		id := fmt.Sprintf("job-%d", rnd.IntN(300))
		subject := fmt.Sprintf("owner-%d", rnd.IntN(3))
		for _, k := range []known{sealed, plain} {
			switch step % 5 {
			case 0, 1:
				k.add(id, "t", subject)
			case 2, 3:
				k.remove(id)
			default:
				k.noteOwner(id)
			}
		}
		switch step % 5 {
		case 0, 1:
			jobs[id]++
		case 2, 3:
			jobs[id] = max(jobs[id]-1, 0)
		}
		if step%700 == 0 {
			all := int64(0)
			for _, n := range jobs {
				all += n
			}
			if _, ok := openKnown(sealed.entries(), all+1); ok {
				t.Fatal("a seal that knows too few jobs is used")
			}
			var ok bool
			if sealed, ok = openKnown(sealed.entries(), all); !ok {
				t.Fatal("the seal of what is known is not used")
			}
		}
		for i := range 300 {
			h := xxhash.Sum64String(fmt.Sprintf("job-%d", i))
			if sealed.get(h) != plain.get(h) {
				t.Fatalf("step %d: job-%d: %+v, want %+v", step, i, sealed.get(h), plain.get(h))
			}
		}
	}
	swapped := sealed.entries()
	copy(swapped, swapped[sealEntry:2*sealEntry])
	if _, ok := openKnown(swapped, 0); ok {
		t.Error("entries out of order are used")
	}
}
