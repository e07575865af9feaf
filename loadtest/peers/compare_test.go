package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/loadtest/pace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake returns a peer that acks after ack and serves one job at a time, each for serve. opened counts.
func fake(name string, ack, serve time.Duration, opened *int) peer {
	return peer{name: name, open: func(context.Context) (pace.Job, func(), error) {
		*opened++
		one := make(chan struct{}, 1)
		return func(_ context.Context, _ int, acked func()) error {
			time.Sleep(ack)
			acked()
			one <- struct{}{}
			time.Sleep(serve)
			<-one
			return nil
		}, func() { *opened-- }, nil
	}}
}

func TestPeersAreMeasuredByTurns(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := config{
			Rates: []float64{50, 200}, Rounds: 3, Duration: 10 * time.Second, WarmUp: time.Second,
			Bound: 50 * time.Millisecond, EndBound: time.Second, From: 50, Most: 1000, Precision: 0.1,
		}
		open := 0
		var said []string
		rows, err := compare(t.Context(), c, []peer{
			fake("quick", time.Millisecond, 2*time.Millisecond, &open),
			fake("slow", 5*time.Millisecond, 10*time.Millisecond, &open),
		}, func(_ string, args ...any) {
			name, _, _ := strings.Cut(args[0].(string), " ")
			said = append(said, name)
			if open != 1 {
				t.Errorf("%d peers are open", open)
			}
		})
		if err != nil || open != 0 {
			t.Fatal(open, err)
		}
		if got := strings.Join(said[:12], " "); got != "quick slow quick slow slow quick slow quick quick slow quick slow" {
			t.Error(got)
		}
		var out bytes.Buffer
		// Within the judged time the end's bound leaves room for a tenth more than a system can serve.
		if h := []float64{rows[0].highest, rows[1].highest}; h[0] < 450 || h[0] > 560 || h[1] < 90 || h[1] > 112 {
			t.Errorf("highest rates %v", h)
		}
		rows[0].highest, rows[1].highest = 500, 0
		report{rates: c.Rates, rows: rows}.table(&out)
		want := `| | ack at 50/s | end at 50/s | ack at 200/s | end at 200/s | highest rate |
|---|---|---|---|---|---|
| quick | 1.0 / 1.0 | 3.0 / 3.0 | 1.0 / 1.0 | 3.0 / 3.0 | 500/s |
| slow | 5.0 / 5.0 | 15.0 / 15.0 | falls behind | falls behind | - |
`
		if out.String() != want {
			t.Errorf("\n%s", out.String())
		}
	})
}

// A run that is broken off has what was measured until then.
func TestARunThatIsBrokenOff(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		c := config{
			Rates: []float64{10, 20}, Rounds: 2, Duration: 10 * time.Second, Bound: time.Second, EndBound: time.Second,
		}
		open := 0
		rows, err := compare(ctx, c, []peer{fake("quick", time.Millisecond, 2*time.Millisecond, &open)}, t.Logf)
		if !errors.Is(err, context.DeadlineExceeded) || open != 0 {
			t.Error(open, err)
		}
		var out bytes.Buffer
		report{rates: c.Rates, rows: rows}.table(&out)
		if want := "| quick | 1.0 / 1.0 | 3.0 / 3.0 | - | - | - |\n"; !strings.HasSuffix(out.String(), want) {
			t.Errorf("\n%s", out.String())
		}
	})
}

func TestAPeerThatCannotBeOpenedIsNamed(t *testing.T) {
	c := config{Rates: []float64{1}, Rounds: 1}
	refused := errors.New("refused")
	_, err := compare(t.Context(), c, []peer{{name: "gone", open: func(context.Context) (pace.Job, func(), error) {
		return nil, nil, refused
	}}}, t.Logf)
	if !errors.Is(err, refused) || !strings.Contains(err.Error(), "gone") {
		t.Error(err)
	}
}

// An end may be known before the ID is, and twice.
func TestEnds(t *testing.T) {
	e := newEnds[int]()
	e.ended(1)
	e.ended(1)
	if err := e.wait(t.Context(), 1); err != nil {
		t.Error(err)
	}
	done := make(chan error)
	go func() { done <- e.wait(t.Context(), 2) }()
	e.ended(2)
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.wait(ctx, 3); !errors.Is(err, context.Canceled) || len(e.known) != 0 {
		t.Errorf("%v, %d known", err, len(e.known))
	}
}

func TestSettingsThatCannotBeMeasured(t *testing.T) {
	fine := config{
		Ackwire: map[string]string{"a": "http://127.0.0.1:1"}, Rates: []float64{1}, Rounds: 1, Duration: time.Second,
		Bound: time.Second, EndBound: time.Second, From: 1, Most: 10, Precision: 0.1, Sockets: 1,
	}
	if err := fine.validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*config){
		"nothing to measure": func(c *config) { c.Ackwire = nil },
		"rates must be":      func(c *config) { c.Rates = []float64{1, 0} },
		"rates must name":    func(c *config) { c.Rates = nil },
		"rounds":             func(c *config) { c.Rounds = 0 },
		"duration":           func(c *config) { c.Duration = 0 },
		"end-bound":          func(c *config) { c.EndBound = 0 },
		"from":               func(c *config) { c.From = 0 },
		"most":               func(c *config) { c.Most = 0 },
		"precision":          func(c *config) { c.Precision = -1 },
		"sockets":            func(c *config) { c.Sockets = 0 },
	} {
		c := fine
		change(&c)
		if _, err := measureAll(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
