package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/frame"
)

// batched is the answer to a batch.
func (w *world) batched(a answer) (results []frame.BatchResult) {
	w.t.Helper()
	var read frame.AcksFrame
	if err := json.Unmarshal([]byte(a.body), &read); a.status != http.StatusOK || err != nil {
		w.t.Fatalf("a batch: %d %.1000s", a.status, a.body)
	}
	return read.Results
}

// became says in a word what became of an item.
func became(r frame.BatchResult) string {
	switch {
	case r.Outcome == frame.Acked && r.Ack != nil && r.Error == nil && r.Ack.Duplicate:
		return "duplicate"
	case r.Outcome == frame.Acked && r.Ack != nil && r.Error == nil:
		return r.Ack.State
	case r.Ack == nil && r.Error != nil:
		return string(r.Outcome) + " " + string(r.Error.Code)
	}
	return fmt.Sprintf("neither an ack nor an error: %+v", r)
}

// mixed is a batch whose items have these outcomes.
var mixed = []struct{ item, outcome string }{
	{`{"job":"demo.echo","payload":1}`, "pending"},
	{`{"job":"demo.sleep","payload":{"seconds":"long"}}`, "refused validation_failed"},
	{`{"job":"none","payload":1}`, "refused unknown_job_type"},
	{`{"payload":1}`, "refused invalid_frame"},
	{`7`, "refused invalid_frame"},
	{`{"job":"demo.echo","payload":{"a":1,"a":2}}`, "refused validation_failed"},
	{`{"job":"demo.echo","job":"demo.echo","payload":1}`, "refused invalid_frame"},
	{`{"job":"demo.echo","payload":1,"timeout":-1}`, "refused invalid_frame"},
	{`{"job":"demo.echo","payload":1,"strict":true,"runat":1}`, "refused invalid_frame"},
	{`{"job":"demo.echo","payload":1,"runAt":"2000-01-01T08:00:00Z"}`, "scheduled"},
	{`{"job":"demo.echo","payload":"k","key":"k"}`, "pending"},
	{`{"job":"demo.echo","payload":"k","key":"k"}`, "duplicate"},
	{`{"job":"demo.echo","payload":"other","key":"k"}`, "refused idempotency_key_reused"},
	{`{"job":"demo.echo","payload":2}`, "pending"},
}

func mixedJobs() string {
	items := make([]string, len(mixed))
	for i, m := range mixed {
		items[i] = m.item
	}
	return "[" + strings.Join(items, ",") + "]"
}

// TestABatchOverHTTP: each item has its own outcome, in order, and what is refused stops no other.
func TestABatchOverHTTP(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		a := w.http("POST", "/v1/jobs:batch", asJSON, strings.NewReader(`{"jobs":`+mixedJobs()+`}`))
		results := w.batched(a)
		if len(results) != len(mixed) {
			t.Fatalf("%d results: %s", len(results), a.body)
		}
		acked := 0
		for i, r := range results {
			want := mixed[i].outcome
			if want == "scheduled" { // it is by the clock of the bubble whether that time has passed
				want = became(frame.BatchResult{Outcome: frame.Acked, Ack: r.Ack})
			}
			if got := became(r); got != want {
				t.Errorf("item %d, %s: %s, want %s: %+v", i, mixed[i].item, got, want, r.Error)
			}
			if r.Ack != nil {
				acked++
				if r.Ack.StatusURL != "/v1/jobs/"+r.Ack.JobID || r.Ack.Type != "" || r.Ack.ID != "" {
					t.Errorf("ack of item %d: %+v", i, r.Ack)
				}
			}
		}
		if results[10].Ack.JobID != results[11].Ack.JobID {
			t.Errorf("one key, two jobs: %s", a.body)
		}
		if n := w.gauge("ackwire_gateway_submits_total", "acked"); int(n) != acked {
			t.Errorf("%v submits are counted as acked, want %d", n, acked)
		}
	})
}

// TestABatchAsAWhole: what is wrong with the batch itself is a problem, and nothing is submitted.
func TestABatchAsAWhole(t *testing.T) {
	const item = `{"job":"demo.echo","payload":1}`
	many := func(n int) string { return `{"jobs":[` + strings.Repeat(item+",", n-1) + item + `]}` }
	inWorld(t, nil, func(t *testing.T, w *world) {
		for _, bad := range []struct {
			what, query string
			header      http.Header
			body        string
			status      int
			code        string
		}{
			{"no content type", "", nil, many(1), 415, "unsupported_media_type"},
			{"a key in a header", "", with(asJSON, "Idempotency-Key", "k"), many(1), 400, "invalid_frame"},
			{"not JSON", "", asJSON, `{"jobs":[`, 400, "invalid_frame"},
			{"no object", "", asJSON, `[` + item + `]`, 400, "invalid_frame"},
			{"behind the object", "", asJSON, many(1) + "x", 400, "invalid_frame"},
			{"no jobs", "", asJSON, `{}`, 400, "invalid_frame"},
			{"jobs is no list", "", asJSON, `{"jobs":` + item + `}`, 400, "invalid_frame"},
			{"an empty list", "", asJSON, `{"jobs":[]}`, 400, "invalid_frame"},
			{"jobs twice", "", asJSON, `{"jobs":[` + item + `],"jobs":[]}`, 400, "invalid_frame"},
			{"invalid UTF-8", "", asJSON, "{\"jobs\":[{\"job\":\"\xff\"}]}", 400, "invalid_frame"},
			{"1,001 items", "", asJSON, many(1001), 429, "limit_exceeded"},
			{
				"10,000 levels", "", asJSON, `{"jobs":[{"job":"demo.echo","payload":` + strings.Repeat("[", 10_000) +
					strings.Repeat("]", 10_000) + `}]}`, 400, "invalid_frame",
			},
			{"5 MB", "", asJSON, `{"jobs":[{"payload":"` + strings.Repeat("x", 5<<20) + `"}]}`, 413, "payload_too_large"},
			{"strict is no word", "?strict=yes", asJSON, many(1), 400, "invalid_frame"},
		} {
			a := w.http("POST", "/v1/jobs:batch"+bad.query, bad.header, strings.NewReader(bad.body))
			if a.status != bad.status || a.code != bad.code {
				t.Errorf("%s: %d %.300s, want %d %s", bad.what, a.status, a.body, bad.status, bad.code)
			}
		}
		if n := w.gauge("ackwire_gateway_submits_total", "acked"); n != 0 {
			t.Errorf("%v submits were acked", n)
		}
		strict := w.batched(w.http("POST", "/v1/jobs:batch?strict=true", asJSON,
			strings.NewReader(`{"jobs":[`+item+`,{"job":"demo.echo","payload":1,"typo":1}]}`)))
		if became(strict[0]) != "pending" || became(strict[1]) != "refused invalid_frame" {
			t.Errorf("strict: %+v", strict)
		}
		for i, r := range w.batched(w.http("POST", "/v1/jobs:batch", asJSON, strings.NewReader(many(1000)))) {
			if became(r) != "pending" {
				t.Fatalf("item %d of 1,000: %+v", i, r)
			}
		}
	})
}

// TestABatchOverASocket: the answer comes before any status of its jobs, and the jobs are watched as single ones are.
func TestABatchOverASocket(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		c.send(`{"type":"submitBatch","id":"b","jobs":%s}`, mixedJobs())
		answer := c.want("the batch is answered first", frame.Acks)
		var read frame.AcksFrame
		if err := json.Unmarshal([]byte(answer.raw), &read); err != nil || read.ID != "b" || len(read.Results) != len(mixed) {
			t.Fatalf("%v: %s", err, answer.raw)
		}
		for i, r := range read.Results {
			if got := became(r); got != mixed[i].outcome && mixed[i].outcome != "scheduled" {
				t.Errorf("item %d, %s: %s, want %s", i, mixed[i].item, got, mixed[i].outcome)
			}
		}
		if n := w.gauge("ackwire_gateway_subscriptions"); n != 4 { // one for the two items of one key
			t.Errorf("%v jobs are watched, want 4 of 5 acks", n)
		}
		for what, body := range map[string]string{
			"no list": `{}`, "an empty list": `[]`, "job IDs": `"x"`,
		} {
			c.send(`{"type":"submitBatch","id":"x","jobs":%s}`, body)
			if g := c.answerTo("x"); g.Code != "invalid_frame" {
				t.Errorf("%s: %s", what, g.raw)
			}
		}
		c.send(`{"type":"ping","id":"alive"}`)
		if g := c.answerTo("alive"); g.Type != frame.Pong {
			t.Errorf("after batches that were refused: %s", g.raw)
		}
	})
}

// TestWatchesOfABatch: an item for whose watch there is no place is refused, and one without a watch is taken.
func TestWatchesOfABatch(t *testing.T) {
	inWorld(t, func(c *Config) { c.Subscriptions = 2 }, func(t *testing.T, w *world) {
		c := w.dial("")
		c.send(`{"type":"submitBatch","id":"b","jobs":[%[1]s},%[1]s},%[1]s},%[1]s,"watch":false},%[1]s,"streams":["a b"]}]}`,
			`{"job":"demo.echo","payload":1`)
		var read frame.AcksFrame
		if err := json.Unmarshal([]byte(c.want("the answer", frame.Acks).raw), &read); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"pending", "pending", "refused limit_exceeded", "pending", "refused invalid_frame"} {
			if got := became(read.Results[i]); got != want {
				t.Errorf("item %d: %s, want %s", i, got, want)
			}
		}
	})
}

// TestABatchIsLimitedPerItem: each item costs what a submit costs.
func TestABatchIsLimitedPerItem(t *testing.T) {
	inWorld(t, func(c *Config) { c.Limits.SubmitRate = 2 }, func(t *testing.T, w *world) {
		items := strings.TrimSuffix(strings.Repeat(`{"job":"demo.echo","payload":1},`, 10), ",")
		counts := map[string]int{}
		for _, r := range w.batched(w.http("POST", "/v1/jobs:batch", asJSON, strings.NewReader(`{"jobs":[`+items+`]}`))) {
			counts[became(r)]++
			if r.Error != nil && (!r.Error.Retryable || r.Error.RetryAfter <= 0) {
				t.Errorf("%+v", r.Error)
			}
		}
		if counts["pending"] != 4 || counts["refused rate_limited"] != 6 {
			t.Errorf("%v, want a burst of 4", counts)
		}
	})
}

// TestGrantsOfABatch: items are given grants as single submits are, and not more than the bound.
func TestGrantsOfABatch(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		const item = `{"job":"demo.echo","payload":1,"grant":{"ttl":60}}`
		h := w.header("acme", "alice")
		h.Set("Content-Type", "application/json")
		body := `{"jobs":[` + strings.Repeat(item+",", frame.MaxBatchGrants) + item + `]}`
		results := w.batched(w.http("POST", "/v1/jobs:batch", h, strings.NewReader(body)))
		for i, r := range results[:frame.MaxBatchGrants] {
			if r.Ack == nil || r.Ack.Grant == nil || r.Ack.Grant.Token == "" {
				t.Fatalf("item %d: %+v", i, r)
			}
		}
		if got := became(results[frame.MaxBatchGrants]); got != "refused limit_exceeded" {
			t.Errorf("one grant too many: %s", got)
		}
	})
}
