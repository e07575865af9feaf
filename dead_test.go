package ackwire

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

func TestDeadLetters(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		const letter = `{"id":"0-4","at":"2026-01-02T03:04:05Z","reason":"undecodable","detail":"d","by":"processor",` +
			`"topic":"t","partition":"1","offset":"7","jobId":"j1","request":true,"bytes":2`
		s.other = func(w http.ResponseWriter, r *http.Request) {
			switch r.Method + " " + r.URL.String() {
			case "GET /v1/dead", "GET /v1/dead?cursor=0-5&limit=1":
				fmt.Fprint(w, `{"letters":[`+letter+`}],"nextCursor":"0-4"}`)
			case "GET /v1/dead/0-4":
				fmt.Fprint(w, letter+`,"key":{"text":"j1"},"headers":[{"name":"h","base64":"/w=="}],"value":{"text":"{}"}}`)
			case "POST /v1/dead/0-4/requeue":
				w.WriteHeader(http.StatusAccepted)
				fmt.Fprint(w, `{"outcome":"dispatched","jobId":"j1"}`)
			case "POST /v1/dead/0-5/requeue":
				w.WriteHeader(http.StatusAccepted)
				fmt.Fprint(w, `{}`)
			case "POST /v1/dead/0-6/requeue":
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(http.StatusConflict)
				fmt.Fprint(w, `{"code":"invalid_state","title":"t","status":409,"retryable":false}`)
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		}
		c := overHTTP(t, "http://ackwire.test", s.transport())
		for _, ask := range []struct {
			limit  int
			cursor string
		}{{0, ""}, {1, "0-5"}} {
			page, err := c.DeadLetters(t.Context(), ask.limit, ask.cursor)
			if err != nil || len(page.Letters) != 1 || page.Letters[0].JobID != "j1" || page.NextCursor != "0-4" {
				t.Errorf("%+v, %v", page, err)
			}
		}
		record, err := c.DeadLetter(t.Context(), "0-4")
		if err != nil || *record.Value.Text != "{}" || record.Headers[0].Base64 != "/w==" || record.ID != "0-4" {
			t.Errorf("%+v, %v", record, err)
		}
		if _, err := c.DeadLetter(t.Context(), "../jobs"); CodeOf(err) != code.NotFound {
			t.Errorf("no such letter: %v", err)
		}
		done, err := c.RequeueDead(t.Context(), "0-4")
		if err != nil || done.Outcome != frame.RequeueDispatched || done.JobID != "j1" {
			t.Errorf("%+v, %v", done, err)
		}
		if _, err := c.RequeueDead(t.Context(), "0-5"); err == nil {
			t.Error("an answer without an outcome is taken")
		}
		if _, err := c.RequeueDead(t.Context(), "0-6"); CodeOf(err) != code.InvalidState {
			t.Errorf("a job that has ended: %v", err)
		}
	})
}
