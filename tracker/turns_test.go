package tracker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
)

// TestListsTakeTurns has one tenant ask for many lists at once: only as many as allowed are made at a
// time, and another tenant's list is the next, not the last.
func TestListsTakeTurns(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		turns := newTurns(2)
		type result struct {
			tenant string
			after  time.Duration
		}
		results := make(chan result, 200)
		began := time.Now()
		inTurn := make(chan int, 200)
		ask := func(tenant string) {
			go func() {
				if turns.enter(t.Context(), tenant) != nil {
					t.Error("no turn")
				}
				inTurn <- 1
				time.Sleep(time.Second)
				inTurn <- -1
				turns.leave()
				results <- result{tenant, time.Since(began)}
			}()
			synctest.Wait()
		}
		for range 40 {
			ask("greedy")
		}
		ask("good")
		impatient, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if turns.enter(impatient, "gone") == nil {
			t.Error("there was a turn")
		}
		for range 41 {
			r := <-results
			if r.tenant == "good" && r.after > 3*time.Second {
				t.Errorf("another tenant waited %s", r.after)
			}
		}
		synctest.Wait()
		close(inTurn)
		now := 0
		for change := range inTurn {
			now += change
			if now > 2 {
				t.Fatalf("%d are made at a time", now)
			}
		}
		if turns.room != 2 || len(turns.tenants)+len(turns.waiting) != 0 {
			t.Errorf("room for %d, %d wait", turns.room, len(turns.tenants))
		}
	})
}
