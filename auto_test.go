package ackwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/coder/websocket"
)

// autoServer is a whole Ackwire in miniature, on a real socket: jobs are kept, keys are
// honoured, and every job runs through its states as fast as they can be sent.
type autoServer struct {
	*httptest.Server
	steps int // documents between pending and completed

	mu    sync.Mutex
	jobs  map[string]*autoJob
	keys  map[string]string
	socks map[*websocket.Conn]struct{}
	n     atomic.Int64
}

type autoJob struct {
	version int64
	state   job.State
	subs    map[*autoSock]struct{}
}

type autoSock struct {
	ws  *websocket.Conn
	out chan []byte
	end chan struct{}
}

func newAutoServer(steps int) *autoServer {
	s := &autoServer{steps: steps, jobs: map[string]*autoJob{}, keys: map[string]string{}, socks: map[*websocket.Conn]struct{}{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ws", s.socket)
	mux.HandleFunc("GET /v1/jobs/{id}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		j := s.jobs[r.PathValue("id")]
		if j == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprint(j.version)))
		_, _ = w.Write([]byte(document(r.PathValue("id"), string(j.state))))
	})
	s.Server = httptest.NewServer(mux)
	return s
}

// stop closes every socket and the server.
func (s *autoServer) stop() {
	s.dropAll()
	s.Server.Close()
}

// dropAll ends every socket without a word.
func (s *autoServer) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ws := range s.socks {
		go func() { _ = ws.CloseNow() }()
	}
}

func (s *autoServer) socket(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{frame.Protocol}})
	if err != nil {
		return
	}
	s.mu.Lock()
	s.socks[ws] = struct{}{}
	s.mu.Unlock()
	k := &autoSock{ws: ws, out: make(chan []byte, 4096), end: make(chan struct{})}
	defer func() {
		s.mu.Lock()
		delete(s.socks, ws)
		s.mu.Unlock()
		close(k.end)
		_ = ws.CloseNow()
	}()
	go func() {
		for {
			select {
			case b := <-k.out:
				if ws.Write(context.Background(), websocket.MessageText, b) != nil {
					return
				}
			case <-k.end:
				return
			}
		}
	}()
	k.send(`{"type":"welcome","connection":"c","protocol":"ackwire.v1","pingInterval":25,"limits":{"frameBytes":262144,"subscriptions":1000,"inFlightSubmits":64}}`)
	for {
		_, b, err := ws.Read(context.Background())
		if err != nil {
			return
		}
		var g got
		if json.Unmarshal(b, &g) == nil {
			s.answer(k, g)
		}
	}
}

func (k *autoSock) send(format string, args ...any) {
	select {
	case k.out <- fmt.Appendf(nil, format, args...):
	case <-k.end:
	}
}

func (s *autoServer) answer(k *autoSock, g got) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch g.Type {
	case frame.Ping:
		k.send(`{"type":"pong","id":%q}`, g.ID)
	case frame.Submit:
		id, dup := s.keys[g.Key]
		if !dup {
			id = fmt.Sprintf("job-%d", s.n.Add(1))
			s.jobs[id] = &autoJob{version: 1, state: job.Pending, subs: map[*autoSock]struct{}{}}
			if g.Key != "" {
				s.keys[g.Key] = id
			}
		}
		k.send(`{"type":"ack","id":%q,"jobId":%q,"state":"pending","statusUrl":"/v1/jobs/%s","duplicate":%t}`, g.ID, id, id, dup)
		if g.Watch == nil || *g.Watch {
			s.watchLocked(k, id, 0)
		}
		if !dup {
			go s.work(id)
		}
	case frame.Subscribe:
		var refs []frame.JobRef
		_ = json.Unmarshal(g.Jobs, &refs)
		k.send(`{"type":"subscribed","id":%q,"jobs":[]}`, g.ID)
		for _, r := range refs {
			var after int64
			if r.After != nil {
				after = *r.After
			}
			s.watchLocked(k, r.JobID, after)
		}
	case frame.Unsubscribe:
		var ids []string
		_ = json.Unmarshal(g.Jobs, &ids)
		for _, id := range ids {
			if j := s.jobs[id]; j != nil {
				delete(j.subs, k)
			}
		}
	}
}

func (s *autoServer) watchLocked(k *autoSock, id string, after int64) {
	j := s.jobs[id]
	if j.version > after {
		k.send(`{"type":"status","version":%d,"job":%s}`, j.version, document(id, string(j.state)))
	}
	if !j.state.Terminal() {
		j.subs[k] = struct{}{}
	}
}

// work takes a job through its states.
func (s *autoServer) work(id string) {
	for i := range s.steps + 1 {
		s.mu.Lock()
		j := s.jobs[id]
		j.version += 1 + int64(i%3)
		j.state = job.Processing
		if i == s.steps {
			j.state = job.Completed
		}
		for k := range j.subs {
			k.send(`{"type":"status","version":%d,"job":%s}`, j.version, document(id, string(j.state)))
		}
		s.mu.Unlock()
	}
}

// TestRealSockets runs many callers on few clients over loopback while their sockets are
// cut again and again: every keyed submit becomes exactly one job, and every watch ends
// with the terminal document, its versions rising.
func TestRealSockets(t *testing.T) {
	s := newAutoServer(20)
	defer s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stop := make(chan struct{})
	var chaos sync.WaitGroup
	chaos.Go(func() {
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.dropAll()
			case <-stop:
				return
			}
		}
	})
	const clients, callers, each = 4, 8, 25
	var wg sync.WaitGroup
	var doubts atomic.Int64
	for ci := range clients {
		c, err := Dial(ctx, s.URL, WithBackoff(Backoff{Base: time.Millisecond, Cap: 10 * time.Millisecond}), WithRetryDial())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for w := range callers {
			wg.Go(func() {
				for n := range each {
					key := fmt.Sprintf("%d-%d-%d", ci, w, n)
					opts := []SubmitOption{Key(key)}
					if n%5 == 0 {
						opts = nil
					}
					j, err := c.Submit(ctx, "demo.echo", n, opts...)
					if opts == nil && errors.Is(err, ErrIndeterminate) {
						doubts.Add(1)
						continue
					}
					if err != nil {
						t.Errorf("submit %s: %v", key, err)
						return
					}
					if rand.IntN(3) == 0 {
						if st, err := j.Wait(ctx); err != nil || st.State != job.Completed {
							t.Errorf("wait %s: %v %v", key, st.State, err)
						}
						continue
					}
					var last Status
					for st, err := range j.Watch(ctx) {
						if err != nil || st.Version <= last.Version || last.State.Terminal() {
							t.Errorf("watch %s: %v after %v: %v", key, st.Version, last.Version, err)
						}
						last = st
					}
					if last.State != job.Completed {
						t.Errorf("watch %s ended with %s", key, last.State)
					}
				}
			})
		}
	}
	wg.Wait()
	close(stop)
	chaos.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, want := len(s.keys), clients*callers*each*4/5; got != want {
		t.Errorf("%d keys at the server, want %d", got, want)
	}
	t.Logf("%d jobs, %d submits without a key of unknown outcome", len(s.jobs), doubts.Load())
}

func TestRealGet(t *testing.T) {
	s := newAutoServer(0)
	defer s.stop()
	c, err := Dial(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	j, err := c.Submit(t.Context(), "demo.echo", 1)
	if err != nil {
		t.Fatal(err)
	}
	want, err := j.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st, err := overHTTP(t, s.URL, WithToken("t")).Job(j.ID).Get(t.Context()); err != nil || st.Version != want.Version {
		t.Errorf("without a client: got %+v, %v", st, err)
	}
	if st, err := c.Job(j.ID).Get(t.Context()); err != nil || st.Version != want.Version || string(st.Raw) != string(want.Raw) {
		t.Errorf("got %+v, %v; want %+v", st, err, want)
	}
}

// BenchmarkSubmitWait is a submit, its ack and its terminal status over loopback, server included.
func BenchmarkSubmitWait(b *testing.B) {
	s := newAutoServer(0)
	defer s.stop()
	c, err := Dial(b.Context(), s.URL)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			j, err := c.Submit(b.Context(), "demo.echo", json.RawMessage(`{"a":1}`))
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := j.Wait(b.Context()); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
