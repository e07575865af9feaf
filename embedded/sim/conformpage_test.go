package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestTheServerOfTestsIsLikeTheRealOneToPages: what a page sees of ackwiretest, by event streams, tickets and
// payloads that do not fit, is what it sees of the services.
func TestTheServerOfTestsIsLikeTheRealOneToPages(t *testing.T) {
	var actual, memory string
	Run(t, func(w *World) {
		w.StartWorker(nil)
		time.Sleep(10 * time.Second) // the worker has joined its lanes
		actual = newPage(t, GatewayURL(0), w.Net.Host("page").Dial).script(w.ctx())
	})
	bubble.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		demoHandlers(srv)
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		memory = newPage(t, srv.URL(), srv.DialContext).script(ctx)
	})
	compare(t, actual, memory, 40)
}

// page is a client that has nothing but HTTP and WebSockets, as a browser's.
type page struct {
	diary
	t    *testing.T
	base string
	http *http.Client
}

func newPage(
	t *testing.T, base string, dial func(ctx context.Context, network, address string) (net.Conn, error),
) *page {
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return &page{t: t, base: base, http: &http.Client{Transport: transport}, diary: diary{ids: map[string]string{}}}
}

func (p *page) send(ctx context.Context, method, path, last, body string) *http.Response {
	p.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, p.base+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := p.http.Do(r)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// ask writes down how a request was answered: its status, and of a problem all that is for programs.
func (p *page) ask(ctx context.Context, what, method, path, last, body string) {
	p.t.Helper()
	resp := p.send(ctx, method, path, last, body)
	defer resp.Body.Close()
	var problem frame.Problem
	if resp.Header.Get("Content-Type") == "application/problem+json" && method != http.MethodHead {
		if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil {
			p.t.Fatal(err)
		}
	}
	slices.SortFunc(problem.Errors, func(a, b frame.FieldError) int {
		return strings.Compare(a.Pointer+"\x00"+a.Detail, b.Pointer+"\x00"+b.Detail)
	})
	p.note("%s: %d %s %s %v", what, resp.StatusCode, resp.Header.Get("Content-Type"), problem.Code, problem.Errors)
}

// submit submits a job under a name of the diary and returns its ID.
func (p *page) submit(ctx context.Context, name, jobType, payload string) string {
	p.t.Helper()
	resp := p.send(ctx, http.MethodPost, "/v1/jobs", "", `{"job":"`+jobType+`","payload":`+payload+`}`)
	defer resp.Body.Close()
	var ack frame.AckFrame
	if err := json.NewDecoder(resp.Body).Decode(&ack); err != nil || resp.StatusCode != http.StatusAccepted {
		p.t.Fatalf("submit %s: %d, %v", jobType, resp.StatusCode, err)
	}
	p.ids[ack.JobID] = name
	return ack.JobID
}

// follow reads an event stream until it ends, or enough says that it is to be left. It writes down the last state of
// each job, and what else came. It returns the last ID.
func (p *page) follow(
	ctx context.Context, what, path, last string, enough func(name string, s job.Document) bool,
) string {
	p.t.Helper()
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	resp := p.send(ctx, http.MethodGet, path, last, "")
	defer resp.Body.Close()
	p.note("%s: %d %s", what, resp.StatusCode, resp.Header.Get("Content-Type"))
	states := map[string]job.State{}
	var event, id, data string
	left := false
	lines := bufio.NewScanner(resp.Body)
	for !left && lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			event = value
		case "id":
			id, last = value, value
		case "data":
			data = value
		case "":
			left = p.told(what, event, id, data, enough, states)
			event, id, data = "", "", ""
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, context.Canceled) {
		p.note("%s: %v", what, err)
	}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		p.note("%s: %s is %s", what, name, states[name])
	}
	p.note("%s: left %t, an ID to come back with %t", what, left, last != "")
	return last
}

// told notes one event of a stream, and reports whether that was enough.
func (p *page) told(what, event, id, data string, enough func(string, job.Document) bool,
	states map[string]job.State) bool {
	switch event {
	case "":
		return false // a comment, the pause before coming back, or a cursor
	case "status":
	default:
		p.note("%s: %s %s, with an ID %t", what, event, data, id != "")
		return false
	}
	var doc job.Document
	if err := json.Unmarshal([]byte(data), &doc); err != nil {
		p.t.Fatalf("%s: %q: %v", what, data, err)
	}
	name := p.name(doc.JobID)
	states[name] = doc.State
	return enough != nil && enough(name, doc)
}

const goneJob = "01a208fd-2dc6-7467-acd5-bb987da2c71e"

func (p *page) script(ctx context.Context) string {
	p.payloads(ctx)
	p.streams(ctx)
	p.mine(ctx)
	p.tickets(ctx)
	return p.String()
}

func (p *page) payloads(ctx context.Context) {
	for _, c := range []struct{ jobType, payload string }{
		{demo.Sleep, `{"seconds":"x","steps":0}`}, {demo.Sleep, `{"steps":1.5,"more":1}`}, {demo.Sleep, `[]`},
		{demo.Flaky, `{"failures":1e400}`}, {demo.Fail, `{"message":1}`}, {"no.such.type", `[]`},
	} {
		p.ask(ctx, c.jobType+" "+c.payload, http.MethodPost, "/v1/jobs", "", `{"job":"`+c.jobType+`","payload":`+c.payload+`}`)
	}
	p.ask(ctx, "by a key", http.MethodPost, "/v1/jobs", "", `{"job":"demo.fail","payload":{},"key":"p"}`)
	p.ask(ctx, "its key, with a payload that does not fit", http.MethodPost, "/v1/jobs", "",
		`{"job":"demo.fail","payload":{"message":1},"key":"p"}`)
}

func (p *page) streams(ctx context.Context) {
	echo := p.submit(ctx, "echo", demo.Echo, `1`)
	slow := p.submit(ctx, "slow", demo.Sleep, `{"seconds":40,"steps":4}`)
	both := "/v1/events?job=" + slow + "&job=" + echo
	last := p.follow(ctx, "two jobs", both, "", func(_ string, s job.Document) bool {
		return s.Progress != nil && s.Progress.Percent == 50 && s.State == job.Processing
	})
	last = p.follow(ctx, "on from there", both, last, nil)
	p.ask(ctx, "once more", http.MethodGet, both, last, "")
	p.follow(ctx, "the other way round, with the ID of those", "/v1/events?job="+echo+"&job="+slow, last, nil)
	p.follow(ctx, "an ID that is none", both, "nonsense", nil)
	p.follow(ctx, "the same job twice", "/v1/events?job="+echo+"&job="+strings.ToUpper(echo), "", nil)

	late := p.submit(ctx, "late", demo.Sleep, `{"seconds":5}`)
	three := "/v1/events?job=" + goneJob + "&job=" + late + "&job=" + echo
	last = p.follow(ctx, "one is not there", three, "", nil)
	p.ask(ctx, "once more", http.MethodGet, three, last, "")
	p.ask(ctx, "none is there", http.MethodGet, "/v1/events?job="+goneJob, "", "")
	for _, query := range []string{
		"", "?job=", "?job=x", "?job=" + echo + "&more=1", "?mine=false", "?mine=true&mine=true",
		"?mine=true&job=" + echo, "?%zz",
	} {
		p.ask(ctx, "the query "+strings.ReplaceAll(query, echo, "ID"), http.MethodGet, "/v1/events"+query, "", "")
	}
	p.ask(ctx, "HEAD", http.MethodHead, both, "", "")
	p.ask(ctx, "HEAD of what is not there", http.MethodHead, "/v1/events?job="+goneJob, "", "")

	one := "/v1/jobs/" + late + "/events"
	last = p.follow(ctx, "one job", one, "", nil)
	p.ask(ctx, "once more", http.MethodGet, one, last, "")
	p.follow(ctx, "a version that there never was", one, "9000000000", nil)
	p.ask(ctx, "HEAD of one", http.MethodHead, one, "", "")
	p.ask(ctx, "one that is not there", http.MethodGet, "/v1/jobs/"+goneJob+"/events", "", "")
}

func (p *page) mine(ctx context.Context) {
	ended := map[string]bool{}
	both := func(name string, s job.Document) bool {
		ended[name] = s.State == job.Completed
		return ended["first"] && ended["second"]
	}
	p.submit(ctx, "first", demo.Sleep, `{"seconds":10,"steps":5}`)
	last := p.follow(ctx, "mine", "/v1/events?mine=true", "", func(_ string, s job.Document) bool {
		return s.Progress != nil && s.Progress.Percent == 80
	})
	time.Sleep(time.Minute)
	p.submit(ctx, "second", demo.Echo, `2`)
	time.Sleep(time.Minute)
	p.follow(ctx, "mine, on from there", "/v1/events?mine=true", last, both)
	p.ask(ctx, "HEAD of mine", http.MethodHead, "/v1/events?mine=true", "", "")
}

func (p *page) tickets(ctx context.Context) {
	get := func() frame.Ticket {
		resp := p.send(ctx, http.MethodPost, "/v1/ws-tickets", "", "")
		defer resp.Body.Close()
		var ticket frame.Ticket
		err := json.NewDecoder(resp.Body).Decode(&ticket)
		p.note("a ticket: %d %s %s, %d characters at its own address %t, for %s, %v", resp.StatusCode,
			resp.Header.Get("Content-Type"), resp.Header.Get("Cache-Control"), len(ticket.Ticket),
			ticket.URL == "/v1/ws?ticket="+ticket.Ticket, time.Until(ticket.ExpiresAt).Round(time.Second), err)
		return ticket
	}
	open := func(what, url string) {
		ws, resp, err := websocket.Dial(ctx, p.base+url, &websocket.DialOptions{
			HTTPClient: p.http, Subprotocols: []string{frame.Protocol},
		})
		if err != nil {
			var problem frame.Problem
			b, _ := io.ReadAll(resp.Body)
			_ = json.Unmarshal(b, &problem)
			p.note("%s: %d %s", what, resp.StatusCode, problem.Code)
			return
		}
		defer func() { _ = ws.CloseNow() }()
		_, b, err := ws.Read(ctx)
		var first frame.WelcomeFrame
		err = errors.Join(err, json.Unmarshal(b, &first))
		p.note("%s: %s, the first frame is %s, %v", what, ws.Subprotocol(), first.Type, err)
	}
	ticket := get()
	open("a socket", ticket.URL)
	open("a second one", ticket.URL)
	late := get()
	time.Sleep(31 * time.Second)
	open("too late", late.URL)
	open("a ticket that is none", "/v1/ws?ticket=nonsense")
	p.ask(ctx, "a ticket elsewhere", http.MethodGet, "/v1/jobs?ticket=nonsense", "", "")
}

// compare reports where two diaries differ.
func compare(t *testing.T, actual, memory string, atLeast int) {
	t.Helper()
	if lines := strings.Count(actual, "\n"); lines < atLeast {
		t.Errorf("only %d lines were compared:\n%s", lines, actual)
	}
	if actual == memory {
		return
	}
	a, b := strings.Split(actual, "\n"), strings.Split(memory, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Errorf("line %d:\nreal   %s\nmemory %s", i+1, a[i], b[i])
		}
	}
	if len(a) != len(b) {
		t.Errorf("%d lines of the real one, %d of the other", len(a), len(b))
	}
}

// fieldErrors is what an error says of a payload's places.
func fieldErrors(e *ackwire.Error) string {
	if len(e.Errors) == 0 {
		return ""
	}
	return fmt.Sprintf(", errors %v", e.Errors)
}
