package ackwire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/job"
)

// realServer is an ackwiretest server behind a real port, whose jobs run through their states as fast as they can.
type realServer struct {
	*ackwiretest.Server
	URL  string
	keys chan string // the idempotency keys of the jobs that were worked on
}

func newRealServer(t testing.TB, steps int) *realServer {
	s := &realServer{Server: ackwiretest.New(t), keys: make(chan string, 10_000)}
	ts := httptest.NewServer(s.Server)
	t.Cleanup(ts.Close)
	s.URL = ts.URL
	s.Handle("demo.echo", func(_ context.Context, j *ackwiretest.Job) (any, error) {
		if j.Submitted.Key != "" {
			s.keys <- j.Submitted.Key
		}
		for i := range steps {
			j.Progress(100*float64(i)/float64(steps), "")
		}
		return nil, nil
	})
	return s
}

// TestRealSockets runs many callers on few clients over loopback while their sockets are
// cut again and again: every keyed submit becomes exactly one job, and every watch ends
// with the terminal document, its versions rising.
func TestRealSockets(t *testing.T) {
	s := newRealServer(t, 20)
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
				s.Cut()
			case <-stop:
				return
			}
		}
	})
	const clients, callers, each = 4, 8, 25
	var wg sync.WaitGroup
	var doubts atomic.Int64
	for ci := range clients {
		c, err := ackwire.Dial(ctx, s.URL,
			ackwire.WithBackoff(ackwire.Backoff{Base: time.Millisecond, Cap: 10 * time.Millisecond}), ackwire.WithRetryDial())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for w := range callers {
			wg.Go(func() {
				for n := range each {
					key := fmt.Sprintf("%d-%d-%d", ci, w, n)
					opts := []ackwire.SubmitOption{ackwire.Key(key)}
					keyless := n%5 == 0
					if keyless {
						opts = append(opts, ackwire.NoKey())
					}
					j, err := c.Submit(ctx, "demo.echo", n, opts...)
					if keyless && errors.Is(err, ackwire.ErrIndeterminate) {
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
					var last ackwire.Status
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
	close(s.keys) // every job was waited for
	keys := map[string]bool{}
	for key := range s.keys {
		if keys[key] {
			t.Errorf("two jobs of the key %s", key)
		}
		keys[key] = true
	}
	if want := clients * callers * each * 4 / 5; len(keys) != want {
		t.Errorf("%d keys at the server, want %d", len(keys), want)
	}
	t.Logf("%d submits without a key of unknown outcome", doubts.Load())
}

func TestRealGet(t *testing.T) {
	s := newRealServer(t, 0)
	c, err := ackwire.Dial(t.Context(), s.URL)
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
	api, err := ackwire.NewHTTP(s.URL, ackwire.WithToken("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer api.CloseIdleConnections()
	if st, err := api.Job(j.ID).Get(t.Context()); err != nil || st.Version != want.Version {
		t.Errorf("without a client: got %+v, %v", st, err)
	}
	if st, err := c.Job(j.ID).Get(t.Context()); err != nil || st.Version != want.Version ||
		string(st.Raw) != string(want.Raw) {
		t.Errorf("got %+v, %v; want %+v", st, err, want)
	}
}

// BenchmarkSubmitWait measures a submit, its ack and its terminal status over loopback, server included.
func BenchmarkSubmitWait(b *testing.B) {
	s := newRealServer(b, 0)
	c, err := ackwire.Dial(b.Context(), s.URL)
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
