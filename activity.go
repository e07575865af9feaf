package ackwire

import (
	"context"
	"net/url"

	"github.com/ackwire/ackwire/schemas/frame"
)

// Activity returns what happened to a tenant's jobs in each of the last 60 minutes, by lane (GET /v1/activity). The
// empty tenant is the token's own; another one needs the permission operate. The token must permit to read all jobs of
// the tenant.
func (c *HTTPClient) Activity(ctx context.Context, tenant string) (a frame.Activity, err error) {
	q := url.Values{}
	if tenant != "" {
		q.Set("tenant", tenant)
	}
	err = c.api.readInto(ctx, "activity", withQuery("/v1/activity", q), &a)
	return a, err
}
