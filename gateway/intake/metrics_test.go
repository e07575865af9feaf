package intake

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// TestSubmitsAreCounted: each by its outcome, and the time of those that were acked.
func TestSubmitsAreCounted(t *testing.T) {
	for _, c := range []struct {
		what    string
		err     error
		outcome string
		acks    uint64
	}{
		{"an ack", nil, "acked", 1},
		{"a refusal", frame.NewProblem(code.ValidationFailed, ""), "rejected", 0},
		{"no answer", problem.Indeterminate("x"), "indeterminate", 0},
		{"a bug", errors.New("x"), "rejected", 0},
	} {
		registry := prometheus.NewPedanticRegistry()
		NewMetrics(registry).submitted(c.err, time.Millisecond)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				if v := m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount()); v != 0 {
					got[name] = v
				}
			}
		}
		want := map[string]float64{"ackwire_gateway_submits_total " + c.outcome: 1}
		if c.acks > 0 {
			want["ackwire_gateway_ack_seconds"] = float64(c.acks)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: want %v, got %v", c.what, want, got)
		}
	}
}
