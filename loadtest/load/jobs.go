package load

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/loadtest/history"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/schemas/job"
)

// openJobs holds the acked jobs whose end is not known. Ended jobs are removed: the history has them.
type openJobs struct {
	mu   sync.Mutex // guards all below
	jobs map[string]*openJob
}

type openJob struct {
	of      measure.Of
	client  int
	acked   time.Time
	watched bool      // its submitter's socket follows it
	asked   time.Time // when it was read last
}

func (j *openJobs) add(id string, o *openJob) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.jobs[id] = o
}

// take removes a job; nil if it is not there.
func (j *openJobs) take(id string) *openJob {
	j.mu.Lock()
	defer j.mu.Unlock()
	o := j.jobs[id]
	delete(j.jobs, id)
	return o
}

func (j *openJobs) unwatched(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if o := j.jobs[id]; o != nil {
		o.watched = false
	}
}

func (j *openJobs) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.jobs)
}

// due returns at most most jobs for which wanted is true, each at most once in sweepEvery.
func (j *openJobs) due(most int, wanted func(*openJob) bool) map[string]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	out := map[string]int{}
	for id, o := range j.jobs {
		if len(out) >= most {
			break
		}
		if now.Sub(o.asked) >= sweepEvery && wanted(o) {
			o.asked = now
			out[id] = o.client
		}
	}
	return out
}

// forget removes the jobs for which unwanted is true.
func (j *openJobs) forget(unwanted func(*openJob) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, o := range j.jobs {
		if unwanted(o) {
			delete(j.jobs, id)
		}
	}
}

// ended records a job's end, once.
func (r *run) ended(jobID string, state job.State) {
	if o := r.jobs.take(jobID); o != nil {
		r.lastEnd.Store(time.Now().UnixNano())
		r.rec.Ended(o.of, state)
	}
}

// api returns an HTTP client with a client's identity, of one gateway after the other.
func (r *run) api(client int) (*ackwire.HTTPClient, error) {
	opts := []ackwire.Option{ackwire.WithHTTPClient(r.getter)}
	if r.cfg.Token != nil {
		opts = append(opts, ackwire.WithTokenSource(func(context.Context) (string, error) { return r.token(client) }))
	}
	return ackwire.NewHTTP(r.gateway(int(r.getTurn.Add(1))), opts...)
}

// get reads a job with a client's identity, at one gateway after the other, and records the
// answer. The code is 0 when there was none.
func (r *run) get(ctx context.Context, jobID string, client int) (state job.State, httpCode int) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	api, err := r.api(client)
	var st ackwire.Status
	if err == nil {
		st, err = api.Job(jobID).Get(ctx)
	}
	rec := history.Record{Kind: history.Get, Client: client, Job: jobID}
	e, answered := errors.AsType[*ackwire.Error](err)
	switch {
	case err == nil:
		rec.Code, rec.Version, rec.State = http.StatusOK, st.Version, st.State
		rec = rec.WithAttempts(st.Attempt, st.Error, st.Attempts).WithTotals(st.Streams)
	case answered && e.Status != 0:
		rec.Code, rec.Text = e.Status, string(e.Code)
	case ctx.Err() != nil && r.ctx.Err() != nil:
		return "", 0 // because the run has ended
	default:
		rec.Text = "no answer"
	}
	r.hist.Add(rec)
	if rec.Code != http.StatusOK && rec.Code != http.StatusNotFound {
		r.rec.Error("get: " + rec.Text)
		r.fault("a GET was answered %s", rec.Text)
	}
	if rec.Code != 0 && rec.Code < http.StatusInternalServerError {
		r.lastAnswer.Store(time.Now().UnixNano())
	}
	if rec.State.Terminal() {
		r.ended(jobID, rec.State)
	}
	return rec.State, rec.Code
}

// sampleGet reads a job that was just acked.
func (r *run) sampleGet(jobID string, client int) {
	select {
	case r.gets <- struct{}{}:
	default:
		r.rec.GetSkipped()
		return
	}
	r.wg.Go(func() {
		defer func() { <-r.gets }()
		began := time.Now()
		if _, code := r.get(r.ctx, jobID, client); code == http.StatusOK {
			r.rec.Took(measure.Get, time.Since(began))
		}
	})
}

// readAll reads jobs in parallel and waits for all.
func (r *run) readAll(ctx context.Context, jobs map[string]int) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for id, client := range jobs {
		select {
		case r.gets <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			defer func() { <-r.gets }()
			r.get(ctx, id, client)
		})
	}
}
