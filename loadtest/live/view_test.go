package live

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/scenario"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

func plain(words ...string) string { return strings.Join(words, " ") }

var noStyle = style{plain, plain, plain, plain, plain}

func example() (*scenario.Scenario, measure.Snapshot) {
	s := &scenario.Scenario{Name: "spike", Sockets: 300, Phases: []scenario.Phase{
		{Name: "before", Duration: 10 * time.Second, From: 60, To: 60},
		{Name: "spike", Duration: 10 * time.Second, From: 60, To: 600},
	}}
	now := measure.Snapshot{
		Stage: "spike", Phase: 1, Elapsed: 15 * time.Second,
		Counts: measure.Counts{
			Sockets: 299, Arrivals: 2700, Acked: 2650, InFlight: 12, Open: 40, Completed: 2610, Backlog: 38, Losses: 1,
			Refused: 2,
		},
		Ack:    measure.Summary{Count: 2650, P50: 3.1, P90: 8.8, P99: 45.2, Max: 1234},
		Errors: map[string]int64{"submit: overloaded": 2}, Losses: map[string]int64{"connection lost": 1},
		Last: []measure.Point{
			{Acked: 60, AckP99: 5, LagMax: 0.2, Busy: 0.3}, {Acked: 61, AckP99: 6, LagMax: 0.1, Busy: 0.4}, {Acked: 420,
				AckP99: 48, LagMax: 4, Busy: 0.95},
		},
	}
	return s, now
}

func TestDraw(t *testing.T) {
	s, now := example()
	got := draw(s, "http://gateway:8080", now, noStyle) + "\n" + oneLine(s, now) + "\n"
	file := filepath.Join("testdata", "view.golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the view has changed (go test -update, and look at the difference):\n%s", got)
	}
}

// A view can be drawn before anything has happened.
func TestDrawNothing(t *testing.T) {
	s, _ := example()
	if got := draw(s, "", measure.Snapshot{Stage: "connecting", Phase: -1}, noStyle); !strings.Contains(got,
		"connecting") {
		t.Error(got)
	}
}

func TestQBreaksTheRunOffAndKeepsTheView(t *testing.T) {
	for _, key := range []tea.Key{{Code: 'q', Text: "q"}, {Code: 'c', Mod: tea.ModCtrl}} {
		s, _ := example()
		stopped := 0
		m := model{scenario: s, rec: measure.NewRecorder(s), stop: func() { stopped++ }}
		next, cmd := m.Update(tea.KeyPressMsg(key))
		if stopped != 1 || cmd != nil || !strings.Contains(next.View().Content, "stopping") {
			t.Errorf("%v: stopped %d times, command %v", key, stopped, cmd != nil)
		}
		if next, _ := m.Update(tea.KeyPressMsg{Code: 'x', Text: "x"}); stopped != 1 ||
			strings.Contains(next.View().Content, "stopping") {
			t.Error("any key stops the run")
		}
	}
}

func TestLinesComeNowAndThen(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s, _ := example()
		ctx, cancel := context.WithTimeout(t.Context(), 11*time.Second)
		defer cancel()
		var out bytes.Buffer
		Lines(ctx, &out, 5*time.Second, s, measure.NewRecorder(s))
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%d lines in 11 s:\n%s", n, out.String())
		}
	})
}
