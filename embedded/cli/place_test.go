package cli

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire"
)

// TestPlaceText: a person reads how long the wait is, to one unit.
func TestPlaceText(t *testing.T) {
	ack := func(ahead int64, estimate ...time.Duration) ackwire.Ack {
		a := ackwire.Ack{Ahead: &ahead}
		if len(estimate) > 0 {
			a.Estimate = &estimate[0]
		}
		return a
	}
	for _, c := range []struct {
		ack  ackwire.Ack
		want string
	}{
		{ackwire.Ack{}, ""},
		{ack(0, 0), ""},
		{ack(1), "1 job is ahead"},
		{ack(12, 3*time.Second), "12 jobs are ahead, about 3s until it starts"},
		{ack(12, 300*time.Millisecond), "12 jobs are ahead, less than a second until it starts"},
		{ack(12, 59900*time.Millisecond), "12 jobs are ahead, about 1m until it starts"},
		{ack(200, 149*time.Second), "200 jobs are ahead, about 2m until it starts"},
		{ack(9000, 5*time.Hour+10*time.Minute), "9000 jobs are ahead, about 5h until it starts"},
	} {
		if got := placeText(&c.ack); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
