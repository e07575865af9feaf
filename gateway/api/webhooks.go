package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/fleet"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/webhook"
)

// Bounds of the answer of GET /v1/webhooks. The URL of a webhook is only in what was submitted, so that each failed one
// costs a read of Kafka.
const (
	webhooksSince     = 24 * time.Hour // how old failed webhooks may be unless the client says
	maxFailedWebhooks = 100            // that are looked at
	maxWebhookReads   = 4              // at a time
	maxWebhookTenants = 10             // whose failed webhooks are looked at
	maxPausedShown    = 200            // endpoints
	maxEndpointNames  = 20             // of workers and of jobs
)

// getWebhooks handles GET /v1/webhooks.
func (ws *workers) getWebhooks(w http.ResponseWriter, r *http.Request) {
	id, q, done, ok := ws.operator(w, r, tenantParam, "since")
	if !ok {
		return
	}
	defer done()
	since, err := milliseconds(q, "since")
	if err != nil {
		ws.problem(w, err)
		return
	}
	tenant, err := tenantOf(q, id)
	if err != nil {
		ws.problem(w, err)
		return
	}
	if since == 0 {
		since = time.Now().Add(-webhooksSince).UnixMilli()
	}
	ctx, cancel := context.WithTimeout(r.Context(), pastTimeout)
	defer cancel()
	all := newEndpoints(since)
	if err = ws.paused(ctx, all, tenant, q.Has(tenantParam)); err == nil {
		err = ws.failed(ctx, id, all)
	}
	if err != nil {
		ws.problem(w, err)
		return
	}
	ws.answer(w, all.answer())
}

// endpoints gathers what is known of endpoints.
type endpoints struct {
	frame.Webhooks
	rows map[endpointName]*frame.WebhookEndpoint
}

type endpointName struct{ tenant, endpoint string }

func newEndpoints(since int64) *endpoints {
	return &endpoints{Webhooks: frame.Webhooks{Since: unixTime(since)}, rows: map[endpointName]*frame.WebhookEndpoint{}}
}

func (e *endpoints) row(tenant, endpoint string) *frame.WebhookEndpoint {
	name := endpointName{tenant, endpoint}
	if e.rows[name] == nil {
		e.rows[name] = &frame.WebhookEndpoint{Tenant: tenant, Endpoint: endpoint}
	}
	return e.rows[name]
}

// paused adds the endpoints that workers have paused: of the tenant if only that is asked for, or else of all. It
// chooses the tenants whose failed webhooks are looked at.
func (ws *workers) paused(ctx context.Context, all *endpoints, tenant string, only bool) error {
	told, err := ws.cfg.Fleet.Workers(ctx)
	if err != nil {
		return fleetProblem(err)
	}
	all.AsOf, all.Truncated = unixTime(told.AsOf), told.Truncated
	all.Tenants = []string{tenant}
	for _, t := range told.Workers {
		a, err := fleet.Decode(t.Announced)
		if err != nil { // it has announced nothing, or is of another release
			continue
		}
		all.Truncated = all.Truncated || a.PausedMore
		for _, p := range a.Paused {
			if only && p.Tenant != tenant || !p.Until.After(time.Now()) {
				continue
			}
			all.pause(t.Name, &p)
		}
	}
	return nil
}

func (e *endpoints) pause(worker string, p *fleet.Paused) {
	if e.rows[endpointName{p.Tenant, p.Endpoint}] == nil && len(e.rows) == maxPausedShown {
		e.Truncated = true
		return
	}
	if !slices.Contains(e.Tenants, p.Tenant) {
		if len(e.Tenants) < maxWebhookTenants {
			e.Tenants = append(e.Tenants, p.Tenant)
		} else {
			e.Truncated = true
		}
	}
	row, until := e.row(p.Tenant, p.Endpoint), p.Until.UTC()
	if row.PausedUntil == nil || until.After(*row.PausedUntil) {
		row.PausedUntil = &until
	}
	row.Failures = max(row.Failures, p.Failures)
	if len(row.PausedBy) < maxEndpointNames {
		row.PausedBy = append(row.PausedBy, worker)
	}
}

// failed adds the failed webhooks of the chosen tenants.
func (ws *workers) failed(ctx context.Context, id auth.Identity, all *endpoints) error {
	each := maxFailedWebhooks / len(all.Tenants)
	for _, tenant := range all.Tenants {
		listed, err := ws.cfg.Trackers.List(ctx, &trackerpb.ListRequest{Tenant: tenant, Types: []string{topic.WebhookType},
			States: []string{string(job.Failed)}, CreatedFrom: all.Since.UnixMilli(), Limit: int32(each)})
		if err != nil {
			return queryProblem(err)
		}
		if asOf := unixTime(listed.AsOf); asOf.Before(all.AsOf) {
			all.AsOf = asOf
		}
		all.Truncated = all.Truncated || listed.Through != nil
		if n := len(listed.Jobs); n > 0 { // each costs a question to a tracker
			if err := ws.cfg.Limits.Ask(id.Tenant, id.Account(), n); err != nil {
				return err
			}
		}
		if err := ws.addFailed(ctx, all, tenant, listed.Jobs); err != nil {
			return err
		}
	}
	return nil
}

// addFailed adds webhooks to their endpoints, the newest first.
func (ws *workers) addFailed(ctx context.Context, all *endpoints, tenant string, jobs []*trackerpb.ListedJob) error {
	at := make([]string, len(jobs))
	known := make([]bool, len(jobs))
	reads, ctx := errgroup.WithContext(ctx)
	reads.SetLimit(maxWebhookReads)
	for i, j := range jobs {
		reads.Go(func() (err error) {
			at[i], known[i], err = ws.endpointOf(ctx, tenant, j.Job.JobId)
			return err
		})
	}
	if err := reads.Wait(); err != nil {
		return problem.OfTracker(err)
	}
	for i, j := range jobs {
		if known[i] {
			all.fail(tenant, at[i], j)
		}
	}
	return nil
}

// endpointOf returns the endpoint of a webhook's job; it is empty if what was submitted is not kept any more. known is
// false if there is no such job any more.
func (ws *workers) endpointOf(ctx context.Context, tenant, jobID string) (endpoint string, known bool, err error) {
	get := auth.TenantScope(tenant).GetRequest(jobID)
	got, err := ws.cfg.Past.Payload(ctx, &trackerpb.PayloadRequest{JobId: jobID, Tenant: get.Tenant, Scope: get.Scope})
	if connect.CodeOf(err) == connect.CodeNotFound && err != nil {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	var submitted struct {
		URL string `json:"url"`
	}
	if json.Unmarshal(got.Payload, &submitted) != nil || webhook.CheckURL(submitted.URL) != nil {
		return "", true, nil
	}
	u, err := url.Parse(submitted.URL)
	if err != nil {
		return "", true, nil
	}
	return fleet.Endpoint(u.Scheme+"://"+u.Host, "/"+strings.TrimPrefix(u.EscapedPath(), "/")), true, nil
}

func (e *endpoints) fail(tenant, endpoint string, j *trackerpb.ListedJob) {
	row, made := e.row(tenant, endpoint), unixTime(j.Created)
	row.Failed++
	if len(row.Jobs) < maxEndpointNames {
		row.Jobs = append(row.Jobs, j.Job.JobId)
	}
	row.FirstAt = &made
	if row.LastAt == nil {
		row.LastAt = &made
		if doc, err := upstream.Document(j.Job); err == nil {
			row.LastError = doc.Error
		}
	}
}

// answer returns all that was gathered.
func (e *endpoints) answer() frame.Webhooks {
	all := e.Webhooks
	all.Endpoints = []frame.WebhookEndpoint{}
	for _, row := range e.rows {
		all.Endpoints = append(all.Endpoints, *row)
	}
	slices.SortFunc(all.Endpoints, func(a, b frame.WebhookEndpoint) int {
		return cmp.Or(rank(a)-rank(b), cmp.Compare(b.Failed, a.Failed), cmp.Compare(b.Failures, a.Failures),
			cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	return all
}

func rank(e frame.WebhookEndpoint) int {
	if e.PausedUntil != nil {
		return 0
	}
	return 1
}
