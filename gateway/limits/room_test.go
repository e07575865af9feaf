package limits

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
)

// slowKafka simulates a broker that processes submits one after the other, at a rate of bytes per second.
type slowKafka struct {
	l        *Limits
	rate     float64
	far      time.Duration // the least time that a submit takes
	now      time.Time
	free     time.Time // when it has processed everything so far
	underWay []pending
	slowest  time.Duration
	acked    int64
}

type pending struct {
	s          Submit
	began, end time.Time
}

// step advances the simulation by a millisecond.
func (k *slowKafka) step() {
	k.now = k.now.Add(time.Millisecond)
	for len(k.underWay) > 0 && !k.underWay[0].end.After(k.now) {
		p := k.underWay[0]
		k.underWay = k.underWay[1:]
		took := p.end.Sub(p.began)
		k.slowest = max(k.slowest, took)
		k.acked += p.s.bytes
		k.l.mu.Lock()
		k.l.room.learn(k.now, took, p.s.bytes, k.l.bytes)
		k.l.mu.Unlock()
		p.s.End(true)
	}
}

func (k *slowKafka) submit(t *testing.T, tenant string, bytes int64) (taken bool) {
	s, err := k.l.BeginSubmit(t.Context(), tenant, bytes)
	if err != nil {
		return false
	}
	if k.free.Before(k.now) {
		k.free = k.now
	}
	k.free = k.free.Add(time.Duration(float64(bytes) / k.rate * float64(time.Second)))
	k.underWay = append(k.underWay, pending{s, k.now, k.free.Add(k.far)})
	return true
}

// TestTheRoomIsWhatKafkaTakes: however many clients submit and however slow Kafka is, admitted submits
// are answered soon, Kafka is never idle, and another tenant finds room.
func TestTheRoomIsWhatKafkaTakes(t *testing.T) {
	for name, k := range map[string]slowKafka{
		"a slow one":          {rate: 5 << 20},
		"a quick one":         {rate: 200 << 20},
		"one that is far off": {rate: 20 << 20, far: 400 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			k.l = New(Config{Submits: 20_000, SubmitBytes: 256 << 20}, 1, 300*time.Millisecond, nil, func(Bound) {})
			k.now = time.Now()
			good, refused := 0, 0
			for ms := range 30_000 {
				k.step()
				if ms == 10_000 {
					k.slowest, k.acked = 0, 0 // the room has adapted by then
				}
				for k.submit(t, "greedy", 250_000) {
				}
				if ms > 10_000 && ms%100 == 0 {
					good++
					if !k.submit(t, "modest", 300) {
						refused++
					}
				}
			}
			bound := 3*k.far + 3*time.Second/2
			if k.slowest > bound {
				t.Errorf("a submit took %v, want %v at the most", k.slowest, bound)
			}
			if share := float64(k.acked) / 20 / k.rate; share < 0.9 {
				t.Errorf("Kafka had something to do for %.2f of the time", share)
			}
			if refused > good/10 {
				t.Errorf("another tenant was refused %d times of %d", refused, good)
			}
			t.Logf("slowest %v, room %d KB, other tenant refused %d of %d", k.slowest, k.l.room.size>>10, refused, good)
		})
	}
}

// TestOneSubmitHasAlwaysRoom: a single submit is admitted, however small the room is.
func TestOneSubmitHasAlwaysRoom(t *testing.T) {
	l := New(Config{Submits: 10, SubmitBytes: 64 << 20}, 1, 300*time.Millisecond, nil, func(Bound) {})
	now := time.Now()
	l.room.learn(now, time.Millisecond, 1, 0)
	for i := range 100 {
		l.room.learn(now.Add(time.Duration(i)*time.Second), time.Minute, 1, 0)
	}
	if l.room.size != leastRoom {
		t.Fatalf("room %d", l.room.size)
	}
	s, err := l.BeginSubmit(t.Context(), "a", 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.BeginSubmit(t.Context(), "b", 1); err == nil {
		t.Errorf("a second one has room: want %s", code.Overloaded)
	}
	s.End(true)
}
