package intake

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// largeSubmit has a payload whose check and canonical form take a good part of a frame's time.
func largeSubmit() frame.SubmitRequest {
	return frame.SubmitRequest{
		Job: "demo.echo", Payload: []byte("[" + strings.Repeat(`{"b":1.5,"a":"x"},`, 13_000) + "0]"),
	}
}

// TestARefusedSubmitCostsLittle: by neither door is a payload looked at that limits refuse.
func TestARefusedSubmitCostsLittle(t *testing.T) {
	l := limits.New(limits.Config{SubmitRate: 1e-9, Submits: 100, SubmitBytes: 64 << 20}, 1, time.Second, nil,
		func(limits.Bound) {})
	health := NewHealth(kafka.Bounds{})
	health.Up()
	in := New(Config{
		Types: jobtypes.Default(), Health: health, Limits: l, Metrics: NewMetrics(prometheus.NewRegistry()),
		Log: slog.New(slog.DiscardHandler),
	})
	if _, err := l.BeginSubmit(t.Context(), alice.Tenant, 0); err != nil {
		t.Fatal(err)
	}
	r := largeSubmit()
	refused := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var p frame.Problem
			if _, _, err := in.Submit(context.Background(), alice, r, nil); !errors.As(err, &p) || p.Code != code.RateLimited {
				b.Fatal(err)
			}
		}
	})
	checked := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := in.checks.examine(alice, r); err != nil {
				b.Fatal(err)
			}
		}
	})
	t.Logf("refused: %s %d B; checked: %s %d B", time.Duration(refused.NsPerOp()), refused.AllocedBytesPerOp(),
		time.Duration(checked.NsPerOp()), checked.AllocedBytesPerOp())
	if refused.AllocedBytesPerOp() > 4<<10 || 100*refused.NsPerOp() > checked.NsPerOp() {
		t.Errorf("a refusal takes %s and %d bytes, the checks %s and %d", time.Duration(refused.NsPerOp()),
			refused.AllocedBytesPerOp(), time.Duration(checked.NsPerOp()), checked.AllocedBytesPerOp())
	}
}
