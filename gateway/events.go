package gateway

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/sse"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

const lastEventID = "Last-Event-ID"

// getJobEvents is GET /v1/jobs/{id}/events. A client that comes back names the last version
// that it has seen.
func (g *Gateway) getJobEvents(w http.ResponseWriter, r *http.Request) {
	id, ok := g.identify(w, r, auth.Read)
	if !ok {
		return
	}
	jobID := r.PathValue("id")
	if !validJobID(jobID) {
		g.problem(w, frame.NewProblem(code.NotFound, ""))
		return
	}
	var after int64
	if last := r.Header.Get(lastEventID); last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < 0 {
			g.problem(w, frame.NewProblem(code.InvalidFrame, lastEventID+" must be a version"))
			return
		}
		after = n
	}
	watches := []sse.Watch{{JobID: jobID, After: after}}
	g.serveEvents(w, r, id, len(watches), after, func() *sse.Stream { return sse.New(g.hub, id.Tenant, watches) })
}

// getEvents is GET /v1/events?job=…&job=…: many jobs in one stream. A version says nothing of
// the other jobs, so a client that comes back is told the state of each now. With ?mine=true it
// is all jobs of the client's subject, from now on.
func (g *Gateway) getEvents(w http.ResponseWriter, r *http.Request) {
	id, ok := g.identify(w, r, auth.Read)
	if !ok {
		return
	}
	jobs, all, err := eventJobs(r.URL.RawQuery)
	switch {
	case err != nil:
		g.problem(w, frame.NewProblem(code.InvalidFrame, err.Error()))
		return
	case len(jobs) > g.cfg.Subscriptions:
		g.problem(w, frame.NewProblem(code.LimitExceeded, fmt.Sprintf("a stream may follow %d jobs", g.cfg.Subscriptions)))
		return
	}
	if all {
		g.serveEvents(w, r, id, 1, 0, func() *sse.Stream { return sse.NewMine(g.mine, id.Tenant, id.Subject) })
		return
	}
	watches := make([]sse.Watch, len(jobs))
	for i, jobID := range jobs {
		watches[i] = sse.Watch{JobID: jobID}
	}
	g.serveEvents(w, r, id, len(watches), 0, func() *sse.Stream { return sse.New(g.hub, id.Tenant, watches) })
}

// eventJobs reads which jobs are to be followed: some, or all of the client's subject.
func eventJobs(query string) (jobs []string, all bool, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, false, errors.New("the query cannot be read")
	}
	for name := range values {
		if name != "job" && name != "mine" {
			return nil, false, fmt.Errorf("%.64q is not a parameter here", name)
		}
	}
	if of, ok := values["mine"]; ok {
		if len(of) != 1 || of[0] != "true" || len(values["job"]) > 0 {
			return nil, false, errors.New("mine is true, once, and without job")
		}
		return nil, true, nil
	}
	for _, jobID := range values["job"] {
		if !validJobID(jobID) {
			return nil, false, fmt.Errorf("job: %.64q is not a job ID", jobID)
		}
		if !slices.Contains(jobs, jobID) {
			jobs = append(jobs, jobID)
		}
	}
	if len(jobs) == 0 {
		return nil, false, errors.New("job is missing")
	}
	return jobs, false, nil
}

// serveEvents streams what begin follows, which takes so many watches, until all jobs have
// ended. Jobs that cannot be followed are told of in the stream, unless none can.
func (g *Gateway) serveEvents(w http.ResponseWriter, r *http.Request, id auth.Identity, watches int, after int64, begin func() *sse.Stream) {
	if err := g.pace.turn(r.Context()); err != nil {
		g.problem(w, err)
		return
	}
	if err := g.limits.OpenSession(id.Tenant, id.Subject); err != nil {
		g.problem(w, err)
		return
	}
	defer g.limits.CloseSession(id.Tenant, id.Subject)
	if err := g.limits.Ask(id.Tenant, id.Subject, watches); err != nil {
		g.problem(w, err)
		return
	}
	if !g.limits.Watch(id.Tenant, watches) {
		g.problem(w, frame.NewProblem(code.LimitExceeded, "the tenant watches as many jobs as it may"))
		return
	}
	defer g.limits.Watch(id.Tenant, -watches)
	s := begin()
	defer s.Close()
	ctx, cancel := g.untilDrain(r.Context(), readTimeout)
	answers, err := s.Answers(ctx)
	cancel()
	if err != nil {
		g.problem(w, unavailable("the tracker does not answer"))
		return
	}
	var refused []sse.Answer
	for _, a := range answers {
		if a.Error != "" {
			refused = append(refused, a)
		}
	}
	if len(refused) == len(answers) {
		p := frame.NewProblem(refused[0].Error, "")
		if p.Retryable {
			p.RetryAfter = retryAfter.Seconds()
		}
		g.problem(w, p)
		return
	}
	if len(answers) == 1 && after > 0 && s.Finished() {
		// It has ended, and the client has seen that. An EventSource that is told 204 does
		// not come back (WHATWG HTML §9.2.3).
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		return
	}
	opts := sse.Options{
		KeepAlive: g.cfg.PingInterval, Drain: g.drain, Sent: g.metrics.Sent,
		ReconnectAfter: time.Duration(rand.Int64N(int64(maxReconnectAfter))),
	}
	if !id.Anonymous() {
		opts.Token = sse.Token{Expires: id.Expires, Warn: time.Now().Add(id.UntilWarning()), Over: time.Now().Add(id.UntilOver())}
	}
	g.metrics.eventStreams.Inc()
	why := s.Serve(r.Context(), w, opts, refused)
	g.metrics.eventStreams.Dec()
	g.metrics.eventStreamEnds.WithLabelValues(string(why)).Inc()
}
