package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/job"
)

// eventSource is what browsers have (WHATWG HTML §9.2): it reconnects after every end of a 200, for
// ever, and stops for good at any other status. It sends no header but Last-Event-ID.
type eventSource struct {
	w    *world
	path string

	mu       sync.Mutex // guards all below
	lastID   string
	retry    time.Duration
	connects int
	status   int // that it has stopped at; 0: it has not
	events   []sourceEvent
	cut      context.CancelFunc // cuts the connection that it has
}

type sourceEvent struct{ name, id, data string }

// source begins one, as a page that has this last ID from before; "" is none.
func (w *world) source(path, lastID string) *eventSource {
	s := &eventSource{w: w, path: path, lastID: lastID, retry: 3 * time.Second}
	ctx, cancel := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for s.connect(ctx) {
			if !pause.For(ctx, s.wait()) {
				return
			}
		}
	})
	w.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return s
}

func (s *eventSource) wait() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retry
}

// connect follows one connection to its end; false when it must not come back.
func (s *eventSource) connect(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	transport := &http.Transport{DialContext: s.w.net.Host("client").Dial, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+gatewayAddr+s.path, nil)
	if err != nil {
		panic(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Cache-Control", "no-store")
	s.mu.Lock()
	s.connects++
	s.cut = cancel
	if s.lastID != "" {
		r.Header.Set("Last-Event-ID", s.lastID)
	}
	s.mu.Unlock()
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return true
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.status = answer.StatusCode
		return false
	}
	s.read(bufio.NewScanner(answer.Body))
	return true
}

func (s *eventSource) read(lines *bufio.Scanner) {
	lines.Buffer(nil, 1<<20)
	id, e := "", sourceEvent{}
	s.mu.Lock()
	id = s.lastID
	s.mu.Unlock()
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			s.dispatch(id, e)
			e = sourceEvent{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.name = value
		case "data":
			e.data += value
		case "id":
			id = value
		case "retry":
			if ms, err := strconv.Atoi(value); err == nil {
				s.mu.Lock()
				s.retry = time.Duration(ms) * time.Millisecond
				s.mu.Unlock()
			}
		}
	}
}

func (s *eventSource) dispatch(id string, e sourceEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID = id
	if e.data != "" {
		e.id = id
		s.events = append(s.events, e)
	}
}

// drop cuts the connection, as a network does.
func (s *eventSource) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut()
}

// seen is what it was told, such as "a pending, b completed, c not_found", by the names that the
// test gave to jobs.
func (s *eventSource) seen(names map[string]string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var seen []string
	for _, e := range s.events {
		var d struct{ JobID, State, Error string }
		if err := json.Unmarshal([]byte(e.data), &d); err != nil {
			s.w.t.Errorf("data %q: %v", e.data, err)
		}
		seen = append(seen, names[d.JobID]+" "+d.State+d.Error)
	}
	return strings.Join(seen, ", ")
}

// wantStopped waits as long as a page is open, and checks at which status it stopped, and after how
// many connections.
func (s *eventSource) wantStopped(what string, status, connects int) {
	s.w.t.Helper()
	time.Sleep(5 * time.Minute)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != status || s.connects != connects {
		s.w.t.Errorf("%s: stopped at %d after %d connections with %d events, want %d after %d", what, s.status, s.connects,
			len(s.events), status, connects)
	}
}

func (s *eventSource) wantSeen(what string, names map[string]string, want string) {
	s.w.t.Helper()
	synctest.Wait()
	if got := s.seen(names); got != want {
		s.w.t.Errorf("%s: seen %q, want %q", what, got, want)
	}
}

const (
	jobC = "01a208fd-2dc6-7467-acd5-bb987da2c7cc"
	jobD = "01a208fd-2dc6-7467-acd5-bb987da2c7dd"
)

var jobNames = map[string]string{jobA: "a", jobB: "b", jobC: "c", jobD: "d"}

// TestAnEventSourceEnds: once it was told all there is to know, and not before.
func TestAnEventSourceEnds(t *testing.T) {
	one, two := "/v1/jobs/"+jobA+"/events", "/v1/events?job="+jobA+"&job="+jobB
	for name, c := range map[string]struct {
		path, lastID string
		ends         bool // a and b have ended
		connects     int
		seen         string
	}{
		"one that has ended":      {path: one, ends: true, connects: 2, seen: "a completed"},
		"one that ends":           {path: one, connects: 2, seen: "a processing, a completed"},
		"several that have ended": {path: two, ends: true, connects: 2, seen: "a completed, b failed"},
		"several that end": {
			path: two, connects: 2, seen: "a processing, b processing, a completed, b failed",
		},
		"one that is not there among them": {
			path: two + "&job=" + jobC, ends: true, connects: 2, seen: "c not_found, a completed, b failed",
		},
		"one twice": {
			path: two + "&job=" + jobA, ends: true, connects: 2, seen: "a completed, b failed",
		},
		"an ID that is none": {path: one, lastID: "nonsense", ends: true, connects: 2, seen: "a completed"},
		"a negative ID":      {path: one, lastID: "-1", ends: true, connects: 2, seen: "a completed"},
		"an ID too large": {
			path: one, lastID: "99999999999999999999", ends: true, connects: 2, seen: "a completed",
		},
		"a version that the log never had": {path: one, lastID: "1000", ends: true, connects: 2, seen: "a completed"},
		"several, an ID that is none": {
			path: two, lastID: "nonsense", ends: true, connects: 2, seen: "a completed, b failed",
		},
		"several, a single one's ID": {
			path: two, lastID: "30", ends: true, connects: 2, seen: "a completed, b failed",
		},
		"several, an ID that is cut": {
			path: two, lastID: "AQ", ends: true, connects: 2, seen: "a completed, b failed",
		},
		"several, a cursor of other jobs": {
			path: two, lastID: "AQAAAAACAg", ends: true, connects: 2, seen: "a completed, b failed",
		},
		"several, a cursor in the wrong way": {
			path: two + "&job=" + jobC, lastID: "%%%", ends: true, connects: 2,
			seen: "c not_found, a completed, b failed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(t *testing.T, w *world) {
				end := func() {
					w.tracker.set("local", jobA, 30, job.Completed)
					w.tracker.set("local", jobB, 31, job.Failed)
				}
				if c.ends {
					end()
				} else {
					w.tracker.set("local", jobA, 20, job.Processing)
					w.tracker.set("local", jobB, 21, job.Processing)
				}
				s := w.source(c.path, c.lastID)
				time.Sleep(10 * time.Second)
				if !c.ends {
					s.mu.Lock()
					if s.status != 0 || s.connects != 1 {
						t.Errorf("status %d, %d connections while the jobs run", s.status, s.connects)
					}
					s.mu.Unlock()
					end()
				}
				s.wantStopped("all has ended", http.StatusNoContent, c.connects)
				s.wantSeen("each once", jobNames, c.seen)
			})
		})
	}
}

// TestAnEventSourceComesBack: it is told what is newer, and nothing twice.
func TestAnEventSourceComesBack(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for i, id := range []string{jobA, jobB, jobC} {
			w.tracker.set("local", id, int64(10+i), job.Processing)
		}
		s := w.source("/v1/events?job="+jobA+"&job="+jobB+"&job="+jobC+"&job="+jobD, "")
		time.Sleep(time.Second)
		w.tracker.set("local", jobB, 20, job.Completed)
		s.wantSeen("at first", jobNames, "d not_found, a processing, b processing, c processing, b completed")
		s.drop()
		synctest.Wait()
		w.tracker.set("local", jobA, 30, job.Retrying)
		time.Sleep(5 * time.Second)
		s.wantSeen("d may be there by now, and is not", jobNames,
			"d not_found, a processing, b processing, c processing, b completed, d not_found, a retrying")
		w.tracker.set("local", jobC, 40, job.Failed)
		w.tracker.set("local", jobA, 41, job.Cancelled)
		s.wantStopped("all has ended", http.StatusNoContent, 3)
		s.wantSeen("each once", jobNames,
			"d not_found, a processing, b processing, c processing, b completed, d not_found, a retrying, c failed, a cancelled")
	})
}

// TestTheCursorOfManyJobsIsBounded: it goes into a header.
func TestTheCursorOfManyJobsIsBounded(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		const jobs = 300
		path, ids := "/v1/events?", make([]string, jobs)
		for i := range ids {
			ids[i] = fmt.Sprintf("01a208fd-2dc6-7467-acd5-%012x", i)
			path += "&job=" + ids[i]
			w.tracker.set("local", ids[i], int64(1_000_000_000+i), job.Completed)
		}
		s := w.source(path, "")
		s.wantStopped("all has ended", http.StatusNoContent, 2)
		if len(s.events) != jobs || len(s.lastID) > 8*jobs {
			t.Errorf("%d events, an ID of %d characters", len(s.events), len(s.lastID))
		}
	})
}
