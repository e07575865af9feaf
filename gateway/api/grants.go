package api

import (
	"net/http"

	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// grants are the route that makes grants.
type grants struct{ *door }

// postGrant handles POST /v1/grants.
func (gr *grants) postGrant(w http.ResponseWriter, r *http.Request) {
	id, ok := gr.identify(w, r, 0)
	if !ok {
		return
	}
	if err := gr.cfg.Limits.Ask(id.Tenant, id.Account(), 1); err != nil {
		gr.problem(w, err)
		return
	}
	body, err := gr.readJSON(w, r, int64(gr.cfg.FrameBytes))
	if err != nil {
		gr.problem(w, err)
		return
	}
	asked, err := wire.DecodeGrant(body)
	if err != nil {
		gr.problem(w, err)
		return
	}
	grant, claims, err := gr.cfg.Verifier.NewGrant(id, asked)
	if err != nil {
		gr.problem(w, err)
		return
	}
	gr.cfg.Audit.GrantMade(traceable(w, r), id, claims)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	_ = plainjson.Write(w, grant)
}
