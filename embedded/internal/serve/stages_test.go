package serve

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
)

// What was started first is needed by what came later: it stops only when that has ended.
func TestStagesStopLastToFirst(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := newStages(ctx)
		var ended []string // parts end one after the other
		for _, name := range []string{"broker", "tracker", "gateway"} {
			s.start(name, func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Second)
				ended = append(ended, name)
				return nil
			})
		}
		stop()
		s.wait()
		synctest.Wait()
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if got := strings.Join(ended, " "); got != "gateway tracker broker" {
			t.Errorf("ended: %s", got)
		}
	})
}

func TestAPartThatEndsStopsAll(t *testing.T) {
	for _, c := range []struct {
		name string
		ends error
		want string
	}{
		{"with an error", errors.New("disk is gone"), "tracker: disk is gone"},
		{"without one", nil, "tracker: ended by itself"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				s := newStages(t.Context())
				stopped := 0
				linger := func(ctx context.Context) error { <-ctx.Done(); stopped++; return nil }
				s.start("broker", linger)
				s.start("tracker", func(context.Context) error { time.Sleep(time.Hour); return c.ends })
				s.start("gateway", linger)
				s.wait()
				if err := s.stop(); err == nil || err.Error() != c.want {
					t.Errorf("got %v, want %s", err, c.want)
				}
				if stopped != 2 {
					t.Errorf("%d of the 2 others stopped", stopped)
				}
			})
		})
	}
}
