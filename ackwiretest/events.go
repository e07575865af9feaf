package ackwiretest

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// follower is the state of one event stream (server-sent events, WHATWG HTML §9.2). It follows some jobs, each to its
// end, or all jobs.
type follower struct {
	all  bool
	jobs []*record // unless all: the jobs whose end was not sent yet
	// told is the version up to which all changes were sent. The server counts versions over all its jobs, so one
	// number is enough for many jobs.
	told    int64
	knows   bool      // the client has sent a valid Last-Event-ID for these jobs
	refused []refusal // jobs that do not exist
	many    string    // suffix of the events' IDs; empty for the stream of one job, whose IDs are versions
}

// refusal is a job that cannot be followed.
type refusal struct {
	JobID string    `json:"jobId"`
	Error code.Code `json:"error"`
}

// status is a document that is to be written.
type status struct {
	job     *record
	version int64
	doc     []byte
	ended   bool
}

// streamJob handles GET /v1/jobs/{id}/events.
func (s *Server) streamJob(w http.ResponseWriter, q *http.Request) {
	s.mu.Lock()
	r := s.findLocked(whoOf(q), q.PathValue("id"))
	f := &follower{jobs: []*record{r}}
	if version, err := strconv.ParseInt(q.Header.Get("Last-Event-ID"), 10, 64); err == nil && r != nil {
		f.knows = version > 0 && version <= r.version // else the version belongs to another server's log
		if f.knows {
			f.told = version
		}
	}
	s.mu.Unlock()
	if r == nil {
		problem(w, frame.NewProblem(code.NotFound, ""))
		return
	}
	s.stream(w, q, f)
}

// streamJobs handles GET /v1/events?job=…&job=…, and ?mine=true.
func (s *Server) streamJobs(w http.ResponseWriter, q *http.Request) {
	asked, err := frame.ParseEventsQuery(q.URL.RawQuery)
	ids, all := asked.Jobs, asked.Mine
	switch {
	case err != nil:
		problem(w, frame.NewProblem(code.InvalidFrame, err.Error()))
		return
	case len(ids) > frame.MaxSubscriptions:
		problem(w, frame.NewProblem(code.LimitExceeded, fmt.Sprintf("a stream may follow %d jobs", frame.MaxSubscriptions)))
		return
	}
	who := whoOf(q)
	if all {
		if err := who.checkMine(); err != nil {
			problem(w, err)
			return
		}
	}
	f := &follower{all: all}
	last := q.Header.Get("Last-Event-ID")
	s.mu.Lock()
	if all {
		f.told = s.version
	} else {
		f.many = fmt.Sprintf("-%08x", crc32.ChecksumIEEE([]byte(strings.Join(ids, "\n"))))
		for _, id := range ids {
			if r := s.findLocked(who, id); r != nil {
				f.jobs = append(f.jobs, r)
			} else {
				f.refused = append(f.refused, refusal{id, code.NotFound})
			}
		}
	}
	digits, ok := strings.CutSuffix(last, f.many)
	if version, err := strconv.ParseInt(digits, 10, 64); ok && err == nil && version >= 0 && version <= s.version {
		f.knows, f.told = true, version
	}
	s.mu.Unlock()
	s.stream(w, q, f)
}

// stream writes events until all jobs have ended, the client leaves, or the server cuts its connections.
func (s *Server) stream(w http.ResponseWriter, q *http.Request, f *follower) {
	s.mu.Lock()
	cut := s.cut
	due, over := s.dueLocked(f)
	s.mu.Unlock()
	switch {
	case over && len(due) == 0 && f.knows:
		w.WriteHeader(http.StatusNoContent) // the client has everything: an EventSource does not reconnect after 204
		return
	case over && len(due) == 0: // none of the jobs exists
		problem(w, frame.NewProblem(code.NotFound, ""))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if q.Method == http.MethodHead {
		return
	}
	fmt.Fprint(w, "retry: 1000\n\n")
	for i, r := range f.refused {
		if i == len(f.refused)-1 {
			fmt.Fprintf(w, "id: %d%s\n", f.told, f.many)
		}
		named(w, "refused", r)
	}
	keepAlive := time.NewTicker(pingInterval)
	defer keepAlive.Stop()
	var warned, ended <-chan time.Time
	who := whoOf(q)
	warning, end := who.over()
	if !end.IsZero() {
		warned, ended = time.After(time.Until(warning)), time.After(time.Until(end))
	}
	flush := http.NewResponseController(w)
	for {
		s.mu.Lock()
		due, over := s.dueLocked(f)
		changed := s.changed
		s.mu.Unlock()
		f.write(w, due)
		if flush.Flush() != nil || over {
			return
		}
		select {
		case <-changed:
		case <-keepAlive.C:
			fmt.Fprint(w, ": still here\n\n")
		case <-warned:
			named(w, "expiring", frame.NewExpiring(who.expires, time.Until(end)))
		case <-ended:
			named(w, "error", frame.NewProblem(code.Unauthenticated, "the token has expired"))
			return
		case <-cut:
			panic(http.ErrAbortHandler)
		case <-q.Context().Done():
			return
		case <-s.ctx.Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// named writes an event that is no status.
func named(w http.ResponseWriter, name string, v any) {
	b, _ := plainjson.Marshal(v) // it always marshals
	fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, b)
}

// dueLocked returns the statuses that were not sent yet, the oldest change first. over reports that none follows after
// them.
func (s *Server) dueLocked(f *follower) (due []status, over bool) {
	jobs := s.order
	if !f.all {
		f.jobs = slices.DeleteFunc(f.jobs, func(r *record) bool { return r.doc.State.Terminal() && r.version <= f.told })
		jobs = f.jobs
	}
	over = !f.all
	for _, r := range jobs {
		ended := r.doc.State.Terminal()
		over = over && ended
		if r.version > f.told && s.records[r.doc.JobID] == r {
			due = append(due, status{r, r.version, r.raw, ended})
		}
	}
	slices.SortFunc(due, func(a, b status) int { return int(a.version - b.version) })
	return due, over
}

// write writes statuses. In a stream of all jobs the cursor is sent as an ID after the events, in the others each event
// has an ID. After its end a job is not followed any more, even if it is retried.
func (f *follower) write(w http.ResponseWriter, due []status) {
	for _, e := range due {
		f.told = e.version
		if !f.all {
			fmt.Fprintf(w, "id: %d%s\n", f.told, f.many)
		}
		fmt.Fprintf(w, "event: status\ndata: %s\n\n", e.doc)
		if e.ended {
			f.jobs = slices.DeleteFunc(f.jobs, func(r *record) bool { return r == e.job })
		}
	}
	if f.all && len(due) > 0 {
		fmt.Fprintf(w, "id: %d\n\n", f.told)
	}
}
