package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// all is what a client is told of all its jobs: versions by job, and how each ended.
type all struct {
	mu       sync.Mutex // guards all below
	versions map[string]int64
	ended    map[string]job.State
	wrong    []string
}

// followAll reads until the world ends.
func (w *World) followAll(c *ackwire.Client) *all {
	a := &all{versions: map[string]int64{}, ended: map[string]job.State{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for st, err := range c.WatchMine(ctx) {
			a.mu.Lock()
			switch {
			case err != nil:
				if ctx.Err() == nil {
					a.wrong = append(a.wrong, err.Error())
				}
			case st.Version <= a.versions[st.JobID]:
				a.wrong = append(a.wrong, fmt.Sprintf("%s@%d after %d", st.JobID, st.Version, a.versions[st.JobID]))
			default:
				a.versions[st.JobID] = st.Version
				if st.State.Terminal() {
					a.ended[st.JobID] = st.State
				}
			}
			a.mu.Unlock()
		}
	}()
	w.T.Cleanup(func() {
		cancel()
		<-done
		if len(a.wrong) > 0 {
			w.T.Errorf("it was told wrongly: %q", a.wrong)
		}
	})
	return a
}

// want waits until these jobs, and no others, were told to have ended.
func (a *all) want(w *World, what string, ids ...string) {
	w.T.Helper()
	slices.Sort(ids)
	var got []string
	defer func() {
		if w.T.Failed() {
			w.T.Logf("told of %d, want %d", len(got), len(ids))
		}
	}()
	w.eventually(what, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		got = slices.Sorted(maps.Keys(a.ended))
		return slices.Equal(got, ids)
	})
}

// TestAllMyJobsThroughFaults: a client that follows all jobs of its subject receives the end of every
// job, in rising versions, wherever it was submitted, though the tracker crashes and the gateway dies.
func TestAllMyJobsThroughFaults(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		other := w.Dial()
		before := w.Submit(other, "demo.echo", "1")
		w.WantEnd("a job before", other, before.ID, job.Completed, 1)
		time.Sleep(2 * time.Minute)
		mine := w.followAll(w.Dial())
		time.Sleep(time.Second)

		var ids []string
		submit := func(n int) {
			for range n {
				ids = append(ids, w.Submit(other, "demo.sleep", `{"seconds":1,"steps":4}`, ackwire.NoWatch()).ID)
			}
		}
		submit(20)
		mine.want(w, "all are told of", ids...)

		submit(20)
		w.CrashTracker()
		submit(20)
		time.Sleep(20 * time.Second) // they end while there is no tracker
		w.StartTracker()
		mine.want(w, "a tracker comes back", ids...)

		submit(20)
		w.Kill(w.gateway)
		time.Sleep(20 * time.Second) // they end while no gateway can send their ends
		w.StartGateway()
		submit(20)
		mine.want(w, "a gateway comes back", ids...)
	})
}

// TestMineOverABareSocket: the ack of a job comes before all else about it, each version comes once
// however many subscriptions cover the job, and an end is an end.
func TestMineOverABareSocket(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		transport := &http.Transport{DialContext: w.Net.Host("browser").Dial}
		ws, _, err := websocket.Dial(w.ctx(), fmt.Sprintf("http://localhost:%d/v1/ws", gatewayPort),
			&websocket.DialOptions{Subprotocols: []string{frame.Protocol}, HTTPClient: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		defer transport.CloseIdleConnections()
		defer func() { _ = ws.CloseNow() }()
		type told struct {
			Type, ID, Code, JobID string
			Mine                  bool
			Version               int64
			Jobs                  []json.RawMessage
			Job                   job.Document
		}
		ask := func(text string) {
			if err := ws.Write(w.ctx(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		var next func() told
		next = func() (f told) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, b, err := ws.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &f); err != nil {
				t.Fatal(err)
			}
			if f.Type == "cursor" { // they come now and then
				return next()
			}
			return f
		}
		want := func(what, typ, id string, ok func(told) bool) {
			t.Helper()
			if f := next(); f.Type != typ || f.ID != id || ok != nil && !ok(f) {
				t.Fatalf("%s: got %+v", what, f)
			}
		}
		want("the handshake", "welcome", "", nil)
		ask(`{"type":"subscribe","id":"0","mine":true,"jobs":[]}`)
		want("both at once", "error", "0", func(f told) bool { return f.Code == "invalid_frame" })
		for _, id := range []string{"1", "2"} {
			ask(`{"type":"subscribe","id":"` + id + `","mine":true}`)
			want("also when it is said twice", "subscribed", id, func(f told) bool { return f.Mine && len(f.Jobs) == 0 })
		}
		for i := range 30 {
			ask(fmt.Sprintf(`{"type":"submit","id":"s%d","job":"demo.echo","payload":1,"watch":%t}`, i, i%2 == 0))
		}
		acked, ended, asked := map[string]bool{}, map[string]bool{}, map[string]bool{}
		versions := map[string]int64{}
		for len(ended) < 30 {
			f := next()
			switch {
			case f.Type == "ack":
				acked[f.JobID] = true
				if len(acked)%3 == 0 { // once more, as a subscription of its own
					asked[f.JobID] = true
					ask(`{"type":"subscribe","id":"again","jobs":[{"jobId":"` + f.JobID + `"}]}`)
				}
			case f.Type == "subscribed":
			case f.Type != "status" || !acked[f.Job.JobID]:
				t.Fatalf("before its ack: %+v", f)
			case !f.Mine || f.Version <= versions[f.Job.JobID]:
				t.Fatalf("version %d comes after %d: %+v", f.Version, versions[f.Job.JobID], f)
			default:
				versions[f.Job.JobID] = f.Version
				ended[f.Job.JobID] = ended[f.Job.JobID] || f.Job.State.Terminal()
				if !f.Job.State.Terminal() {
					delete(ended, f.Job.JobID)
				}
			}
		}
		for id := range asked { // of jobs that have ended, and were told of
			ask(`{"type":"subscribe","id":"ended","jobs":[{"jobId":"` + id + `"}]}`)
			for f := next(); f.Type != "subscribed" || f.ID != "ended"; f = next() {
				if f.Type != "subscribed" {
					t.Fatalf("told again: %+v", f)
				}
			}
		}
		ask(`{"type":"unsubscribe","id":"u","mine":true}`)
		want("the end", "unsubscribed", "u", func(f told) bool { return f.Mine && len(f.Jobs) == 0 })
		ask(`{"type":"submit","id":"x","job":"demo.echo","payload":1,"watch":false}`)
		want("a job after", "ack", "x", nil)
		time.Sleep(10 * time.Second)
		ask(`{"type":"ping","id":"p"}`)
		want("nothing came between", "pong", "p", nil)
	})
}

// TestMineAsAnEventStream reads GET /v1/events?mine=true.
func TestMineAsAnEventStream(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		for _, query := range []string{"mine=false", "mine=true&mine=true",
			"mine=true&job=0190a5b0-0000-7000-8000-000000000000", "mine="} {
			if status, _, body := w.HTTP("GET", "/v1/events?"+query, nil, nil); status != 400 ||
				!strings.Contains(string(body), "invalid_frame") {
				t.Errorf("%s: %d %s", query, status, body)
			}
		}
		transport := &http.Transport{DialContext: w.Net.Host("browser").Dial}
		defer transport.CloseIdleConnections()
		r, err := http.NewRequestWithContext(w.ctx(), "GET", fmt.Sprintf("http://localhost:%d/v1/events?mine=true",
			gatewayPort), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		j := w.Submit(w.Dial(), "demo.echo", "1")
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if line := lines.Text(); strings.HasPrefix(line, "data: ") && strings.Contains(line, j.ID) &&
				strings.Contains(line, `"completed"`) {
				return
			}
		}
		t.Errorf("the stream ended: %v", lines.Err())
	})
}
