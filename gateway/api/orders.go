package api

import (
	"context"
	"net/http"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// orders are the routes that cancel, retry and erase jobs.
type orders struct{ *door }

// orderJob returns the handler of POST /v1/jobs/{id}/cancel or …/retry.
func (o *orders) orderJob(
	needed auth.Permissions, order func(context.Context, auth.Identity, string) (frame.AckFrame, int64, error),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, ok := o.identify(w, r, 0)
		if !ok {
			return
		}
		if !id.MayOrder(needed) {
			o.problem(w, forbidden(needed))
			return
		}
		ack, _, err := order(traceable(w, r), id, r.PathValue("id"))
		if err != nil {
			o.problem(w, err)
			return
		}
		h := w.Header()
		h.Set("Location", ack.StatusURL)
		h.Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_ = plainjson.Write(w, ack)
	}
}

// deleteJob handles DELETE /v1/jobs/{id}.
func (o *orders) deleteJob(w http.ResponseWriter, r *http.Request) {
	id, ok := o.identify(w, r, auth.Read|auth.Erase)
	if !ok {
		return
	}
	if err := o.cfg.Orders.Erase(traceable(w, r), id, r.PathValue("id")); err != nil {
		o.problem(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
