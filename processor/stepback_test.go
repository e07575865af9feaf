package processor

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
)

// TestItStepsBackWhenAnotherWorkerComes: the other worker takes all later requests, a run that is under way ends here,
// and when the other worker is gone the lane is taken again.
func TestItStepsBackWhenAnotherWorkerComes(t *testing.T) {
	inWorld(t, func(w *world) {
		both := handlers(map[string]RawHandler{"echo": echo, "block": block})
		guest := w.start(Config{StepBack: true, WorkerID: "guest"}, both)
		w.submit(request("before", "echo"), `1`)
		if e := w.last("before"); e.Worker != "guest" {
			t.Fatalf("%s has it", e.Worker)
		}
		w.submit(request("long", "block"), `1`)
		claim := w.want("runs", "long", event.Claimed)[0].Event

		own := w.start(Config{WorkerID: "own"}, both)
		time.Sleep(stepBackCheck + 2*local.Heartbeat)
		for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			w.submit(request(id, "echo"), `1`)
			if e := w.last(id); e.Worker != "own" || e.Type != event.Completed {
				t.Errorf("%s: %s by %s", id, e.Type, e.Worker)
			}
		}
		if err := guest.Ready(); err != nil {
			t.Errorf("one that stepped back is not ready: %v", err)
		}
		w.order(claim, event.Quit)
		if e := w.last("long"); e.Worker != "guest" || e.Type != event.Failed {
			t.Errorf("the run that went on: %s by %s", e.Type, e.Worker)
		}
		own.stop()
		<-own.done
		time.Sleep(2*stepBackCheck + 2*local.Heartbeat)
		w.submit(request("after", "echo"), `1`)
		if e := w.last("after"); e.Worker != "guest" {
			t.Errorf("%s has it", e.Worker)
		}
		guest.wantFree()
	})
}

// TestItStepsBackForAnyMember: a member of the group with any client ID counts, such as a worker in another language.
func TestItStepsBackForAnyMember(t *testing.T) {
	inWorld(t, func(w *world) {
		guest := w.start(Config{StepBack: true}, handlers(map[string]RawHandler{"echo": echo}))
		w.submit(request("before", "echo"), `1`)
		w.last("before")
		cl, err := w.kafka().NewClient(w.env(), "kafka-python", kgo.ConsumerGroup(w.names.ProcessorGroup("default")),
			kgo.ConsumeTopics(w.names.Requests("default")), kgo.DisableAutoCommit())
		if err != nil {
			t.Fatal(err)
		}
		defer cl.CloseAllowingRebalance()
		go cl.PollFetches(w.ctx())
		time.Sleep(stepBackCheck + 2*local.Heartbeat)
		guest.lanes[0].mu.Lock()
		yielding := guest.lanes[0].yielding
		guest.lanes[0].mu.Unlock()
		if !yielding {
			t.Error("it did not step back")
		}
	})
}
