package sse

import (
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// upstream is a tracker that answers when it is told to.
type upstream struct{}

func (upstream) Add(*trackerpb.WatchAdd) {}
func (upstream) Remove(string)           {}
func (upstream) Ended(string)            {}
func (upstream) Lose(string)             {}

// A client that has its job's end is answered 204, in whatever order the answer to its watch and the end arrive.
func TestFinishedWithTheAnswer(t *testing.T) {
	for range 2000 {
		h := hub.New(time.Minute)
		h.Attach(upstream{})
		s := New(h, Room{}, auth.TenantScope("acme"), "j", "7")
		var tracker sync.WaitGroup
		tracker.Go(func() {
			h.Watched(&trackerpb.Watched{
				JobId: "j", Who: auth.TenantScope("acme").Key(),
				Outcome: trackerpb.Watched_WATCHING, Version: 7, Position: 7, Ended: true,
			})
		})
		answers, err := s.Answers(t.Context())
		finished := s.Finished()
		tracker.Wait()
		s.Close()
		if err != nil || len(answers) != 1 || answers[0].Error != "" || !finished {
			t.Fatalf("%+v, %v, finished %v", answers, err, finished)
		}
	}
}
