package processor

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/event"
)

// TestSlotsAreNeverLeaked: after thousands of jobs that end in every possible way, all slots
// are free and no goroutine is left.
func TestSlotsAreNeverLeaked(t *testing.T) {
	const jobs = 10_000
	inWorld(t, func(w *world) {
		w.answers(func(e event.Event) []event.OrderType {
			switch n := rand.IntN(20); {
			case e.Type == event.Claimed && n == 0:
				return []event.OrderType{event.Stop}
			case e.Type == event.Claimed && n == 1:
				return []event.OrderType{event.Quit}
			case e.Type == event.Claimed:
				return []event.OrderType{event.Granted}
			case n == 2:
				return []event.OrderType{event.Stop}
			}
			return nil
		})
		wk := w.start(Config{Slots: 64},
			handlers(map[string]RawHandler{"any": func(ctx context.Context, j *Job, _ []byte) (json.RawMessage, error) {
				switch rand.IntN(8) {
				case 0:
					return nil, errors.New("retryable")
				case 1:
					return nil, Permanent(errors.New("permanent"))
				case 2:
					panic("a bug")
				case 3:
					runtime.Goexit()
				case 4:
					j.Progress(50, "half")
				case 5:
					if !pause.For(ctx, time.Second) {
						return nil, ctx.Err()
					}
				}
				return json.RawMessage(`1`), nil
			}}))
		synctest.Wait()
		before := runtime.NumGoroutine()
		for i := range jobs {
			w.submit(request(id(i), "any"), `{}`)
		}
		time.Sleep(10 * time.Minute)
		wk.wantFree()
		if after := runtime.NumGoroutine(); after > before {
			t.Errorf("%d goroutines before, %d after", before, after)
		}
	})
}
