package service

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
)

func TestProbe(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var fails, hangs atomic.Bool
		hang := make(chan struct{})
		p := NewProbe("disk", func() error {
			if hangs.Load() {
				<-hang
			}
			if fails.Load() {
				return errors.New("input/output error")
			}
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); p.Run(ctx) }()
		want := func(what string, ready bool) {
			t.Helper()
			synctest.Wait()
			if err := p.Err(); (err == nil) != ready {
				t.Errorf("%s: %v", what, err)
			}
		}
		want("a try that succeeds", true)
		fails.Store(true)
		time.Sleep(probeInterval)
		want("one that fails", false)
		fails.Store(false)
		time.Sleep(probeInterval)
		want("one that succeeds again", true)
		hangs.Store(true)
		time.Sleep(probeInterval + probeSilence)
		want("one that hangs for a short time", true)
		time.Sleep(time.Second)
		want("one that hangs", false)
		hangs.Store(false)
		close(hang)
		want("when it returns", true)
		cancel()
		<-ended
	})
}
