package load

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/embedded/sim"
	"github.com/ackwire/ackwire/loadtest/history"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/scenario"
	"github.com/ackwire/ackwire/schemas/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inWorld runs a test in a simulated Ackwire, in virtual time.
func inWorld(t *testing.T, test func(*testing.T, *sim.World)) {
	t.Helper()
	if !synctests {
		t.Skip("simulations need -tags synctests")
	}
	sim.Run(t, func(w *sim.World) {
		w.StartWorker(nil)
		test(w.T, w)
	})
}

// script is a scenario with everything in it, small.
func script(change func(*scenario.Scenario)) *scenario.Scenario {
	s := &scenario.Scenario{
		Name: "script", Sockets: 6, Tenants: 1, ConnectOver: time.Second, Poisson: true, Seed: 1,
		Jobs: []scenario.Job{
			{
				Name: "steps", Type: "demo.sleep", Payload: json.RawMessage(`{"seconds":3,"steps":3}`), Weight: 1,
				Watch: true, Get: 1, Stream: 0.5, Ends: job.Completed,
			},
			{
				Name: "flaky", Type: "demo.flaky", Payload: json.RawMessage(`{"failures":2}`), Weight: 0.3, Watch: true,
				Stream: 0.5, Ends: job.Completed,
			},
			{
				Name: "writes", Type: "demo.write", Payload: json.RawMessage(`{"words":30,"rate":20}`), Weight: 0.3, Watch: true,
				Output: 0.9, Words: 30, Ends: job.Completed,
			},
		},
		Mine:       0.3,
		Phases:     []scenario.Phase{{Name: "only", Duration: 10 * time.Second, From: 3, To: 3, Measured: true}},
		EndsWithin: 30 * time.Second, DeliverWithin: 10 * time.Second,
	}
	if change != nil {
		change(s)
	}
	return s
}

// runIn runs a scenario against the world.
func runIn(t *testing.T, w *sim.World, s *scenario.Scenario, f faults) *measure.Result {
	t.Helper()
	return runTo(t, w, s, f, filepath.Join(t.TempDir(), "history.ndjson"))
}

// runTo does the same, with a history that the test reads.
func runTo(t *testing.T, w *sim.World, s *scenario.Scenario, f faults, name string) *measure.Result {
	t.Helper()
	out, err := Run(t.Context(), Config{
		Scenario: s, URLs: []string{"http://localhost:8080"}, Dials: []Dial{w.Net.Host("loadtest").Dial},
		History: name, Verify: 1,
		Log: slog.New(slog.DiscardHandler), faults: f,
	}, measure.NewRecorder(s))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// clean fails the test unless the run is complete, proven, and without a violation.
func clean(t *testing.T, out *measure.Result) {
	t.Helper()
	v := out.Verdict
	for _, x := range v.Violations {
		t.Errorf("%s: job %s, client %d: %s", x.Invariant, x.Job, x.Client, x.What)
		for _, r := range x.Records {
			t.Logf("  %v", r)
		}
	}
	if !v.Complete || v.Unproven != 0 || v.Found != 0 || v.Acked == 0 || v.Ended != v.Acked {
		t.Errorf("complete %v, acked %d, ended %d, unproven %d, violations %d", v.Complete, v.Acked, v.Ended, v.Unproven,
			v.Found)
	}
	if c := out.Counts; c.InFlight != 0 || c.Backlog != 0 || c.Open != 0 || c.Sockets != 0 || c.Dropped != 0 {
		t.Errorf("left over: %+v", c)
	}
}

// tamper damages one thing of a run. It remembers what.
type tamper struct {
	kind string

	mu     sync.Mutex // guards all below
	done   bool
	client int
	job    string
	held   []byte
	of     string // whose frame is held
	stream int
}

// answered brings a stream back that knows all ends, or takes the IDs out of all that one is told.
func (x *tamper) answered(s *stream, resp *http.Response) {
	x.mu.Lock()
	defer x.mu.Unlock()
	took := func() {
		x.done = true
		x.client = s.client
		x.job = s.jobs[0]
		x.stream = s.id
	}
	switch {
	case x.kind == "comeback" && !x.done && resp.StatusCode == http.StatusNoContent:
		took()
		resp.StatusCode = http.StatusOK
		resp.Header.Set("Content-Type", "text/event-stream")
	case x.kind == "for ever" && (!x.done || x.stream == s.id):
		took()
		resp.Body = &withoutIDs{ReadCloser: resp.Body, lines: bufio.NewReader(resp.Body)}
	case x.kind == "sent away" && !x.done:
		took()
		resp.StatusCode = http.StatusNoContent
	}
}

// withoutIDs is an event stream whose events have no IDs.
type withoutIDs struct {
	io.ReadCloser
	lines *bufio.Reader
	rest  []byte
}

func (w *withoutIDs) Read(b []byte) (int, error) {
	for len(w.rest) == 0 {
		line, err := w.lines.ReadBytes('\n')
		if err != nil {
			return 0, err
		}
		if !bytes.HasPrefix(line, []byte("id:")) {
			w.rest = line
		}
	}
	n := copy(b, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func (x *tamper) toServer(client int, b []byte) (answer []byte, swallow bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var f struct{ Type, ID string }
	if x.kind != "forget" || x.done || json.Unmarshal(b, &f) != nil || f.Type != "submit" {
		return nil, false
	}
	x.done, x.client, x.job = true, client, "01890a5d-ac96-774b-bcce-b302099a8057"
	return fmt.Appendf(nil, `{"type":"ack","id":%q,"jobId":%q,"state":"pending","statusUrl":"/"}`, f.ID, x.job), true
}

// damagePart damages a part of an output.
func (x *tamper) damagePart(client int, f *serverFrame, b []byte) [][]byte {
	if f.Type != "chunk" || x.done {
		return [][]byte{b}
	}
	took := func() { x.done, x.client, x.job = true, client, f.JobID }
	switch {
	case x.kind == "drop a part" && f.Text != "" && !f.End:
		took()
		return nil
	case x.kind == "a part twice" && f.Text != "":
		took()
		return [][]byte{b, b}
	case x.kind == "another text" && strings.Contains(f.Text, "the "):
		took()
		return [][]byte{bytes.Replace(b, []byte("the "), []byte("teh "), 1)}
	case x.kind == "drop the end" && f.End:
		took()
		return nil
	case x.kind == "end early" && !f.End:
		took()
		return [][]byte{fmt.Appendf(nil, `%s,"end":true,"total":%d}`, bytes.TrimSuffix(b, []byte("}")), len(f.Text))}
	}
	return [][]byte{b}
}

func (x *tamper) fromServer(client int, b []byte) [][]byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	var f serverFrame
	if json.Unmarshal(b, &f) != nil || f.Type != "status" {
		return x.damagePart(client, &f, b)
	}
	took := func() { x.done, x.client, x.job = true, client, f.Job.JobID }
	switch terminal := f.Job.State.Terminal(); {
	case x.kind == "drop" && !x.done && terminal:
		took()
		return nil
	case x.kind == "duplicate" && !x.done:
		took()
		return [][]byte{b, b}
	case x.kind == "twice" && !x.done && f.Mine:
		took() // by the subscription to all jobs, and by the job's own
		return [][]byte{b, bytes.Replace(b, []byte(`"mine":true,`), nil, 1)}
	case x.kind == "attempt" && !x.done && f.Job.State == job.Processing:
		took() // it was at 1
		return [][]byte{bytes.Replace(b, []byte(`"attempt":1,`), []byte(`"attempt":3,`), 1)}
	case x.kind == "reorder" && !x.done && x.of == "" && f.Job.State == job.Processing:
		x.held, x.of, x.client = b, f.Job.JobID, client
		return nil
	case x.kind == "reorder" && !x.done && x.of == f.Job.JobID && x.client == client:
		took()
		return [][]byte{b, x.held}
	}
	return [][]byte{b}
}

// Each fault is reported as exactly what it is, of the job and the client that it met; and
// nothing is reported where there is none. A dropped status is noticed when it was the last
// one: any other may be skipped, as a server may conflate.
func TestInjectedFaults(t *testing.T) {
	for _, c := range []struct {
		kind   string
		want   history.Invariant
		client bool // it is one client's matter
	}{
		{kind: "none"},
		{"drop", history.Delivery, true},
		{"duplicate", history.Delivery, true},
		{"reorder", history.Delivery, true},
		{"twice", history.Delivery, true},
		{"comeback", history.Delivery, true},
		{"for ever", history.Delivery, true},
		{"sent away", history.Delivery, true},
		{"drop a part", history.Continuation, true},
		{"a part twice", history.Continuation, true},
		{"another text", history.Continuation, true},
		{"drop the end", history.Continuation, true},
		{"end early", history.Continuation, true},
		{"attempt", history.Unspent, false},
		{"forget", history.Lost, false},
	} {
		t.Run(c.kind, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *sim.World) {
				x := &tamper{kind: c.kind}
				out := runIn(t, w, script(nil), x)
				if c.want == "" {
					clean(t, out)
					return
				}
				v := out.Verdict
				if !x.done || v.Found != 1 || len(v.Violations) != 1 {
					t.Fatalf("done %v, job %s; %d violations, want one: %+v", x.done, x.job, v.Found, v.Violations)
				}
				got := v.Violations[0]
				client := 0
				if c.client {
					client = x.client
				}
				if got.Invariant != c.want || got.Job != x.job || got.Client != client || got.Stream != x.stream ||
					len(got.Records) < 2 {
					t.Errorf("got %s of job %s, client %d, %d records; want %s of job %s, client %d: %s",
						got.Invariant, got.Job, got.Client, len(got.Records), c.want, x.job, client, got.What)
				}
			})
		})
	}
}

// Sockets that are cut come back, take their watches up, and send what has a key again.
func TestAReconnectStorm(t *testing.T) {
	inWorld(t, func(t *testing.T, w *sim.World) {
		s := script(func(s *scenario.Scenario) {
			s.Jobs[0].Key = true
			s.Phases[0].Reconnect = &scenario.Reconnect{At: 4 * time.Second, Over: 2 * time.Second, Share: 1}
		})
		out := runIn(t, w, s, nil)
		clean(t, out)
		if out.Counts.Cut != 6 || out.Counts.Connects != 12 || out.Counts.Losses != 0 || out.Counts.Unanswered != 0 {
			t.Errorf("%+v", out.Counts)
		}
		if out.Latencies[measure.Resume].Count == 0 || out.Verdict.Faults == 0 {
			t.Errorf("nothing was taken up: %+v", out.Latencies)
		}
	})
}

// A gateway that is cut off loses its sockets and its answers; whatever was acked still ends.
func TestAGatewayIsCutOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *sim.World) {
		gateway := w.Net.Host("gateway")
		time.AfterFunc(5*time.Second, gateway.Cut)
		time.AfterFunc(6*time.Second, gateway.Heal)
		out := runIn(t, w, script(func(s *scenario.Scenario) { s.Jobs[0].Get = 0 }), nil)
		clean(t, out)
		if out.Counts.Losses != 6 || out.Counts.Connects != 12 || out.Verdict.Faults == 0 {
			t.Errorf("%+v, %v", out.Counts, out.Losses)
		}
		// Who waited for a socket was kept waiting by the server, not by the generator.
		if lag := out.Latencies[measure.Lag]; out.Counts.Delayed < 2 || lag.Max > 1 || out.Latencies[measure.Ack].Max < 100 {
			t.Errorf("%d waited; the generator was late by %v ms, the slowest ack took %v ms", out.Counts.Delayed, lag.Max,
				out.Latencies[measure.Ack].Max)
		}
	})
}

// Many watch one job, some of them hardly read, some jobs have no watcher, and some fail.
func TestWatchersSlowClientsAndFailures(t *testing.T) {
	inWorld(t, func(t *testing.T, w *sim.World) {
		s := script(func(s *scenario.Scenario) {
			s.Slow = scenario.Slow{Sockets: 2, BytesPerSecond: 300}
			s.Jobs[0].Watchers = 3
			s.Jobs = append(s.Jobs,
				scenario.Job{
					Name: "fails", Type: "demo.fail", Payload: json.RawMessage(`{}`), Weight: 1, Watch: true,
					Ends: job.Completed,
				},
				scenario.Job{Name: "unwatched", Type: "demo.echo", Payload: json.RawMessage(`{}`), Weight: 1, Ends: job.Completed})
		})
		out := runIn(t, w, s, nil)
		clean(t, out)
		byName := map[string]measure.JobResult{}
		for _, j := range out.Jobs {
			byName[j.Name] = j
		}
		if f := byName["fails"]; f.Unexpected == 0 || f.Unexpected != f.Ended["failed"] ||
			f.Unexpected != out.Counts.Unexpected {
			t.Errorf("fails: %+v", f)
		}
		if u := byName["unwatched"]; u.Acked == 0 || u.Ended["completed"] != u.Acked || u.End.Count != 0 {
			t.Errorf("unwatched: %+v", u)
		}
		if out.Latencies[measure.Spread].Count == 0 || out.Latencies[measure.SlowAck].Count == 0 {
			t.Errorf("%+v", out.Latencies)
		}
	})
}

// A server that stands still is offered just as much, and is charged for the wait.
func TestTheLoopIsOpen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *sim.World) {
		gateway := w.Net.Host("gateway")
		time.AfterFunc(3*time.Second, gateway.Hang)
		time.AfterFunc(7*time.Second, gateway.Heal)
		s := script(func(s *scenario.Scenario) {
			s.Poisson = false
			s.Jobs[0].Get = 0
			s.Phases[0].From, s.Phases[0].To = 10, 10
		})
		out := runIn(t, w, s, nil)
		clean(t, out)
		if out.Counts.Arrivals != 100 || out.Counts.Sent != 100 {
			t.Errorf("%d arrivals, %d sent; want 100", out.Counts.Arrivals, out.Counts.Sent)
		}
		// 40 of the 100 came while it stood still, and waited for 2 s on average.
		ack := out.Latencies[measure.Ack]
		if ack.Max < 3500 || ack.Curve[5] < 2000 {
			t.Errorf("p90 %v ms, max %v ms", ack.Curve[5], ack.Max)
		}
	})
}
