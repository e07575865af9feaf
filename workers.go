package ackwire

import (
	"context"

	"github.com/ackwire/ackwire/schemas/frame"
)

// Workers lists the workers of all lanes (GET /v1/workers): their lanes and slots, what each holds and since when, its
// version, and the endpoints of webhooks that it has paused. Workers that do not announce themselves are known by the
// jobs that they hold. The token needs the permission operate.
func (c *HTTPClient) Workers(ctx context.Context) (all frame.Workers, err error) {
	err = c.api.readInto(ctx, "workers", "/v1/workers", &all)
	return all, err
}
