package processor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/event"
)

func TestSlotsBoundWhatIsTaken(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{Slots: 3}, handlers(map[string]RawHandler{"block": block}))
		for i := range 10 {
			w.submit(request(id(i), "block"), `1`)
		}
		time.Sleep(10 * time.Second)
		var held []event.Event
		for i := range 10 {
			if events := w.events(id(i)); len(events) > 0 {
				held = append(held, events[0].Event)
			}
		}
		if len(held) != 3 || w.committed() != 3 {
			t.Fatalf("%d jobs held, %d committed, want 3", len(held), w.committed())
		}
		w.answers(func(e event.Event) []event.OrderType {
			if e.Type == event.Beat {
				return []event.OrderType{event.Quit}
			}
			return nil
		})
		for i := range 10 {
			w.last(id(i))
		}
		time.Sleep(moment)
		wk.wantFree()
	})
}

// A rebalance takes a running job's partition away: the run goes on and reports.
func TestRebalanceDoesNotEndRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		var interrupted atomic.Int32
		register := handlers(map[string]RawHandler{"nap": func(ctx context.Context, _ *Job, _ []byte) (json.RawMessage,
			error) {
			if !pause.For(ctx, time.Minute) {
				interrupted.Add(1)
			}
			return json.RawMessage(`1`), nil
		}})
		first := w.start(Config{}, register)
		const jobs = 40
		for i := range jobs {
			w.submit(request(id(i), "nap"), `1`)
		}
		time.Sleep(5 * time.Second)
		second := w.start(Config{}, register)
		time.Sleep(20 * time.Second)
		for _, wk := range []*worker{first, second} {
			wk.lanes[0].mu.Lock()
			if n := len(wk.lanes[0].partitions); n != testPartitions/2 {
				t.Errorf("%d partitions owned, want half", n)
			}
			wk.lanes[0].mu.Unlock()
		}
		time.Sleep(40 * time.Second)
		for i := range jobs {
			events := w.events(id(i))
			last := events[len(events)-1]
			if last.Type != event.Completed {
				t.Fatalf("%s: %v", id(i), last.Event)
			}
			for _, e := range events {
				if e.Worker != first.WorkerID() || e.Run != last.Run {
					t.Errorf("%s: %s by %s, run %s", id(i), e.Type, e.Worker, e.Run)
				}
			}
		}
		if n := interrupted.Load(); n > 0 {
			t.Errorf("%d handlers interrupted", n)
		}
		if got := w.committed(); got != jobs {
			t.Errorf("committed %d", got)
		}
		first.wantFree()
		second.wantFree()
	})
}

// A thousand jobs that end in every way leave no slot taken, no goroutine and no open offset.
func TestNothingLeaks(t *testing.T) {
	inWorld(t, func(w *world) {
		rng := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		chance := func(n int) bool { mu.Lock(); defer mu.Unlock(); return rng.IntN(n) == 0 }
		wk := w.start(Config{Slots: 32},
			handlers(map[string]RawHandler{"any": func(ctx context.Context, j *Job, _ []byte) (json.RawMessage, error) {
				j.Progress(10, "on my way")
				switch {
				case chance(4):
					return nil, errors.New("no luck")
				case chance(8):
					panic("no luck at all")
				case chance(8):
					return block(ctx, j, nil)
				}
				return json.RawMessage(`1`), nil
			}}))
		w.answers(func(e event.Event) []event.OrderType {
			switch {
			case e.Type == event.Claimed && chance(10):
				return []event.OrderType{event.Stop}
			case e.Type == event.Claimed:
				return []event.OrderType{event.Granted}
			case e.Type == event.Beat && chance(2):
				return []event.OrderType{event.Stop}
			case e.Type == event.Beat:
				return []event.OrderType{event.Quit}
			}
			return nil
		})
		for i := range 20 { // so that every connection has been made
			w.submit(request(fmt.Sprint("warm-up-", i), "any"), `1`)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		before := runtime.NumGoroutine()
		const jobs = 1000
		for i := range jobs {
			req := request(id(i), "any")
			if chance(3) {
				req.Dispatch = 2
			}
			w.submit(req, `1`)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		wk.wantFree()
		after := runtime.NumGoroutine()
		// The client asks for metadata now and then, and closes the connection when it was idle for a while.
		for range 60 {
			if after <= before+2 {
				break
			}
			time.Sleep(time.Second)
			synctest.Wait()
			after = runtime.NumGoroutine()
		}
		if after > before+2 {
			t.Errorf("%d goroutines before, %d after", before, after)
		}
		if got := w.committed(); got != jobs+20 {
			t.Errorf("committed %d of %d", got, jobs+20)
		}
		if got := wk.lanes[0].openClaims(); got != 0 {
			t.Errorf("%d offsets open", got)
		}
		for _, g := range []float64{counter(t, wk.metrics.running), counter(t, wk.metrics.waiting)} {
			if g != 0 {
				t.Errorf("gauge at %v", g)
			}
		}
	})
}
