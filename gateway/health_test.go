package gateway

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/gateway/intake"
)

// failProduces has the broker answer each produce with what failure returns; nil is no failure.
func (w *world) failProduces(failure func() *kerr.Error) {
	w.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		why := failure()
		if why == nil {
			return nil, nil, false
		}
		produce := r.(*kmsg.ProduceRequest)
		answer := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range produce.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, why.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			answer.Topics = append(answer.Topics, rt)
		}
		return answer, nil, true
	})
}

// TestAGatewayThatCannotWriteIsNotReady: brokers answer, and too few replicas are in sync.
func TestAGatewayThatCannotWriteIsNotReady(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		var fails atomic.Bool
		w.failProduces(func() *kerr.Error {
			if fails.Load() {
				return kerr.NotEnoughReplicas
			}
			return nil
		})
		submit := func(n int) {
			t.Helper()
			var all sync.WaitGroup
			for range n {
				all.Go(func() { w.post(`{"job":"demo.echo","payload":1}`, nil) })
			}
			all.Wait()
		}
		submit(1)
		if err := w.gateway.Ready(); err != nil {
			t.Fatal(err)
		}
		fails.Store(true)
		submit(intake.ManyLost - 1)
		if err := w.gateway.Ready(); err != nil {
			t.Errorf("after a few: %v", err)
		}
		submit(1)
		if err := w.gateway.Ready(); err == nil || !strings.Contains(err.Error(), "takes no writes") {
			t.Errorf("after many: %v", err)
		}
		time.Sleep(w.gateway.cfg.Kafka.Bounds().Lost + time.Second)
		if err := w.gateway.Ready(); err != nil {
			t.Errorf("it is not tried again: %v", err)
		}
		submit(intake.ManyLost)
		if w.gateway.Ready() == nil {
			t.Error("still nothing is written, and it is ready")
		}
		fails.Store(false)
		time.Sleep(time.Second)
		submit(1)
		if err := w.gateway.Ready(); err != nil {
			t.Errorf("it can write: %v", err)
		}
	})
}
