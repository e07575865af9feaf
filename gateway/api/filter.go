package api

import (
	"net/url"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// WatchedList returns what the trackers are asked for a list that is watched by a filter: the parameters of
// GET /v1/jobs but limit and cursor. Its scope is that of the identity in the list's tenant, so that equal lists are
// one.
func WatchedList(filter url.Values, id auth.Identity) (*trackerpb.ListRequest, error) {
	req, err := filterRequest(filter, id)
	if err != nil {
		return nil, err
	}
	scope := id.ListScope(req.Tenant)
	if scope == nil {
		return nil, frame.NewProblem(code.Forbidden, "a grant follows its jobs one by one")
	}
	req.Scope = scope.Proto()
	return req, nil
}
