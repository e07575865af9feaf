package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/frame"
)

// paced feeds a view one status after the other, so that it shows every one.
func paced(v *view, frames ...string) {
	for _, f := range frames {
		var sf frame.StatusFrame
		if err := json.Unmarshal([]byte(f), &sf); err != nil {
			panic(err)
		}
		v.status(statusOf(sf))
	}
}

func TestProgressLines(t *testing.T) {
	var out, err bytes.Buffer
	v := newView(&Env{Stdout: &out, Stderr: &err}, &Flags{URL: DefaultURL})
	paced(v,
		status(1, "pending", ""), status(2, "pending", ""),
		status(3, "scheduled", `,"runAt":"2026-02-03T04:05:06Z"`),
		status(4, "processing", `,"progress":{"percent":0}`),
		status(5, "processing", `,"progress":{"percent":41.7,"message":"reading \u001b[1mrows\u001b[0m\r"}`),
		status(6, "processing", `,"progress":{"percent":41.8,"message":"reading rows"}`),
		status(6, "processing", `,"progress":{"percent":45,"stage":"sort","message":"sorting rows","data":{"runs":7}}`),
		status(6, "processing", `,"progress":{"percent":46,"stage":"sort","message":"sorting rows","data":{"runs":8}}`),
		status(6, "processing", `,"progress":{"percent":47,"stage":"\u001b[1mmerge\r"}`),
		status(7, "processing", `,"cancelRequested":true,"progress":{"percent":50}`),
		strings.Replace(status(8, "retrying", `,"retryAt":"2026-02-03T04:05:06Z"`), `"attempt":1`, `"attempt":2`, 1),
		completed)
	golden(t, "progress-lines", out.String()+"--- stderr\n"+err.String())
}

func TestProgressBar(t *testing.T) {
	var out, err bytes.Buffer
	v := newView(&Env{Stdout: &out, Stderr: &err, Terminal: true}, &Flags{URL: DefaultURL})
	paced(v,
		status(1, "pending", ""),
		status(2, "processing", `,"progress":{"percent":40,"message":"reading \u001b[1mrows\u001b[0m"}`),
		status(2, "processing", `,"progress":{"percent":41,"stage":"sort","message":"sorting `+strings.Repeat("r", 40)+`"}`),
		strings.Replace(status(3, "processing", `,"progress":{"percent":10}`), `"attempt":1`, `"attempt":2`, 1),
		status(4, "processing", `,"progress":{"percent":100}`),
		completed)
	got := err.String()
	for _, want := range []string{"pending", "reading rows", "40%", "sort: sorting rrr", "10%", "(attempt 2 of 3)", "99%",
		"\rcompleted after 2.25s\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Errorf("an escape in %q", got)
	}
}

func TestNotesOnce(t *testing.T) {
	var err bytes.Buffer
	v := newView(&Env{Stderr: &err}, &Flags{})
	log := v.logger()
	log.Info("connection lost", "err", errors.New("x"))
	log.Info("connect failed")
	log.Warn("frame not readable")
	paced(v, status(1, "pending", ""))
	log.Info("connection lost")
	if got, want := err.String(), "connection lost, reconnecting\npending\nconnection lost, reconnecting\n"; got != want {
		t.Errorf("got %q", got)
	}
}
