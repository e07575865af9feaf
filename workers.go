package ackwire

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

// Workers lists the workers of all lanes (GET /v1/workers): their lanes and slots, what each holds and since when, its
// version, and the endpoints of webhooks that it has paused. Workers that do not announce themselves are known by the
// jobs that they hold. The token needs the permission operate.
func (c *HTTPClient) Workers(ctx context.Context) (all frame.Workers, err error) {
	err = c.api.readInto(ctx, "workers", "/v1/workers", &all)
	return all, err
}

// System tells of the gateways and trackers with their versions, of partitions without a tracker, and whether Kafka
// answers (GET /v1/system). The workers are in Workers. The token needs the permission operate.
func (c *HTTPClient) System(ctx context.Context) (s frame.System, err error) {
	err = c.api.readInto(ctx, "system", "/v1/system", &s)
	return s, err
}

// WebhooksOptions says which failed webhooks are looked at. The zero value is those of the token's tenant, and of
// tenants with paused endpoints, of the last 24 hours.
type WebhooksOptions struct {
	Tenant string    // only webhooks and paused endpoints of this tenant
	Since  time.Time // only webhooks that were made later
}

// Webhooks lists the endpoints of webhooks that are paused, and those to which webhooks have failed for good
// (GET /v1/webhooks). A retry of the jobs that it names sends these webhooks again. The token needs the permission
// operate.
func (c *HTTPClient) Webhooks(ctx context.Context, o WebhooksOptions) (all frame.Webhooks, err error) {
	q := url.Values{}
	if o.Tenant != "" {
		q.Set("tenant", o.Tenant)
	}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	err = c.api.readInto(ctx, "webhooks", withQuery("/v1/webhooks", q), &all)
	return all, err
}

// AuditOptions says which page of the audit trail is read. The zero value is the newest.
type AuditOptions struct {
	Since  time.Time // only records that were written at this time or later
	Limit  int       // the most records of a page, 1 to 100; 0 means 50
	Cursor string    // the NextCursor of the page before
}

// Audit reads a page of the audit trail, the newest record first (GET /v1/audit). The token needs the permission
// operate.
func (c *HTTPClient) Audit(ctx context.Context, o AuditOptions) (page frame.Audit, err error) {
	q := url.Values{}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	if o.Limit != 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Cursor != "" {
		q.Set("cursor", o.Cursor)
	}
	err = c.api.readInto(ctx, "audit", withQuery("/v1/audit", q), &page)
	return page, err
}

func withQuery(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}
