package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// fakeDead are the dead letters of a tracker that a test plays.
type fakeDead struct {
	mu       sync.Mutex // guards the fields below
	letters  []*trackerpb.DeadLetter
	outcome  trackerpb.RequeueDeadResponse_Outcome
	refuse   connect.Code // if set, requeues are answered so
	requeues []*trackerpb.RequeueDeadRequest
}

func (f *fakeTracker) ListDead(
	_ context.Context, r *connect.Request[trackerpb.ListDeadRequest],
) (*connect.Response[trackerpb.ListDeadResponse], error) {
	f.dead.mu.Lock()
	defer f.dead.mu.Unlock()
	page := &trackerpb.ListDeadResponse{}
	before := r.Msg.Before
	if before == 0 {
		before = int64(len(f.dead.letters))
	}
	for ; before > 0 && len(page.Letters) < int(r.Msg.Limit); before-- {
		page.Letters = append(page.Letters, f.dead.letters[before-1])
	}
	page.Next = before
	return connect.NewResponse(page), nil
}

func (f *fakeTracker) GetDead(
	_ context.Context, r *connect.Request[trackerpb.GetDeadRequest],
) (*connect.Response[trackerpb.GetDeadResponse], error) {
	f.dead.mu.Lock()
	defer f.dead.mu.Unlock()
	if r.Msg.Offset >= int64(len(f.dead.letters)) {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("none"))
	}
	return connect.NewResponse(&trackerpb.GetDeadResponse{Letter: f.dead.letters[r.Msg.Offset]}), nil
}

func (f *fakeTracker) RequeueDead(
	_ context.Context, r *connect.Request[trackerpb.RequeueDeadRequest],
) (*connect.Response[trackerpb.RequeueDeadResponse], error) {
	f.dead.mu.Lock()
	defer f.dead.mu.Unlock()
	f.dead.requeues = append(f.dead.requeues, r.Msg)
	if f.dead.refuse != 0 {
		return nil, connect.NewError(f.dead.refuse, errors.New("refused"))
	}
	return connect.NewResponse(&trackerpb.RequeueDeadResponse{Outcome: f.dead.outcome, State: "processing",
		Written: &trackerpb.Position{Topic: "ackwire.status", Partition: 2, Offset: 5}}), nil
}

// bury adds dead requests of jobA.
func (w *world) bury(n int) {
	for range n {
		k := int64(len(w.tracker.dead.letters))
		w.tracker.dead.letters = append(w.tracker.dead.letters, &trackerpb.DeadLetter{
			Offset: k, At: 1_700_000_000_000 + k, Reason: "undecodable", Detail: "<b>", By: "processor",
			Topic: "ackwire.requests.default", Partition: "1", SourceOffset: fmt.Sprint(k), JobId: jobA, Bytes: 3,
			Request: true, Key: []byte(jobA), Value: []byte("\xffab"),
			Headers: []*trackerpb.DeadHeader{{Key: "h", Value: []byte("text")}},
		})
	}
}

// TestDeadLetters pages through dead letters, and reads one: only an operator may, and what it holds only with the
// permission payloads, which is recorded.
func TestDeadLetters(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		w.bury(5)
		for _, words := range []string{"read", "read:tenant", "payloads", "submit"} {
			for _, path := range []string{"/v1/dead", "/v1/dead/0-1"} {
				if a := w.http("GET", path, w.named("x", "acme", "bob", words), nil); a.code != "forbidden" {
					t.Errorf("%s with %s: %d %s", path, words, a.status, a.body)
				}
			}
		}
		operator := w.named("r1", "acme", "carol", "operate")
		var seen []string
		for query := "?limit=2"; query != ""; {
			a := w.http("GET", "/v1/dead"+query, operator, nil)
			var page frame.DeadLetters
			if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != 200 {
				t.Fatalf("%s: %d %s", query, a.status, a.body)
			}
			for _, l := range page.Letters {
				seen = append(seen, l.ID)
			}
			query = ""
			if page.NextCursor != "" {
				query = "?limit=2&cursor=" + page.NextCursor
			}
		}
		if got := strings.Join(seen, " "); got != "0-4 0-3 0-2 0-1 0-0" {
			t.Errorf("letters %s", got)
		}
		a := w.http("GET", "/v1/dead/0-3", operator, nil)
		if a.status != 200 || !strings.Contains(a.body, `"withheld":true`) || strings.Contains(a.body, `"value"`) ||
			strings.Contains(a.body, `"key"`) || strings.Contains(a.body, `"headers"`) {
			t.Errorf("without payloads: %d %s", a.status, a.body)
		}
		a = w.http("GET", "/v1/dead/0-3", w.named("r2", "acme", "carol", "operate", "payloads"), nil)
		for _, want := range []string{`"value":{"base64":"/2Fi"}`, `"key":{"text":"` + jobA + `"}`,
			`"headers":[{"name":"h","text":"text"}]`, `"detail":"<b>"`, `"jobId":"` + jobA + `"`} {
			if !strings.Contains(a.body, want) {
				t.Errorf("no %s in %d %s", want, a.status, a.body)
			}
		}
		want := "r2 acme/carol/id-of-carol deadRead ok of= job=true jobs=0 type="
		if got := strings.Join(w.audited(), "\n"); got != want {
			t.Errorf("records %s, want %s", got, want)
		}
		for path, problem := range map[string]string{
			"/v1/dead?limit=0": "invalid_frame", "/v1/dead?limit=101": "invalid_frame", "/v1/dead?limit=x": "invalid_frame",
			"/v1/dead?cursor=0": "invalid_frame", "/v1/dead?cursor=0-0": "invalid_frame", "/v1/dead?cursor=1-1": "invalid_frame",
			"/v1/dead?cursor=0-1&cursor=0-2": "invalid_frame", "/v1/dead?tenant=a": "invalid_frame",
			"/v1/dead/0-3?x=1": "invalid_frame", "/v1/dead/3": "not_found", "/v1/dead/0-03": "not_found",
			"/v1/dead/0--3": "not_found", "/v1/dead/1-3": "not_found", "/v1/dead/0-99": "not_found",
			"/v1/dead/0-9223372036854775808": "not_found",
		} {
			if a := w.http("GET", path, operator, nil); a.code != problem {
				t.Errorf("%s: %d %s, want %s", path, a.status, a.body, problem)
			}
		}
	})
}

// TestRequeueOfDeadLetters: each outcome of the tracker has its answer, and each requeue is recorded.
func TestRequeueOfDeadLetters(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		w.bury(1)
		const path = "/v1/dead/0-0/requeue"
		for outcome, want := range map[trackerpb.RequeueDeadResponse_Outcome]string{
			trackerpb.RequeueDeadResponse_DISPATCHED: `202 {"outcome":"dispatched","jobId":"` + jobA + `"}`,
			trackerpb.RequeueDeadResponse_WRITTEN: `202 {"outcome":"written","topic":"ackwire.status","partition":2,` +
				`"offset":5}`,
			trackerpb.RequeueDeadResponse_ENDED:       "409 invalid_state",
			trackerpb.RequeueDeadResponse_NOT_WAITING: "409 invalid_state",
			trackerpb.RequeueDeadResponse_FOREIGN:     "409 invalid_state",
			trackerpb.RequeueDeadResponse_OUTLIVED:    "404 not_found",
		} {
			w.tracker.dead.outcome = outcome
			a := w.http("POST", path, w.named(outcome.String(), "acme", "carol", "operate"), nil)
			got := fmt.Sprintf("%d %s", a.status, strings.TrimSpace(a.body))
			if a.code != "" {
				got = fmt.Sprintf("%d %s", a.status, a.code)
			}
			if got != want {
				t.Errorf("%s: %s, want %s", outcome, got, want)
			}
			deed := "ok"
			if a.code != "" {
				deed = a.code
			}
			record := fmt.Sprintf("%s acme/carol/id-of-carol deadRequeue %s of= job=true jobs=0 type=", outcome, deed)
			if all := w.audited(); all[len(all)-1] != record {
				t.Errorf("record %s, want %s", all[len(all)-1], record)
			}
		}
		if r := w.tracker.dead.requeues[0]; r.JobId != jobA || r.Offset != 0 {
			t.Errorf("the tracker was asked for %v", r)
		}
		w.tracker.dead.refuse = connect.CodeUnavailable
		if a := w.http("POST", path, w.named("r", "acme", "carol", "operate"), nil); a.code != "indeterminate" {
			t.Errorf("without an answer: %d %s", a.status, a.body)
		}
		if a := w.http("POST", path, w.named("r", "acme", "carol", "read", "cancel:tenant"), nil); a.code != "forbidden" {
			t.Errorf("by no operator: %d %s", a.status, a.body)
		}
		if a := w.http("POST", "/v1/dead/0-9/requeue", w.named("r", "acme", "carol", "operate"), nil); a.status !=
			http.StatusNotFound {
			t.Errorf("of no letter: %d %s", a.status, a.body)
		}
	})
}
