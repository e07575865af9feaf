package shard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
)

// paper is a Log on which all that is produced is written down. Its outcome is that of answer; nil is success.
type paper struct {
	records []*kgo.Record
	answer  func(*kgo.Record) error
	silent  bool // no produce ever ends
	source  *kgo.Record
}

func (p *paper) Produce(rec *kgo.Record, done func(error)) {
	p.records = append(p.records, rec)
	switch {
	case p.silent:
	case p.answer != nil:
		done(p.answer(rec))
	default:
		done(nil)
	}
}

func (p *paper) EndOffset(context.Context, int32) (int64, error) {
	return 0, errors.New("paper has no end")
}

func (p *paper) Record(context.Context, event.Position) (*kgo.Record, error) {
	if p.source == nil {
		return nil, errors.New("no such record")
	}
	return p.source, nil
}

// said lists what was written: "topic key".
func (p *paper) said() string {
	var all []string
	for _, rec := range p.records {
		all = append(all, fmt.Sprintf("%s %s", rec.Topic, rec.Key))
	}
	return strings.Join(all, ", ")
}

func senderTo(p *paper) sender {
	return sender{kafka: p, names: names, metrics: NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), log: quiet}
}

func TestSenderWritesEventsAndOrders(t *testing.T) {
	p := &paper{}
	s := senderTo(p)
	s.append(&event.Event{Type: event.Expired, JobID: "a"}, nil)
	s.order(event.Order{Type: event.Stop, JobID: "a", Dispatch: 1, Run: "r", Worker: "w"})
	s.order(event.Order{Type: event.Stop, JobID: "a", Dispatch: 1, Run: "r"}) // nobody knows its worker
	s.append(&event.Event{Type: "none of these", JobID: "a"}, nil)            // cannot be encoded
	if got, want := p.said(), names.Status()+" a, "+names.Control()+" w"; got != want {
		t.Errorf("it wrote %q, want %q", got, want)
	}
	if n := testutil.ToFloat64(s.metrics.appended.WithLabelValues(string(event.Expired))); n != 1 {
		t.Errorf("%v expired are counted", n)
	}
	if n := testutil.ToFloat64(s.metrics.orders.WithLabelValues(string(event.Stop))); n != 1 {
		t.Errorf("%v orders are counted", n)
	}
}

func TestSenderWaitsForWhatMustBeDurable(t *testing.T) {
	p := &paper{answer: func(*kgo.Record) error { return kerr.NotEnoughReplicas }}
	s := senderTo(p)
	if err := s.produce(t.Context(), &kgo.Record{}); !errors.Is(err, kerr.NotEnoughReplicas) {
		t.Errorf("not durable: %v", err)
	}
	p.answer = nil
	if err := s.produce(t.Context(), &kgo.Record{}); err != nil {
		t.Errorf("durable: %v", err)
	}
	p.silent = true
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.produce(ctx, &kgo.Record{}); !errors.Is(err, context.Canceled) {
		t.Errorf("neither is known: %v", err)
	}
}

// TestDeadLettersShrink buries records that the broker takes only without their value, and only without their headers.
func TestDeadLettersShrink(t *testing.T) {
	for _, c := range []struct {
		why        string
		tooLarge   func(*kgo.Record) bool
		tries      int
		value, key string
	}{
		{"it fits", func(*kgo.Record) bool { return false }, 1, "value", "key"},
		{"its value is too large", func(r *kgo.Record) bool { return r.Value != nil }, 2, "", "key"},
		{"its headers are, too", func(r *kgo.Record) bool { return r.Key != nil }, 3, "", ""},
		{"nothing fits", func(*kgo.Record) bool { return true }, 3, "", ""},
	} {
		p := &paper{answer: func(r *kgo.Record) error {
			if c.tooLarge(r) {
				return kerr.MessageTooLarge
			}
			return nil
		}}
		s := senderTo(p)
		s.bury(&kgo.Record{Topic: names.Status(), Key: []byte("key"), Value: []byte("value")}, deadUndecodable,
			errors.New("garbage"))
		last := p.records[len(p.records)-1]
		if len(p.records) != c.tries || string(last.Value) != c.value || string(last.Key) != c.key {
			t.Errorf("%s: after %d tries %q: %q", c.why, len(p.records), last.Key, last.Value)
		}
	}
}
