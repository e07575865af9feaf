package subjects

import (
	"fmt"
	"testing"
)

// TestToldHasABound: Told remembers at least as many jobs as its bound and at most twice as many, and Complete says
// whether one was forgotten.
func TestToldHasABound(t *testing.T) {
	for _, c := range []struct {
		follows bool
		sure    int
	}{{false, maxEnded}, {true, maxTold}} {
		var told Told
		if c.follows {
			told.Follow()
		}
		note := func(from, to int) {
			for i := from; i < to; i++ {
				if id := fmt.Sprint(i); !told.News(id, 5) || told.News(id, 5) || told.News(id, 4) {
					t.Fatalf("job %d: a version is news once", i)
				}
			}
		}
		note(0, c.sure)
		for i := range c.sure {
			if told.Last(fmt.Sprint(i)) != 5 {
				t.Fatalf("follows %t: job %d is forgotten, of %d", c.follows, i, c.sure)
			}
		}
		if !told.Complete() {
			t.Error("nothing was forgotten yet")
		}
		note(c.sure, 10*c.sure)
		if n := len(told.now) + len(told.before); n > 2*c.sure || told.Complete() {
			t.Errorf("follows %t: %d are kept, complete: %t", c.follows, n, told.Complete())
		}
		told.Forget(fmt.Sprint(10*c.sure - 1))
		if !told.News(fmt.Sprint(10*c.sure-1), 1) {
			t.Error("what was forgotten on purpose is no news")
		}
	}
}
