package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// listJobs handles GET /v1/jobs.
func (g *Gateway) listJobs(w http.ResponseWriter, r *http.Request) {
	id, ok := g.identify(w, r, auth.Read)
	if !ok {
		return
	}
	done, err := g.beginList(id)
	if err != nil {
		g.problem(w, err)
		return
	}
	defer done() // once the page is written
	page, err := g.list(r, id)
	if err != nil {
		g.problem(w, err)
		return
	}
	g.answerList(w, page)
}

func (g *Gateway) list(r *http.Request, id auth.Identity) (*frame.JobList, error) {
	req, err := listRequest(r, id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), g.readTimeout())
	defer cancel()
	listed, err := g.up.List(ctx, req)
	if err != nil {
		return nil, queryProblem(err)
	}
	page := &frame.JobList{Jobs: make([]json.RawMessage, 0, len(listed.Jobs)), AsOf: unixTime(listed.AsOf)}
	for _, j := range listed.Jobs {
		page.Jobs = append(page.Jobs, j.Job.Document)
	}
	if listed.Through != nil {
		page.NextCursor = encodeCursor(listed.Through, req)
	}
	return page, nil
}

// getStats handles GET /v1/stats.
func (g *Gateway) getStats(w http.ResponseWriter, r *http.Request) {
	id, ok := g.identify(w, r, auth.Read)
	if !ok {
		return
	}
	q, err := readQuery(r, tenantParam)
	if err != nil {
		g.problem(w, err)
		return
	}
	tenant, err := tenantOf(q, id)
	if err != nil {
		g.problem(w, err)
		return
	}
	if err := g.limits.List(id.Tenant, id.Account()); err != nil {
		g.problem(w, err)
		return
	}
	stats, err := g.stats(r.Context(), id, tenant)
	if err != nil {
		g.problem(w, err)
		return
	}
	g.answer(w, stats)
}

func (g *Gateway) stats(ctx context.Context, id auth.Identity, tenant string) (*frame.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, g.readTimeout())
	defer cancel()
	names := g.types.Lanes()
	lanes, err := g.allLanes(ctx, names...)
	if err != nil {
		return nil, err
	}
	counted, err := g.up.Stats(ctx, tenant, id.Scope(auth.Read).Proto())
	if err != nil {
		return nil, queryProblem(err)
	}
	stats := &frame.Stats{Counts: []frame.Count{}, Lanes: []frame.Lane{}, AsOf: unixTime(counted.AsOf)}
	for _, c := range counted.Counts {
		if c.Jobs > 0 {
			stats.Counts = append(stats.Counts, frame.Count{Type: c.Type, Lane: c.Lane, State: job.State(c.State), Jobs: c.Jobs})
		}
	}
	for _, name := range names {
		l := lanes[name].seenBy(id)
		stats.Lanes = append(stats.Lanes, frame.Lane{Lane: name, Workers: l.workers, Waiting: l.waiting})
	}
	return stats, nil
}

// allLanes adds up the workers and requests of the present and the former system.
func (g *Gateway) allLanes(ctx context.Context, names ...string) (map[string]lane, error) {
	sum := map[string]lane{}
	for _, system := range g.lanes {
		found, err := g.askLanes(ctx, system, names...)
		if err != nil {
			return nil, err
		}
		for name, l := range found {
			sum[name] = lane{workers: sum[name].workers + l.workers, waiting: sum[name].waiting + l.waiting}
		}
	}
	return sum, nil
}

// askLanes is lanes.get with an error for clients.
func (g *Gateway) askLanes(ctx context.Context, system *lanes, names ...string) (map[string]lane, error) {
	found, err := system.get(ctx, names...)
	if err != nil {
		g.log.Warn("lanes are not known", "err", err)
		return nil, problem.Unavailable("Kafka does not answer")
	}
	return found, nil
}

// queryProblem returns the error for clients of a failed list or count. The query was checked before, so the error is
// never the client's fault.
func queryProblem(err error) error {
	if connect.CodeOf(err) == connect.CodeInvalidArgument {
		return fmt.Errorf("ask trackers: %w", err)
	}
	return problem.OfTracker(err)
}

// answerList writes a page without making a copy of it: it writes the trackers' documents one by one, and releases each
// once it is written, since a client may read slowly.
func (g *Gateway) answerList(w http.ResponseWriter, page *frame.JobList) {
	jobs := page.Jobs
	page.Jobs = []json.RawMessage{}
	rest, err := plainjson.Marshal(page)
	if err != nil {
		g.problem(w, fmt.Errorf("encode answer: %w", err))
		return
	}
	const head = `{"jobs":[`
	rest = rest[len(head):]
	size := len(head) + len(rest) + max(0, len(jobs)-1)
	for _, j := range jobs {
		size += len(j)
	}
	answerHead(w, size)
	_, err = io.WriteString(w, head)
	for i, j := range jobs {
		if i > 0 && err == nil {
			_, err = io.WriteString(w, ",")
		}
		if err == nil {
			_, err = w.Write(j)
		}
		jobs[i] = nil
	}
	if err == nil {
		_, _ = w.Write(rest)
	}
}

// answer writes v as the body of 200.
func (g *Gateway) answer(w http.ResponseWriter, v any) {
	b, err := plainjson.Marshal(v)
	if err != nil {
		g.problem(w, fmt.Errorf("encode answer: %w", err))
		return
	}
	answerHead(w, len(b))
	_, _ = w.Write(b)
}

func answerHead(w http.ResponseWriter, size int) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Length", strconv.Itoa(size))
	w.WriteHeader(http.StatusOK)
}

func unixTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
