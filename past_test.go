package ackwire

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/ackwire/ackwire/schemas/code"
)

// TestHistoryAndPayload: both are read over HTTP by either client, and their errors have codes.
func TestHistoryAndPayload(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		s.query = func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/v1/jobs/j1/history" && r.URL.RawQuery == "":
				fmt.Fprint(w, `{"jobId":"j1","events":[{"offset":3,"at":"2026-01-02T03:04:05Z","type":"claimed","by":"worker",`+
					`"worker":"w","run":"r","dispatch":1,"applied":false,"reason":"wrong_run","detail":"Another run held the job.",`+
					`"state":"processing","attempt":1}],"nextCursor":"c+1","asOf":"2026-01-02T03:04:05Z"}`)
			case r.URL.Path == "/v1/jobs/j1/history" && r.URL.RawQuery == "cursor=c%2B1&limit=7":
				fmt.Fprint(w, `{"jobId":"j1","events":[{"offset":4,"at":"2026-01-02T03:04:05Z","applied":null}],`+
					`"truncated":true,"earliest":"2026-01-02T03:04:04Z","asOf":"2026-01-02T03:04:05Z"}`)
			case r.URL.Path == "/v1/jobs/j1/payload":
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, `{"n" : 1e2}`)
			default:
				w.WriteHeader(http.StatusGone)
				fmt.Fprint(w, `{"code":"payload_gone","title":"Payload is gone","status":410,"retryable":false}`)
			}
		}
		c, _ := s.dial()
		j := c.Job("j1")
		first, err := j.History(t.Context(), HistoryOptions{})
		if err != nil || len(first.Events) != 1 || *first.Events[0].Applied || first.Events[0].Reason != "wrong_run" {
			t.Fatalf("%+v, %v", first, err)
		}
		second, err := j.History(t.Context(), HistoryOptions{Limit: 7, Cursor: first.NextCursor})
		if err != nil || !second.Truncated || second.Events[0].Applied != nil || second.NextCursor != "" ||
			!second.Earliest.Before(second.AsOf) {
			t.Fatalf("%+v, %v", second, err)
		}
		payload, err := j.Payload(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(payload)
		_ = payload.Close()
		if err != nil || string(b) != `{"n" : 1e2}` || payload.ContentType != "application/json" {
			t.Errorf("%s, %v", b, err)
		}
		if _, err := c.Job("j2").Payload(t.Context()); CodeOf(err) != code.PayloadGone {
			t.Errorf("a payload that is gone: %v", err)
		}
		if _, err := c.Job("a/b").History(t.Context(), HistoryOptions{}); CodeOf(err) != code.NotFound {
			t.Errorf("no job ID: %v", err)
		}
	})
}
