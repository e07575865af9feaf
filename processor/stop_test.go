package processor

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
)

func TestPoliteStop(t *testing.T) {
	inWorld(t, func(w *world) {
		req := request("waits", "block")
		w.submit(req, `1`)
		wk := w.start(Config{Grace: 20 * time.Second}, handlers(map[string]RawHandler{
			"block": block,
			"nap": func(ctx context.Context, _ *Job, _ []byte) (json.RawMessage, error) {
				time.Sleep(10 * time.Second)
				return json.RawMessage(`1`), nil
			},
			"stubborn": func(ctx context.Context, _ *Job, _ []byte) (json.RawMessage, error) {
				<-ctx.Done()
				return json.RawMessage(`1`), nil // it finishes nevertheless
			},
		}))
		for _, name := range []string{"block", "nap", "stubborn"} {
			w.submit(request(name, name), `1`)
			w.want("running", name, event.Claimed)
		}
		began := time.Now()
		wk.stop()
		time.Sleep(moment)
		if err := wk.Ready(); err == nil || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("ready says %v", err)
		}
		if e := w.last("waits"); e.Type != event.Released || time.Since(began) > 2*time.Second {
			t.Errorf("what has not begun is released at once: %+v", e)
		}
		w.submit(request("late", "nap"), `1`)
		<-wk.done
		if wk.err != nil {
			t.Error(wk.err)
		}
		if took := time.Since(began); took < 20*time.Second || took > 21*time.Second {
			t.Errorf("stopped after %v", took)
		}
		for name, want := range map[string]event.Type{"block": event.Released, "nap": event.Completed,
			"stubborn": event.Completed} {
			if e := w.last(name); e.Type != want {
				t.Errorf("%s: got %s, want %s", name, e.Type, want)
			}
		}
		w.want("it takes nothing any more", "late")
		if got := w.committed(); got != 4 {
			t.Errorf("committed %d, want 4", got)
		}
		wk.wantFree()
	})
}

func TestStopIsQuickWithoutWork(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, handlers(map[string]RawHandler{"echo": echo}))
		w.submit(request("a", "echo"), `1`)
		w.last("a")
		began := time.Now()
		if err := wk.halt(); err != nil || time.Since(began) > time.Second {
			t.Errorf("stopped after %v: %v", time.Since(began), err)
		}
		if err := wk.Run(context.Background()); err == nil {
			t.Error("Run twice")
		}
	})
}

func TestStopIsBoundedWhenKafkaIsAway(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, handlers(map[string]RawHandler{"block": block}))
		w.submit(request("a", "block"), `1`)
		w.want("running", "a", event.Claimed)
		w.cutOff()
		w.submit(request("b", "block"), `1`)
		time.Sleep(moment)
		began := time.Now()
		err := wk.halt()
		if err == nil || !strings.Contains(err.Error(), "did not confirm") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 35*time.Second {
			t.Errorf("stopped after %v", took)
		}
	})
}

func TestStopDoesNotWaitForHandlersThatIgnoreIt(t *testing.T) {
	inWorld(t, func(w *world) {
		end := make(chan struct{})
		wk := w.start(Config{}, handlers(map[string]RawHandler{"deaf": func(context.Context, *Job, []byte) (json.RawMessage,
			error) {
			<-end
			return json.RawMessage(`1`), nil
		}}))
		w.submit(request("a", "deaf"), `1`)
		w.want("running", "a", event.Claimed)
		err := wk.halt()
		if err == nil || !strings.Contains(err.Error(), "did not return") {
			t.Errorf("got %v", err)
		}
		if e := w.last("a"); e.Type != event.Released {
			t.Errorf("got %+v", e)
		}
		close(end)
	})
}

func TestKafkaThatComesLater(t *testing.T) {
	inWorldWithoutKafka(t, func(w *world) {
		wk := w.launch(Config{}, w.env(), handlers(map[string]RawHandler{"echo": echo}))
		time.Sleep(time.Minute)
		if err := wk.Ready(); err == nil || !strings.Contains(err.Error(), "starting: ") {
			t.Errorf("ready says %v", err)
		}
		w.startKafka()
		time.Sleep(15 * time.Second)
		w.follow() // the worker has made the topics
		if err := wk.Ready(); err != nil {
			t.Fatalf("not ready: %v", err)
		}
		w.submit(request("a", "echo"), `1`)
		time.Sleep(10 * time.Second)
		if e := w.last("a"); e.Type != event.Completed {
			t.Errorf("got %+v", e)
		}
	})
}

func TestStopWhileKafkaIsAwayAtStart(t *testing.T) {
	inWorldWithoutKafka(t, func(w *world) {
		wk := w.launch(Config{}, w.env(), handlers(nil))
		time.Sleep(time.Minute)
		if err := wk.halt(); err != nil {
			t.Error(err)
		}
		if err := wk.Ready(); err == nil || err.Error() != "stopped" {
			t.Errorf("ready says %v", err)
		}
	})
}
