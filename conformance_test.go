package ackwire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestConformance runs the scripts that all clients of Ackwire run; clients/testdata/conformance/README.md says how
// they are written.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("clients", "testdata", "conformance", "*.json"))
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files of scripts, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var all struct {
			Scripts []confScript `json:"scripts"`
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&all); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, s := range all.Scripts {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".json")+"/"+s.Name, func(t *testing.T) {
				inBubble(t, func(t *testing.T, f *fake) {
					r := newConfRun(t, f, s)
					defer r.end()
					for i, step := range s.Steps {
						r.step = fmt.Sprintf("step %d", i+1)
						r.do(step)
						synctest.Wait()
					}
				})
			})
		}
	}
}

type confScript struct {
	Name   string     `json:"name"`
	Tokens []string   `json:"tokens"`
	Steps  []confStep `json:"steps"`
}

// confStep is any step; the first field that is set says which.
type confStep struct {
	Submit  *string        `json:"submit"`
	Cancel  *string        `json:"cancel"`
	Retry   *string        `json:"retry"`
	Erase   *string        `json:"erase"`
	Watch   any            `json:"watch"` // a job, {"of": call}, or of a submit false
	Stop    *string        `json:"stop"`
	Session map[string]any `json:"session"`
	Request *confRequest   `json:"request"`
	Refuse  map[string]any `json:"refuse"`
	Expect  map[string]any `json:"expect"`
	Send    map[string]any `json:"send"`
	Raw     *string        `json:"raw"`
	Close   *int           `json:"close"`
	Drop    bool           `json:"drop"`
	Closed  int            `json:"closed"`
	Quiet   *float64       `json:"quiet"`
	Take    *string        `json:"take"`
	End     *string        `json:"end"`
	Done    *string        `json:"done"`
	Fails   map[string]any `json:"fails"`
	Running *string        `json:"running"`
	Stream  any            `json:"stream"` // a job, or {"of": call}
	Read    *string        `json:"read"`
	Over    *string        `json:"over"`

	MakeGrant *confGrant `json:"makeGrant"`
	Call      *string    `json:"call"`
	Gave      *string    `json:"gave"`

	As        string          `json:"as"`
	Of        string          `json:"of"`
	On        int             `json:"on"`
	Payload   json.RawMessage `json:"payload"`
	Key       any             `json:"key"` // a string, or false
	After     int64           `json:"after"`
	Mine      bool            `json:"mine"` // a watch of all jobs; of a status, that it is for one
	Status    string          `json:"status"`
	State     string          `json:"state"`
	Job       string          `json:"job"`
	Duplicate bool            `json:"duplicate"`
	Answer    confAnswer      `json:"answer"`
	Ahead     *int64          `json:"ahead"`
	Estimate  *float64        `json:"estimate"`
	Progress  json.RawMessage `json:"progress"`
	Streams   []string        `json:"streams"` // of a submit
	Name      string          `json:"name"`
	From      confPlace       `json:"from"`
	Chunk     confChunk       `json:"chunk"`
	With      confWith        `json:"with"`
	Value     any             `json:"value"`
	Grant     json.RawMessage `json:"grant"` // of a submit the options, of what a call has returned the token
}

// confRun is one script at work.
type confRun struct {
	t      *testing.T
	fake   *fake
	script confScript
	step   string

	client  *Client
	dialled *pending[*Client]
	early   []func() // calls before the first session: the client is there once it is welcomed
	asked   int      // how many tokens the source was asked for
	tries   chan *confTry
	asks    chan *confTry // requests over HTTP
	peers   []*peer
	calls   map[string]*pending[confResult]
	watches map[string]*confWatch
	streams map[string]*confStream
	bound   map[string]string // what "$x" stands for
}

func newConfRun(t *testing.T, f *fake, s confScript) *confRun {
	r := &confRun{
		t: t, fake: f, script: s, calls: map[string]*pending[confResult]{}, watches: map[string]*confWatch{},
		streams: map[string]*confStream{},
		bound:   map[string]string{}, tries: make(chan *confTry), asks: make(chan *confTry),
	}
	f.other = undecided(r.asks)
	f.setRefuse(undecided(r.tries))
	f.query = func(w http.ResponseWriter, q *http.Request) {
		if strings.HasPrefix(q.URL.Path, "/v1/jobs/") {
			f.other(w, q)
			return
		}
		fmt.Fprint(w, `{"jobs":[],"asOf":"2026-01-02T03:04:05Z"}`)
	}
	return r
}

// try waits for the client's next attempt to open a session.
func (r *confRun) try() *confTry {
	select {
	case try := <-r.tries:
		return try
	case <-time.After(10 * time.Minute):
		r.fatalf("no session within 10 minutes")
		return nil
	}
}

// confResult is what a call returned.
type confResult struct {
	job   *Job
	state job.State
	grant Grant
	value any // of a call that is made by its name, as in JSON
}

// confWatch reads one document ahead.
type confWatch struct {
	next func() (Status, error, bool)
	stop func()
	head *pending[confRead]
	end  context.CancelFunc
}

type confRead struct {
	status Status
	err    error
	more   bool
}

func (r *confRun) fatalf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("%s: %s", r.step, fmt.Sprintf(format, args...))
}

// end takes everything down.
func (r *confRun) end() {
	if r.client != nil {
		_ = r.client.Close()
	}
	for _, w := range r.watches {
		w.end()
		<-w.head.done
		w.stop()
	}
	for _, s := range r.streams {
		s.end()
		<-s.head.done
		s.stop()
	}
}

func (r *confRun) do(s confStep) {
	switch {
	case s.Submit != nil:
		r.begin(s.As, func(c *Client) (confResult, error) {
			opts := []SubmitOption{}
			switch key := s.Key.(type) {
			case string:
				opts = append(opts, Key(key))
			case bool:
				opts = append(opts, NoKey())
			}
			if s.Watch == false {
				opts = append(opts, NoWatch())
			}
			if len(s.Streams) > 0 {
				opts = append(opts, WithStreams(s.Streams...))
			}
			if s.Grant != nil {
				g := r.readGrant(s.Grant)
				opts = append(opts, WithGrant(g.ttl(), g.Permissions...))
			}
			j, err := c.Submit(context.Background(), *s.Submit, s.Payload, opts...)
			return confResult{job: j}, err
		})
	case s.Cancel != nil:
		r.begin(s.As, func(c *Client) (confResult, error) {
			state, err := c.Job(*s.Cancel).Cancel(context.Background())
			return confResult{state: state}, err
		})
	case s.Retry != nil:
		r.begin(s.As, func(c *Client) (confResult, error) {
			state, err := c.Job(*s.Retry).Retry(context.Background())
			return confResult{state: state}, err
		})
	case s.Erase != nil, s.MakeGrant != nil, s.Request != nil:
		r.overHTTP(s)
	case s.Call != nil, s.Gave != nil:
		r.byName(s)
	case s.Watch != nil, s.Mine && s.As != "":
		r.whenThere(func() { r.watch(s) })
	case s.Stream != nil, s.Read != nil, s.Over != nil:
		r.onStream(s)
	case s.Stop != nil:
		w := r.watches[*s.Stop]
		delete(r.watches, *s.Stop)
		w.end()
		<-w.head.done
		w.stop()
	case s.Session != nil:
		r.session(s.Session)
	case s.Refuse != nil:
		r.refuse(s.Refuse)
	case s.Take != nil:
		r.take(*s.Take, s.Status, s.Progress)
	case s.End != nil:
		got, _ := r.watches[r.name(*s.End)].head.end()
		switch {
		case s.Fails == nil && (got.more || got.err != nil):
			r.fatalf("%s goes on with %s, %v", *s.End, confDocument(got.status), got.err)
		case s.Fails != nil:
			r.wantError(got.err, s.Fails)
		}
	case s.Done != nil:
		r.done(s)
	case s.Fails != nil:
		call := r.calls[s.Of]
		if _, err := call.end(); err == nil {
			r.fatalf("%s did not fail", s.Of)
		}
		r.wantError(call.err, s.Fails)
	case s.Running != nil:
		r.calls[*s.Running].running(r.step)
	case s.Quiet != nil:
		r.quiet(time.Duration(*s.Quiet * float64(time.Second)))
	default:
		r.onPeer(s)
	}
}

// onPeer does the steps of a session.
func (r *confRun) onPeer(s confStep) {
	p := r.peers[len(r.peers)-1]
	if s.On > 0 {
		p = r.peers[s.On-1]
	}
	switch {
	case s.Expect != nil:
		r.expect(p, s.Expect)
	case s.Send != nil:
		b, err := json.Marshal(r.filled(s.Send))
		if err != nil {
			r.fatalf("%v", err)
		}
		p.send("%s", b)
	case s.Raw != nil:
		p.send("%s", *s.Raw)
	case s.Status != "":
		jobID, version, _ := strings.Cut(r.name(s.Status), "@")
		mine := ""
		if s.Mine {
			mine = `"mine":true,`
		}
		p.send(`{"type":"status",%s"version":%s,"job":%s}`, mine, version, withProgress(document(jobID, s.State), s.Progress))
	case s.Close != nil:
		p.close(code.Close(*s.Close))
		p.wantEnd(r.step)
	case s.Drop:
		p.drop()
	case s.Closed > 0:
		r.peers[s.Closed-1].wantEnd(r.step)
	default:
		r.fatalf("no such step")
	}
}

// whenThere calls f once there is a client.
func (r *confRun) whenThere(f func()) {
	if r.client == nil {
		r.early = append(r.early, f)
		return
	}
	f()
}

func (r *confRun) begin(as string, f func(*Client) (confResult, error)) {
	r.whenThere(func() {
		c := r.client
		r.calls[as] = begin(r.t, func() (confResult, error) { return f(c) })
	})
}

func (r *confRun) options() []Option {
	opts := []Option{r.fake.transport(), WithRetryDial()}
	if len(r.script.Tokens) > 0 {
		opts = append(opts, WithTokenSource(func(context.Context) (string, error) {
			r.asked++
			return r.script.Tokens[min(r.asked, len(r.script.Tokens))-1], nil
		}))
	}
	return opts
}

// session waits for the client's next session and welcomes it.
func (r *confRun) session(members map[string]any) {
	if r.dialled == nil {
		r.dialled = begin(r.t, func() (*Client, error) {
			return Dial(context.Background(), "http://ackwire.test", r.options()...)
		})
	}
	try := r.try()
	r.fake.accept(try.w, try.q)
	close(try.decided)
	p := <-r.fake.peers
	welcome := map[string]any{
		"type": "welcome", "connection": "c1", "protocol": "ackwire.v1", "pingInterval": 3600,
		"limits": map[string]any{"frameBytes": 262144, "subscriptions": 1000, "inFlightSubmits": 64},
	}
	for name, value := range members {
		if name == "token" {
			if want := "Bearer " + value.(string); p.auth != want {
				r.fatalf("the session's token is %q, want %q", p.auth, want)
			}
			continue
		}
		welcome[name] = value
	}
	b, err := json.Marshal(welcome)
	if err != nil {
		r.fatalf("%v", err)
	}
	p.send("%s", b)
	r.peers = append(r.peers, p)
	if r.client == nil {
		if r.client, err = r.dialled.end(); err != nil {
			r.fatalf("dial: %v", err)
		}
		for _, f := range r.early {
			synctest.Wait()
			f()
		}
	}
}

// refuse answers the client's next handshake with an error.
func (r *confRun) refuse(problem map[string]any) {
	try := r.try()
	try.w.Header().Set("Content-Type", "application/problem+json")
	try.w.WriteHeader(int(problem["status"].(float64)))
	_ = json.NewEncoder(try.w).Encode(problem)
	close(try.decided)
	auth := try.q.Header.Get("Authorization")
	if want, ok := problem["token"].(string); ok && auth != "Bearer "+want {
		r.fatalf("the token is %q, want %q", auth, want)
	}
}

func (r *confRun) watch(s confStep) {
	ctx, cancel := context.WithCancel(context.Background())
	var seq iter.Seq2[Status, error]
	switch of := s.Watch.(type) {
	case string:
		seq = r.client.Job(of).Watch(ctx, After(s.After))
	case map[string]any:
		seq = r.calls[of["of"].(string)].val.job.Watch(ctx, After(s.After))
	default:
		seq = r.client.WatchMine(ctx)
	}
	w := &confWatch{end: cancel}
	w.next, w.stop = iter.Pull2(seq)
	r.watches[s.As] = w
	r.readAhead(w)
}

func (r *confRun) readAhead(w *confWatch) {
	w.head = begin(r.t, func() (confRead, error) {
		status, err, more := w.next()
		return confRead{status, err, more}, nil
	})
}

func (r *confRun) take(name, want string, progress json.RawMessage) {
	name, want = r.name(name), r.name(want)
	w := r.watches[name]
	got, _ := w.head.end()
	if got.err != nil || !got.more || confDocument(got.status) != want {
		r.fatalf("%s yields %s, %v (more: %v), want %s", name, confDocument(got.status), got.err, got.more, want)
	}
	r.wantProgress(got.status, progress)
	r.readAhead(w)
}

func confDocument(s Status) string { return fmt.Sprintf("%s@%d", s.JobID, s.Version) }

// name is a name, or a job at a version, with what its variable stands for.
func (r *confRun) name(s string) string {
	head, tail, at := strings.Cut(s, "@")
	if bound, known := r.bound[head]; known {
		head = bound
	}
	if at {
		head += "@"
	}
	return head + tail
}

// quiet fails if the client sends anything, or opens a session, within d.
func (r *confRun) quiet(d time.Duration) {
	select {
	case <-r.tries:
		r.fatalf("the client opens a session")
	case ask := <-r.asks:
		r.fatalf("the client asks %s %s", ask.q.Method, ask.q.URL.Path)
	case <-time.After(d):
	}
	for i, p := range r.peers {
		select {
		case b := <-p.frames:
			r.fatalf("session %d: the client sent %s", i+1, b)
		default:
		}
	}
}

// expect takes the client's next frame of a session.
func (r *confRun) expect(p *peer, want map[string]any) {
	var got any
	select {
	case b := <-p.frames:
		if err := json.Unmarshal(b, &got); err != nil {
			r.fatalf("%s: %v", b, err)
		}
	case <-time.After(time.Minute):
		r.fatalf("no %v within a minute", want["type"])
	}
	if !r.matches(named(got), named(want)) {
		r.fatalf("the client sent %v, want %v", got, want)
	}
}
