package shard

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
)

// sender writes a shard's records to Kafka: events of timers, orders to workers, requests and dead letters. It has no
// state, so any goroutine may use it.
type sender struct {
	kafka   Log
	names   topic.Names
	metrics *Metrics
	log     *slog.Logger
}

// append writes an event of a timer, within a trace unless that is nil. Whether it lands is
// seen when it is folded.
func (s *sender) append(e *event.Event, within context.Context) {
	rec, err := s.event(e, within)
	if err != nil {
		s.log.Error("encode event", "job", e.JobID, "type", e.Type, "err", err)
		return
	}
	s.kafka.Produce(rec, func(err error) {
		if err != nil {
			s.log.Warn("timer's event not appended, will be tried again", "job", e.JobID, "type", e.Type, "err", err)
		}
	})
}

// event returns the record of an event, which is counted as appended.
func (s *sender) event(e *event.Event, within context.Context) (*kgo.Record, error) {
	value, err := event.Encode(e)
	if err != nil {
		return nil, err
	}
	s.metrics.appended.WithLabelValues(string(e.Type)).Inc()
	return &kgo.Record{Topic: s.names.Status(), Key: []byte(e.JobID), Value: value, Context: within}, nil
}

// produce writes a record and returns when it is durable, or cannot be. It is for goroutines that may wait.
func (s *sender) produce(ctx context.Context, rec *kgo.Record) error {
	result := make(chan error, 1)
	s.kafka.Produce(rec, func(err error) { result <- err })
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// order writes an order to its worker. It is not waited for: an order that is lost is
// earned again when the run speaks again.
func (s *sender) order(o event.Order) {
	if o.Worker == "" {
		return // it was earned by an event that does not say whom to tell
	}
	value, err := event.EncodeOrder(o)
	if err != nil {
		s.log.Error("encode order", "job", o.JobID, "err", err)
		return
	}
	s.metrics.orders.WithLabelValues(string(o.Type)).Inc()
	s.kafka.Produce(&kgo.Record{Topic: s.names.Control(), Key: []byte(o.Worker), Value: value}, func(err error) {
		if err != nil {
			s.log.Warn("order not sent", "job", o.JobID, "run", o.Run, "order", o.Type, "err", err)
		}
	})
}
