package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// someTags is a JSON object of n tags.
func someTags(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	return "{" + strings.Join(all, ",") + "}"
}

// tagCases are the tags of a submit, and what is wrong with them: a part of the detail of invalid_frame, or nothing.
var tagCases = []struct{ tags, wrong string }{
	{`{"customer":"c-17"}`, ""},
	{`{}`, ""},
	{`null`, ""},
	{`{"Aa.0_-":"a:b, \"c\" <d> żółć 😀"}`, ""},
	{someTags(job.MaxTags), ""},
	{someTags(job.MaxTags + 1), "tags: a job has at most 16 tags, not 17"},
	{`{"` + strings.Repeat("k", 64) + `":"` + strings.Repeat("ä", 128) + `"}`, ""},
	{`{"` + strings.Repeat("k", 65) + `":"v"}`, "tags: the key"},
	{`{"k":"` + strings.Repeat("v", 129) + `"}`, "tags: the value of k has more than 128 characters"},
	{`{"":"v"}`, `tags: the key \"\"`},
	{`{"a b":"v"}`, "tags: the key"},
	{`{"a:b":"v"}`, "tags: the key"},
	{`{"é":"v"}`, "tags: the key"},
	{`{"a":""}`, "tags: the value of a is empty"},
	{`{"a":null}`, "tags: the value of a is empty"},
	{`{"a":"x\ny"}`, "tags: the value of a has a control character"},
	{`{"a":"\u001b[31m"}`, "tags: the value of a has a control character"},
	{`{"a":1}`, "tags/a has the wrong type"},
	{`{"a":["v"]}`, "tags/a has the wrong type"},
	{`["a:v"]`, "tags has the wrong type"},
	{`"a:v"`, "tags has the wrong type"},
	{`{"a":"1","a":"2"}`, "duplicate key"},
}

// TestTagsAreCheckedOnEveryDoor: a submit with tags that a job cannot have is invalid_frame and writes nothing, over
// HTTP and sockets, alone and in a batch; with others it is acked.
func TestTagsAreCheckedOnEveryDoor(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		body := func(tags string) string { return `{"job":"demo.echo","payload":1,"tags":` + tags + `}` }
		c := w.dial("")
		bodies := make([]string, len(tagCases))
		acked := 0
		for i, tc := range tagCases {
			bodies[i] = body(tc.tags)
			if tc.wrong == "" {
				acked += 4
			}
			got := w.http("POST", "/v1/jobs", asJSON, strings.NewReader(bodies[i]))
			if tc.wrong == "" && got.status != http.StatusAccepted || tc.wrong != "" &&
				(got.status != http.StatusBadRequest || !strings.Contains(got.body, `"invalid_frame"`) ||
					!strings.Contains(got.body, tc.wrong)) {
				t.Errorf("POST /v1/jobs with %.80s: %d %s", tc.tags, got.status, got.body)
			}
			id := fmt.Sprint("s", i)
			c.send(`{"type":"submit","id":"%s","watch":false,%s`, id, strings.TrimPrefix(bodies[i], "{"))
			answer := c.answerTo(id)
			if tc.wrong == "" && answer.Type != frame.Ack || tc.wrong != "" &&
				(answer.Code != "invalid_frame" || !strings.Contains(answer.raw, tc.wrong)) {
				t.Errorf("submit with %.80s: %s", tc.tags, answer.raw)
			}
		}
		want := func(door string, results []frame.BatchResult) {
			t.Helper()
			if len(results) != len(tagCases) {
				t.Fatalf("%s: %d results", door, len(results))
			}
			for i, r := range results {
				switch tc := tagCases[i]; {
				case tc.wrong == "" && r.Outcome != frame.Acked, tc.wrong != "" && became(r) != "refused invalid_frame":
					t.Errorf("%s with %.80s: %s", door, tc.tags, became(r))
				}
			}
		}
		list := "[" + strings.Join(bodies, ",") + "]"
		want("POST /v1/jobs:batch", w.batched(w.http("POST", "/v1/jobs:batch", asJSON, strings.NewReader(`{"jobs":`+list+`}`))))
		c.send(`{"type":"submitBatch","id":"b","jobs":%s}`, list)
		var acks frame.AcksFrame
		if err := json.Unmarshal([]byte(c.answerTo("b").raw), &acks); err != nil {
			t.Fatal(err)
		}
		want("submitBatch", acks.Results)
		if n := len(w.produced(w.names.Status())); n != acked {
			t.Errorf("%d jobs were made, want %d", n, acked)
		}
	})
}

// TestTagsTravel: the request and the accepted event have a submit's tags; a submit whose key has a job leaves that
// job's.
func TestTagsTravel(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for _, tags := range []string{`{"region":"eu-1","customer":"c-17"}`, `{"customer":"c-18"}`, `{}`} {
			body := `{"job":"demo.echo","payload":1,"key":"k","tags":` + tags + `}`
			if got := w.http("POST", "/v1/jobs", asJSON, strings.NewReader(body)); got.status != http.StatusAccepted {
				t.Fatalf("%d %s", got.status, got.body)
			}
		}
		want := job.Tags{"region": "eu-1", "customer": "c-17"}
		names := w.names
		status := w.produced(names.Status())
		if len(status) != 1 {
			t.Fatalf("%d events", len(status))
		}
		e, err := event.Decode(status[0].Value)
		if err != nil || !maps.Equal(e.Tags, want) {
			t.Errorf("%v: %s", err, status[0].Value)
		}
		requests := w.produced(names.Requests("default"))
		headers := make([]topic.Header, len(requests[0].Headers))
		for i, h := range requests[0].Headers {
			headers[i] = topic.Header(h)
		}
		r, err := topic.ParseRequest(string(requests[0].Key), headers)
		if err != nil || !maps.Equal(r.Tags, want) {
			t.Errorf("%v: %v", err, r.Tags)
		}
	})
}

// putTagged makes three jobs of the tracker's: two of tenant acme, by alice and bob, and one of another tenant.
func putTagged(w *world) {
	for i, j := range []struct{ tenant, subject, id string }{
		{"acme", "alice", jobA}, {"acme", "bob", jobB}, {"umbrella", "alice", jobC},
	} {
		w.tracker.put(j.tenant, int64(5+i), "default", j.subject, job.Document{
			JobID: j.id, Type: "demo.echo", State: job.Pending, Attempt: 1, MaxAttempts: 3, Lane: "default", Subject: j.subject,
			Tags: job.Tags{"customer": "c-17", "owner": j.tenant + "-" + j.subject, "odd": "a,b:c d"},
		})
	}
}

// TestTagsAndPermissions: lists and counts by tags have the jobs that their token may read. What tags others' jobs have
// cannot be found out.
func TestTagsAndPermissions(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		putTagged(w)
		alice, reader := w.header("acme", "alice", "read"), w.header("acme", "carol", "read:tenant", "read")
		operator := w.header("ops", "olga", "operate")
		for _, tc := range []struct {
			who   string
			as    http.Header
			query string
			want  []string
		}{
			{"alice", alice, "tag=customer:c-17", []string{jobA}},
			{"alice", alice, "tag=customer:c-17&tag=owner:acme-alice", []string{jobA}},
			{"alice", alice, "tag=owner:acme-bob", nil},
			{"alice", alice, "tag=owner:umbrella-alice", nil},
			{"alice", alice, "tag=customer:c-17&tag=customer:c-18", nil},
			{"alice", alice, "tag=" + url.QueryEscape("odd:a,b:c d"), []string{jobA}},
			{"a reader", reader, "tag=customer:c-17", []string{jobB, jobA}},
			{"a reader", reader, "tag=customer:c-17&subject=bob", []string{jobB}},
			{"a reader", reader, "tag=owner:umbrella-alice", nil},
			{"another tenant", w.header("umbrella", "alice", "read"), "tag=customer:c-17", []string{jobC}},
			{"an operator", operator, "tag=customer:c-17&tenant=umbrella", []string{jobC}},
		} {
			ids, page := jobIDs(t, w.http("GET", "/v1/jobs?"+tc.query, tc.as, nil))
			if !slices.Equal(ids, tc.want) {
				t.Errorf("%s, %s: %v, want %v", tc.who, tc.query, ids, tc.want)
			}
			for _, doc := range page.Jobs {
				if tc.who == "alice" && (strings.Contains(string(doc), "umbrella") || strings.Contains(string(doc), "bob")) {
					t.Errorf("alice is told of others: %s", doc)
				}
			}
		}
		count := func(query string, as http.Header) (n int64) {
			t.Helper()
			var stats frame.Stats
			got := w.http("GET", "/v1/stats?"+query, as, nil)
			if err := json.Unmarshal([]byte(got.body), &stats); err != nil || got.status != http.StatusOK {
				t.Fatalf("%d %s", got.status, got.body)
			}
			for _, c := range stats.Counts {
				n += c.Jobs
			}
			return n
		}
		if n := count("tag=customer:c-17", alice); n != 1 {
			t.Errorf("alice is told of %d jobs", n)
		}
		if a, b := count("tag=customer:c-17", reader), count("tag=a:b", reader); a != 2 || b != 0 {
			t.Errorf("a reader is told of %d and %d jobs", a, b)
		}
	})
}

// TestTagQueries: each wrong one is invalid_frame. A cursor is of its tags.
func TestTagQueries(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		putTagged(w)
		as := w.header("acme", "carol", "read:tenant", "read")
		for query, want := range map[string]string{
			"tag=":                              `is not key:value`,
			"tag=customer":                      `is not key:value`,
			"tag=customer:":                     `the value of customer is empty`,
			"tag=:c-17":                         `the key`,
			"tag=a%0Ab:c":                       `the key`,
			"tag=a:b%1B":                        `control character`,
			"tag=a:" + strings.Repeat("x", 129): `more than 128 characters`,
			"tag=a:1&tag=b:1&tag=c:1&tag=d:1&tag=e:1": `tag has more than 4 values`,
			"tag=a:%ff": `not UTF-8`,
			"tags=a:1":  `is not a parameter here`,
		} {
			for _, path := range []string{"/v1/jobs?", "/v1/stats?"} {
				got := w.http("GET", path+query, as, nil)
				if got.status != http.StatusBadRequest || !strings.Contains(got.body, want) ||
					!strings.Contains(got.body, `"invalid_frame"`) {
					t.Errorf("%s%s: %d %s, want %s", path, query, got.status, got.body, want)
				}
			}
		}
		ids, page := jobIDs(t, w.http("GET", "/v1/jobs?limit=1&tag=customer:c-17", as, nil))
		if !slices.Equal(ids, []string{jobB}) || page.NextCursor == "" {
			t.Fatalf("%v %q", ids, page.NextCursor)
		}
		next := "&cursor=" + page.NextCursor
		ids, _ = jobIDs(t, w.http("GET", "/v1/jobs?limit=1&tag=customer:c-17"+next, as, nil))
		if !slices.Equal(ids, []string{jobA}) {
			t.Errorf("the next page has %v", ids)
		}
		for _, other := range []string{"", "&tag=customer:c-18", "&tag=customer:c-17&tag=a:b"} {
			got := w.http("GET", "/v1/jobs?limit=1"+other+next, as, nil)
			if got.status != http.StatusBadRequest || !strings.Contains(got.body, "other filters") {
				t.Errorf("the cursor with %q: %d %s", other, got.status, got.body)
			}
		}
	})
}

// TestATrackerThatDoesNotKnowOfTags: its answers, which are of jobs with any tags, are given to nobody.
func TestATrackerThatDoesNotKnowOfTags(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		putTagged(w)
		w.tracker.mu.Lock()
		w.tracker.untagged = true
		w.tracker.mu.Unlock()
		as := w.header("acme", "carol", "read:tenant", "read")
		for _, path := range []string{"/v1/jobs?tag=a:b", "/v1/stats?tag=a:b"} {
			if got := w.http("GET", path, as, nil); got.status != http.StatusServiceUnavailable {
				t.Errorf("%s: %d %s", path, got.status, got.body)
			}
		}
		for _, path := range []string{"/v1/jobs", "/v1/stats"} {
			if got := w.http("GET", path, as, nil); got.status != http.StatusOK {
				t.Errorf("%s: %d %s", path, got.status, got.body)
			}
		}
	})
}

// TestAGrantDoesNotTellASubject: a grant that opens a job of another subject shows its documents without that, on every
// door. The owner, and who may read all jobs of the tenant, see it.
func TestAGrantDoesNotTellASubject(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		doc := job.Document{JobID: jobB, Type: "demo.echo", State: job.Processing, Attempt: 1, MaxAttempts: 3,
			Lane: "default", Subject: "bob-the-owner", Tags: job.Tags{"customer": "c-17"}}
		w.tracker.put("acme", 5, "default", "bob-the-owner", doc)
		granted := authorized(w.grant(time.Hour, "read:tenant read", jobB))
		hidden := func(door, text string) {
			t.Helper()
			if !strings.Contains(text, jobB) || strings.Contains(text, "bob-the-owner") || !strings.Contains(text, "c-17") {
				t.Errorf("%s: %s", door, text)
			}
		}
		shown := func(door, text string) {
			t.Helper()
			if !strings.Contains(text, `"subject":"bob-the-owner"`) {
				t.Errorf("%s: %s", door, text)
			}
		}
		reader := w.header("acme", "carol", "read:tenant", "read")
		for _, path := range []string{"/v1/jobs/" + jobB, "/v1/jobs", "/v1/jobs?tag=customer:c-17"} {
			hidden("GET "+path, w.http("GET", path, granted, nil).body)
			shown("GET "+path, w.http("GET", path, reader, nil).body)
		}
		shown("the owner", w.http("GET", "/v1/jobs/"+jobB, w.header("acme", "bob-the-owner", "read"), nil).body)

		// Its webhooks, which are jobs of the same subject, and its history.
		hook := doc
		hook.JobID, hook.Type = jobC, topic.WebhookType
		w.tracker.put("acme", 6, "webhooks", "bob-the-owner", hook)
		w.tracker.mu.Lock()
		w.tracker.jobs[jobB].deliveries = []*trackerpb.Delivery{{JobId: jobC, State: "completed", Version: 3}}
		w.tracker.past.events = []*trackerpb.HistoryEvent{{
			Offset: 1, Type: "accepted", Subject: "bob-the-owner", Worker: "c-17",
		}}
		w.tracker.mu.Unlock()
		for _, path := range []string{"/v1/jobs/" + jobB + "/deliveries", "/v1/jobs/" + jobB + "/history"} {
			hidden("GET "+path, w.http("GET", path, granted, nil).body)
			shown("GET "+path, w.http("GET", path, reader, nil).body)
		}

		// Both watch the job on one gateway at the same time.
		sockets := map[bool]*client{}
		for grantee, header := range map[bool]http.Header{true: granted, false: reader} {
			c, _, err := w.dialRaw(dialOptions{header: header})
			if err != nil {
				t.Fatal(err)
			}
			c.want("a welcome", frame.Welcome)
			c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":"%s"}]}`, jobB)
			c.want("subscribed", frame.Subscribed)
			sockets[grantee] = c
		}
		hidden("a socket", sockets[true].want("the status", frame.Status).raw)
		shown("a socket", sockets[false].want("the status", frame.Status).raw)
		e := w.stream("/v1/jobs/"+jobB+"/events", granted)
		e.want("how long to wait before coming back", "retry: 1000")
		hidden("an event stream", e.next())
		doc.Progress = &job.Progress{Percent: 50}
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		w.tracker.push("acme", jobB, 9, b)
		hidden("a socket, later", sockets[true].want("the status", frame.Status).raw)
		shown("a socket, later", sockets[false].want("the status", frame.Status).raw)
		hidden("an event stream, later", e.next())
	})
}
