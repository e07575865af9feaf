package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// lists are the routes of all jobs of a tenant.
type lists struct {
	*door
	backlogs *backlogs
}

// listJobs handles GET /v1/jobs.
func (ls *lists) listJobs(w http.ResponseWriter, r *http.Request) {
	id, ok := ls.identify(w, r, auth.Read)
	if !ok {
		return
	}
	done, err := ls.beginList(id)
	if err != nil {
		ls.problem(w, err)
		return
	}
	defer done() // once the page is written
	page, err := ls.list(r, id)
	if err != nil {
		ls.problem(w, err)
		return
	}
	ls.answerList(w, page)
}

func (ls *lists) list(r *http.Request, id auth.Identity) (*frame.JobList, error) {
	req, err := listRequest(r, id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), ls.cfg.ReadTimeout)
	defer cancel()
	listed, err := ls.cfg.Trackers.List(ctx, req)
	if err != nil {
		return nil, queryProblem(err)
	}
	page := &frame.JobList{Jobs: make([]json.RawMessage, 0, len(listed.Jobs)), AsOf: unixTime(listed.AsOf)}
	for _, j := range listed.Jobs {
		page.Jobs = append(page.Jobs, j.Job.Document)
		page.Versions = append(page.Versions, j.Job.Version)
	}
	if listed.Through != nil {
		page.NextCursor = encodeCursor(listed.Through, req)
	}
	return page, nil
}

// ofTenant returns who asks about a tenant's jobs, which needs a permission, with the query, which may have these
// parameters, and the tenant. If ok is false it has answered the request.
func (ls *lists) ofTenant(
	w http.ResponseWriter, r *http.Request, needed auth.Permissions, parameters ...string,
) (id auth.Identity, q url.Values, tenant string, ok bool) {
	if id, ok = ls.identify(w, r, needed); !ok {
		return id, nil, "", false
	}
	q, err := readQuery(r, parameters...)
	if err == nil {
		tenant, err = tenantOf(q, id)
	}
	if err != nil {
		ls.problem(w, err)
	}
	return id, q, tenant, err == nil
}

// getStats handles GET /v1/stats.
func (ls *lists) getStats(w http.ResponseWriter, r *http.Request) {
	id, q, tenant, ok := ls.ofTenant(w, r, auth.Read, tenantParam, tagParam)
	if !ok {
		return
	}
	tags, err := tagsOf(q)
	if err != nil {
		ls.problem(w, err)
		return
	}
	if err := ls.cfg.Limits.List(id.Tenant, id.Account()); err != nil {
		ls.problem(w, err)
		return
	}
	stats, err := ls.stats(r.Context(), id, tenant, tags)
	if err != nil {
		ls.problem(w, err)
		return
	}
	ls.answer(w, stats)
}

func (ls *lists) stats(
	ctx context.Context, id auth.Identity, tenant string, tags []*trackerpb.Tag,
) (*frame.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, ls.cfg.ReadTimeout)
	defer cancel()
	names := ls.cfg.Types.Lanes()
	lanes, err := ls.backlogs.sum(ctx, names...)
	if err != nil {
		return nil, err
	}
	counted, err := ls.cfg.Trackers.Stats(ctx, tenant, id.Scope(auth.Read).Proto(), tags)
	if err != nil {
		return nil, queryProblem(err)
	}
	stats := &frame.Stats{Counts: []frame.Count{}, Lanes: []frame.Lane{}, AsOf: unixTime(counted.AsOf)}
	for _, c := range counted.Counts {
		if c.Jobs > 0 {
			stats.Counts = append(stats.Counts, frame.Count{Type: c.Type, Lane: c.Lane, State: job.State(c.State), Jobs: c.Jobs})
		}
	}
	waits := map[string]time.Time{}
	for _, w := range counted.Waits {
		waits[w.Lane] = unixTime(w.Since)
	}
	now := time.Now()
	for _, name := range names {
		l := lanes[name].seenBy(id)
		shown := frame.Lane{Lane: name, Workers: l.workers, Waiting: l.waiting}
		if since, ok := waits[name]; ok && l.waiting > 0 {
			since = sinceSeenBy(id, since, now)
			shown.OldestSince = &since
		}
		stats.Lanes = append(stats.Lanes, shown)
	}
	return stats, nil
}

// answerList writes a page without making a copy of it: it writes the trackers' documents one by one, and releases each
// once it is written, since a client may read slowly.
func (ls *lists) answerList(w http.ResponseWriter, page *frame.JobList) {
	jobs := page.Jobs
	page.Jobs = []json.RawMessage{}
	rest, err := plainjson.Marshal(page)
	if err != nil {
		ls.problem(w, fmt.Errorf("encode answer: %w", err))
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

// listBytes is how much of the budget a page takes, from its request until it is written: the documents, and their
// encoding.
const listBytes = 2 * upstream.MaxPageBytes

// beginList admits a user's request for a page, until done is called. The error says why it is refused.
func (ls *lists) beginList(id auth.Identity) (done func(), err error) {
	if err := ls.cfg.Limits.List(id.Tenant, id.Account()); err != nil {
		return nil, err
	}
	account := ls.cfg.Waiting.Open(id.Tenant, id.Account())
	if !account.Take(listBytes) {
		account.Close()
		ls.cfg.TurnedAway(limits.ListBytes)
		p := frame.NewProblem(code.Overloaded, "too many pages of the user or tenant are not read yet")
		p.RetryAfter = problem.RetryAfter.Seconds()
		return nil, p
	}
	return account.Close, nil
}
