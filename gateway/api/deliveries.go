package api

import (
	"context"
	"net/http"
	"sync"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/webhook"
)

// getDeliveries handles GET /v1/jobs/{id}/deliveries: the job's last webhooks, with the document of each.
func (rd *reads) getDeliveries(w http.ResponseWriter, r *http.Request) {
	got, id, ok := rd.readNow(w, r, true)
	if !ok {
		return
	}
	if n := len(got.Deliveries); n > 0 { // each costs a request to a tracker
		if err := rd.cfg.Limits.Ask(id.Tenant, id.Account(), n); err != nil {
			rd.problem(w, err)
			return
		}
	}
	deliveries, err := rd.deliveries(r.Context(), id, got.Job.Tenant, got.Deliveries)
	if err != nil {
		rd.problem(w, problem.OfTracker(err))
		return
	}
	rd.answer(w, frame.Deliveries{JobID: got.Job.JobId, Deliveries: deliveries})
}

// deliveries reads the documents of the webhooks' jobs in parallel; there are only a few.
func (rd *reads) deliveries(
	ctx context.Context, id auth.Identity, tenant string, known []*trackerpb.Delivery,
) ([]frame.Delivery, error) {
	all := make([]frame.Delivery, len(known))
	errs := make([]error, len(known))
	hide := id.Scope(auth.Read).HidesSubject() // a webhook's job has the subject of the job that it tells of
	var asked sync.WaitGroup
	for i, d := range known {
		all[i] = frame.Delivery{DeliveryID: d.JobId, Event: webhook.EventType(job.State(d.State)), Version: d.Version}
		asked.Go(func() {
			got, err := rd.read(ctx, auth.TenantScope(tenant).GetRequest(d.JobId), 0)
			switch {
			case err == nil:
				all[i].Job = got.Job.Document
				if hide {
					all[i].Job = job.WithoutSubject(got.Job.Document)
				}
			case connect.CodeOf(err) != connect.CodeNotFound: // not found is no error: the webhook's retention may be over
				errs[i] = err
			}
		})
	}
	asked.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
