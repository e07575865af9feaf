package latest_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ackwire/ackwire/internal/latest"
)

// read returns the keys behind a position, with their versions, and the position up to which that was.
func read(l *latest.Log[string], from uint64, most int) (all []string, to uint64) {
	to = l.Read(from, func(key string, version int64, value string, _ int) bool {
		if len(all) == most {
			return false
		}
		all = append(all, fmt.Sprintf("%s%d%s", key, version, value))
		return true
	})
	return all, to
}

func TestTheNewestValueOfEachKeyInTheOrderOfTheChanges(t *testing.T) {
	l := &latest.Log[string]{MaxKeys: 10, MaxBytes: 1000}
	for _, p := range []struct {
		key             string
		version         int64
		taken, replaced bool
	}{
		{"a", 1, true, false}, {"b", 1, true, false}, {"c", 4, true, false}, {"a", 2, true, true}, {"a", 2, false, false},
		{"c", 3, false, false},
	} {
		if taken, replaced := l.Put(p.key, p.version, "!", 1); taken != p.taken || replaced != p.replaced {
			t.Errorf("%s%d: taken %v, replaced %v", p.key, p.version, taken, replaced)
		}
	}
	got, at := read(l, 0, 2)
	if !slices.Equal(got, []string{"b1!", "c4!"}) {
		t.Errorf("the first two are %v", got)
	}
	if got, at = read(l, at, 9); !slices.Equal(got, []string{"a2!"}) || at != l.End() {
		t.Errorf("then %v, up to %d of %d", got, at, l.End())
	}
	if got, to := read(l, at, 9); got != nil || to != at {
		t.Errorf("then %v", got)
	}
	l.Put("b", 7, "", 1)
	if got, _ = read(l, at, 9); !slices.Equal(got, []string{"b7"}) {
		t.Errorf("what is new: %v", got)
	}
	if l.Lost() != 0 || l.Len() != 3 || l.Bytes() != 3 {
		t.Errorf("lost %d, %d keys, %d bytes", l.Lost(), l.Len(), l.Bytes())
	}
	l.Trim(at)
	if got, _ = read(l, 0, 9); !slices.Equal(got, []string{"b7"}) || l.Lost() != 0 || l.Bytes() != 1 {
		t.Errorf("after a trim: %v, lost %d, %d bytes", got, l.Lost(), l.Bytes())
	}
	l.Clear()
	if got, _ = read(l, 0, 9); got != nil || l.Lost() != l.End() || l.Bytes() != 0 {
		t.Errorf("after a clear: %v, lost %d", got, l.Lost())
	}
}

func TestTheOldestAreDropped(t *testing.T) {
	for name, l := range map[string]*latest.Log[string]{
		"keys": {MaxKeys: 3, MaxBytes: 1000}, "bytes": {MaxKeys: 1000, MaxBytes: 30},
	} {
		for i := range 10 {
			l.Put(fmt.Sprint(i), 1, "", 10)
		}
		if got, _ := read(l, 0, 9); !slices.Equal(got, []string{"71", "81", "91"}) || l.Lost() != 7 {
			t.Errorf("%s: %v, lost %d", name, got, l.Lost())
		}
	}
	l := &latest.Log[string]{MaxKeys: 3, MaxBytes: 5}
	l.Put("a", 1, "", 1)
	l.Put("large", 1, "", 100)
	if got, _ := read(l, 0, 9); !slices.Equal(got, []string{"large1"}) {
		t.Errorf("the newest is always held: %v", got)
	}
}

// TestReadersAgreeAtRest: whatever the order of puts, reads and clears, a reader that reads all knows the newest
// version of each key that changed since it began, or was told that it has missed some.
func TestReadersAgreeAtRest(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		l := &latest.Log[string]{MaxKeys: 1 + rnd.IntN(20), MaxBytes: 10 + rnd.IntN(200)}
		truth, known := map[string]int64{}, map[string]int64{}
		var at uint64
		missed := false
		step := func(most int) {
			if l.Lost() > at {
				missed, at = true, l.End()
				return
			}
			at = l.Read(at, func(key string, version int64, _ string, _ int) bool {
				most--
				if most < 0 {
					return false
				}
				known[key] = version
				return true
			})
		}
		for range 300 {
			switch key := fmt.Sprint(rnd.IntN(30)); rnd.IntN(8) {
			case 0:
				step(rnd.IntN(10))
			case 1:
				l.Trim(at)
			case 2:
				if rnd.IntN(20) == 0 {
					l.Clear()
				}
			default:
				truth[key]++
				l.Put(key, truth[key], "", rnd.IntN(20))
			}
			if l.Len() > max(1, l.MaxKeys) || l.Bytes() > max(l.MaxBytes, 20) {
				t.Fatalf("seed %d: %d keys, %d bytes", seed, l.Len(), l.Bytes())
			}
		}
		step(1 << 20)
		for key, version := range truth {
			if !missed && known[key] != version {
				t.Fatalf("seed %d: %s is %d, the reader has %d and was told of no loss", seed, key, version, known[key])
			}
		}
	}
}
