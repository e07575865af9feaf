package ackwiretest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

const (
	maxBody = 1 << 20          // largest body of a submit, in bytes
	maxWait = 60 * time.Second // longest wait that a Prefer header may ask for
)

func (s *Server) routes() {
	s.handle("GET "+socketPath, s.serveSocket)
	s.handle("POST /v1/ws-tickets", s.postTicket)
	s.handle("POST /v1/grants", s.postGrant)
	s.handle("POST /v1/jobs", s.postJob, maySubmit)
	s.handle("POST /v1/jobs:batch", s.postBatch, maySubmit)
	s.handle("GET /v1/jobs", s.listJobs, mayRead)
	s.handle("POST /v1/bulk", s.postBulk)
	s.handle("GET /v1/workers", s.getWorkers, mayOperate)
	s.handle("GET /v1/stats", s.getStats, mayRead)
	s.handle("GET /v1/jobs/{id}", s.getJob, mayRead)
	s.handle("DELETE /v1/jobs/{id}", s.eraseJob, mayErase, mayRead)
	s.handle("GET /v1/jobs/{id}/why", s.withJob(s.getWhy), mayRead)
	s.handle("GET /v1/jobs/{id}/history", s.getHistory, mayRead)
	s.handle("GET /v1/jobs/{id}/payload", s.withJob(s.getPayload), mayRead, mayPayloads)
	s.handle("GET /v1/jobs/{id}/result", s.withJob(s.getResult), mayRead)
	s.handle("GET /v1/jobs/{id}/deliveries", s.withJob(func(w http.ResponseWriter, r record) {
		answer(w, http.StatusOK, frame.Deliveries{JobID: r.doc.JobID, Deliveries: []frame.Delivery{}})
	}), mayRead)
	s.handle("GET /v1/jobs/{id}/streams", s.listStreams, mayRead)
	s.handle("GET /v1/jobs/{id}/streams/{name}", s.readStream, mayRead)
	s.handle("GET /v1/jobs/{id}/events", s.streamJob, mayRead)
	s.handle("GET /v1/events", s.streamJobs, mayRead)
	for _, order := range []frame.Type{frame.Cancel, frame.Retry} {
		s.handle("POST /v1/jobs/{id}/"+string(order), func(w http.ResponseWriter, r *http.Request) {
			s.postOrder(w, r, order)
		})
	}
	s.handle("/", func(w http.ResponseWriter, _ *http.Request) {
		problem(w, frame.NewProblem(code.NotFound, "ackwiretest has no such route"))
	})
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		problem(w, frame.NewProblem(code.Unavailable, "the server is closed"))
		return
	}
	defer s.wg.Done()
	w.Header().Set("Referrer-Policy", "no-referrer")
	s.mux.ServeHTTP(w, r)
}

// enter counts a request, so that Close waits for it. It reports false once the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.wg.Add(1)
	return true
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = plainjson.Write(w, v) // the client has left
}

func problem(w http.ResponseWriter, err error) {
	w.Header().Set("Cache-Control", "no-store")
	p := problemOf(err)
	p.Status = p.Code.Info().HTTP
	if p.Code == code.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = plainjson.Write(w, p)
}

// withJob makes a handler for requests about one job. serve gets a copy of the job's record, so that no answer is
// written with mu held.
func (s *Server) withJob(serve func(w http.ResponseWriter, r record)) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		s.mu.Lock()
		r := s.findLocked(whoOf(q), q.PathValue("id"))
		if r == nil {
			s.mu.Unlock()
			problem(w, frame.NewProblem(code.NotFound, ""))
			return
		}
		now := *r
		s.mu.Unlock()
		serve(w, now)
	}
}

// readBody decodes a body of JSON, up to a limit in bytes. If it cannot, it answers as a gateway does, and returns
// false.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, body any) bool {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		problem(w, frame.NewProblem(code.UnsupportedMediaType, "the body must be application/json"))
		return false
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit)).Decode(body)
	if err == nil {
		return true
	}
	c := code.InvalidFrame
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		c = code.PayloadTooLarge
	}
	problem(w, frame.NewProblem(c, "the body cannot be read"))
	return false
}

// readKey sets key to the request's header Idempotency-Key, if it has one. If it is not valid, readKey answers so, and
// returns false.
func readKey(w http.ResponseWriter, r *http.Request, key *string) bool {
	k, err := frame.ParseKey(r.Header.Values(frame.KeyHeader))
	if err != nil {
		problem(w, frame.NewProblem(code.InvalidFrame, err.Error()))
		return false
	}
	if k != "" {
		*key = k
	}
	return true
}

func (s *Server) postJob(w http.ResponseWriter, r *http.Request) {
	var q frame.SubmitRequest
	if !readBody(w, r, maxBody, &q) || !readKey(w, r, &q.Key) {
		return
	}
	q.Traceparent, q.Tracestate = r.Header.Get(frame.TraceparentHeader), r.Header.Get(frame.TracestateHeader)
	if err := s.admit(r.Context()); err != nil {
		problem(w, err)
		return
	}
	s.mu.Lock()
	ack, made, err := s.submitLocked(whoOf(r), q)
	lost := err == nil && s.loseLocked()
	if err == nil && !ack.Duplicate {
		s.announceLocked(made)
	}
	s.mu.Unlock()
	if err != nil {
		problem(w, err)
		return
	}
	if lost {
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
	w.Header().Set("Location", ack.StatusURL)
	if wait := preferWait(r); wait > 0 {
		if version, doc, ended := s.await(r, made, wait); ended {
			writeDocument(w, version, doc)
			return
		}
	}
	answer(w, http.StatusAccepted, ack)
}

func (s *Server) postOrder(w http.ResponseWriter, r *http.Request, order frame.Type) {
	who := whoOf(r)
	if err := who.checkOrder(order); err != nil {
		problem(w, err)
		return
	}
	s.mu.Lock()
	ack, changed, err := s.orderLocked(who, order, r.PathValue("id"))
	if err == nil {
		s.changedLocked(changed)
	}
	s.mu.Unlock()
	if err != nil {
		problem(w, err)
		return
	}
	w.Header().Set("Location", ack.StatusURL)
	answer(w, http.StatusAccepted, ack)
}

func (s *Server) getJob(w http.ResponseWriter, q *http.Request) {
	s.mu.Lock()
	r := s.findLocked(whoOf(q), q.PathValue("id"))
	s.mu.Unlock()
	if r == nil {
		problem(w, frame.NewProblem(code.NotFound, ""))
		return
	}
	version, doc, _ := s.await(q, r, preferWait(q))
	writeDocument(w, version, doc)
}

// eraseJob removes an ended job. Its key is kept, and gives no other job.
func (s *Server) eraseJob(w http.ResponseWriter, q *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r := s.findLocked(whoOf(q), q.PathValue("id")); {
	case r == nil:
		problem(w, frame.NewProblem(code.NotFound, ""))
	case !r.doc.State.Terminal():
		problem(w, frame.NewProblem(code.InvalidState, fmt.Sprintf("the job is %s: it has not ended", r.doc.State)))
	default:
		r.stopTimers()
		s.removeLocked(r)
		w.WriteHeader(http.StatusNoContent)
	}
}

func writeDocument(w http.ResponseWriter, version int64, doc []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", strconv.Quote(strconv.FormatInt(version, 10)))
	_, _ = w.Write(doc)
}

// await returns a job's document when the job has ended, or the document at the end of wait.
func (s *Server) await(q *http.Request, r *record, wait time.Duration) (version int64, doc []byte, ended bool) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for over := wait <= 0; ; {
		s.mu.Lock()
		version, doc, ended = r.version, r.raw, r.doc.State.Terminal()
		changed := s.changed
		s.mu.Unlock()
		if ended || over {
			return version, doc, ended
		}
		select {
		case <-changed:
		case <-timeout.C:
			over = true
		case <-q.Context().Done():
			over = true
		case <-s.ctx.Done():
			over = true
		}
	}
}

// preferWait reads the header Prefer: wait=N (RFC 7240 §4.3), with N in seconds; 0 if it is absent or malformed.
func preferWait(r *http.Request) time.Duration {
	seconds, err := job.ParseSeconds(strings.TrimPrefix(r.Header.Get("Prefer"), "wait="), maxWait)
	if err != nil {
		return 0
	}
	return seconds
}

func (s *Server) getResult(w http.ResponseWriter, r record) {
	switch {
	case r.doc.State != job.Completed:
		problem(w, frame.NewProblem(code.InvalidState, fmt.Sprintf("the job is %s: it has no result", r.doc.State)))
	case r.file != nil:
		w.Header().Set("Content-Type", r.file.contentType)
		if r.file.name != "" {
			w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": r.file.name}))
		}
		_, _ = w.Write(r.file.content)
	default:
		result := r.doc.Result
		if len(result) == 0 {
			result = []byte("null")
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(result)
	}
}

func (s *Server) getWhy(w http.ResponseWriter, r record) {
	why := frame.Why{JobID: r.doc.JobID, State: r.doc.State, Lane: lane, AsOf: stamp(time.Now())}
	why.Reason, why.Detail = frame.Ended, "The job has ended."
	switch r.doc.State {
	case job.Pending, job.Queued:
		none, waiting := 0, s.count(job.Pending)
		why.Reason, why.Detail = frame.NoWorkers, "No worker takes jobs of this lane."
		why.Workers, why.Waiting = &none, &waiting
	case job.Scheduled:
		why.Reason, why.Detail, why.NextAt = frame.Scheduled, "The job's time has not come.", r.doc.RunAt
	case job.Retrying:
		why.Reason, why.Detail, why.NextAt = frame.WaitingForRetry, "An attempt failed; the next is not due.", r.doc.RetryAt
	case job.Processing:
		why.Reason, why.Detail = frame.Running, "A worker works on the job."
		if r.doc.CancelRequested {
			why.Reason, why.Detail = frame.Cancelling, "The job's handler was told to stop."
		}
	}
	answer(w, http.StatusOK, why)
}

func (s *Server) count(state job.State) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.countLocked(state)
}

func (s *Server) countLocked(state job.State) (n int64) {
	for _, r := range s.records {
		if r.doc.State == state {
			n++
		}
	}
	return n
}

// waitsSinceLocked returns since when the job that has waited longest does; nil if none waits.
func (s *Server) waitsSinceLocked() (since *time.Time) {
	for _, r := range s.records {
		if at := r.doc.UpdatedAt; r.doc.State == job.Pending && (since == nil || at.Before(*since)) {
			since = &at
		}
	}
	return since
}

func (s *Server) getStats(w http.ResponseWriter, q *http.Request) {
	who := whoOf(q)
	tags, err := readTags(q.URL.Query()["tag"])
	if err != nil {
		problem(w, frame.NewProblem(code.InvalidFrame, err.Error()))
		return
	}
	s.mu.Lock()
	counts := map[frame.Count]int64{}
	for _, r := range s.records {
		if !who.sees(r) || !tagged(r, tags) {
			continue
		}
		counts[frame.Count{Type: r.doc.Type, Lane: lane, State: r.doc.State}]++
	}
	stats := frame.Stats{
		Counts: []frame.Count{},
		Lanes:  []frame.Lane{{Lane: lane, Waiting: s.countLocked(job.Pending), OldestSince: s.waitsSinceLocked()}},
		AsOf:   stamp(time.Now()),
	}
	s.mu.Unlock()
	for c, n := range counts {
		c.Jobs = n
		stats.Counts = append(stats.Counts, c)
	}
	slices.SortFunc(stats.Counts, func(a, b frame.Count) int {
		return strings.Compare(a.Type+string(a.State), b.Type+string(b.State))
	})
	answer(w, http.StatusOK, stats)
}

func (s *Server) listJobs(w http.ResponseWriter, q *http.Request) {
	o, err := readList(q.URL.Query())
	if err != nil {
		problem(w, frame.NewProblem(code.InvalidFrame, err.Error()))
		return
	}
	who := whoOf(q)
	s.mu.Lock()
	list := frame.JobList{Jobs: []json.RawMessage{}, AsOf: stamp(time.Now())}
	from := len(s.order)
	if o.from >= 0 {
		from = min(from, o.from)
	}
	for i := from - 1; i >= 0; i-- {
		r := s.order[i]
		if s.records[r.doc.JobID] != r || !who.sees(r) || !o.takes(r) {
			continue
		}
		if len(list.Jobs) == o.limit {
			list.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(i + 1)))
			break
		}
		list.Jobs = append(list.Jobs, r.raw)
		list.Versions = append(list.Versions, r.version)
	}
	s.mu.Unlock()
	answer(w, http.StatusOK, list)
}

// listQuery is the parsed query of GET /v1/jobs.
type listQuery struct {
	values url.Values
	bounds map[string]time.Time // createdAfter and so on
	tags   []tag                // all of them
	limit  int
	from   int // from the cursor: only jobs before this index of Server.order; -1 for all
}

func readList(values url.Values) (listQuery, error) {
	o := listQuery{values: values, bounds: map[string]time.Time{}, limit: frame.DefaultListLimit, from: -1}
	for name, all := range values {
		first := all[0]
		var err error
		switch name {
		case "state":
			for _, s := range all {
				if !job.State(s).Valid() {
					err = fmt.Errorf("state: %.64q is not a state", s)
				}
			}
		case "type", "lane", "subject", "mine":
		case "tag":
			o.tags, err = readTags(all)
		case "createdAfter", "createdBefore", "updatedAfter", "updatedBefore":
			o.bounds[name], err = job.ParseTime(first)
		case "limit":
			o.limit, err = strconv.Atoi(first)
			if err != nil || o.limit < 1 || o.limit > frame.MaxListLimit {
				err = fmt.Errorf("limit must be 1 to %d", frame.MaxListLimit)
			}
		case "cursor":
			var b []byte
			if b, err = base64.RawURLEncoding.DecodeString(first); err == nil {
				o.from, err = strconv.Atoi(string(b))
			}
			if err != nil || o.from < 0 {
				err = errors.New("cursor is not one of this API")
			}
		default:
			err = fmt.Errorf("%.64q is not a parameter here", name)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

// tag is a tag that jobs must have.
type tag struct{ key, value string }

func readTags(all []string) (tags []tag, err error) {
	if len(all) > job.MaxTagFilters {
		return nil, fmt.Errorf("tag has more than %d values", job.MaxTagFilters)
	}
	for _, text := range all {
		key, value, err := job.ParseTag(text)
		if err != nil {
			return nil, fmt.Errorf("tag %.80q: %w", text, err)
		}
		tags = append(tags, tag{key, value})
	}
	return tags, nil
}

// tagged reports whether the job has all tags.
func tagged(r *record, all []tag) bool {
	return !slices.ContainsFunc(all, func(t tag) bool { return r.doc.Tags[t.key] != t.value })
}

func (o listQuery) takes(r *record) bool {
	if !tagged(r, o.tags) {
		return false
	}
	for name, is := range map[string]string{"state": string(r.doc.State), "type": r.doc.Type, "lane": lane} {
		if wanted := o.values[name]; len(wanted) > 0 && !slices.Contains(wanted, is) {
			return false
		}
	}
	for name, t := range o.bounds {
		at := r.doc.CreatedAt
		if strings.HasPrefix(name, "updated") {
			at = r.doc.UpdatedAt
		}
		if after := strings.HasSuffix(name, "After"); after && at.Before(t) || !after && !at.Before(t) {
			return false
		}
	}
	return true
}
