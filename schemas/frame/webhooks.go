package frame

import (
	"time"

	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/job"
)

// Webhooks is the body of GET /v1/webhooks: the endpoints that are paused, and those to which webhooks have failed.
type Webhooks struct {
	// Endpoints are sorted: those that are paused come first, then those with the most failed webhooks.
	Endpoints []WebhookEndpoint `json:"endpoints"`
	// Tenants are those whose failed webhooks were looked at.
	Tenants []string  `json:"tenants"`
	Since   time.Time `json:"since"` // only webhooks that were made later were looked at
	AsOf    time.Time `json:"asOf"`  // all changes up to this time are included
	// Truncated is true if there are more failed webhooks, paused endpoints, or tenants with paused endpoints.
	Truncated bool `json:"truncated"`
}

// WebhookEndpoint is a URL, without its query, to which webhooks of a tenant go.
type WebhookEndpoint struct {
	Tenant string `json:"tenant"` // whose webhooks they are
	// Endpoint is scheme, host and path; without a path for a host that accepts no connections. It is empty for webhooks
	// of which the request is not kept any more.
	Endpoint string `json:"endpoint"`
	// PausedUntil is when the last worker tries the endpoint again; absent if none has paused it.
	PausedUntil *time.Time `json:"pausedUntil,omitempty"`
	PausedBy    []string   `json:"pausedBy,omitempty"` // names of workers, 20 at most
	Failures    int        `json:"failures,omitempty"` // in a row, as the worker knows that has seen most
	Failed      int        `json:"failed"`             // webhooks that have failed for good, of those looked at
	// Jobs are the IDs of their jobs of the type ackwire.webhook, the newest first, 20 at most: a retry sends one again.
	Jobs      []string   `json:"jobs,omitempty"`
	FirstAt   *time.Time `json:"firstAt,omitempty"`   // when the oldest of them was made
	LastAt    *time.Time `json:"lastAt,omitempty"`    // when the newest of them was made
	LastError *job.Error `json:"lastError,omitempty"` // of the newest of them
}

// Bounds of one page of the audit trail.
const (
	DefaultAuditLimit = 50
	MaxAuditLimit     = 100
)

// Audit is the body of GET /v1/audit: a page of the audit trail, the newest record first.
type Audit struct {
	Records []AuditEntry `json:"records"` // at most as many as were asked for
	// NextCursor is the cursor of the next page; absent on the last one. A page may have fewer records than the limit.
	NextCursor string `json:"nextCursor,omitempty"`
	// Unreadable counts the records of this page that are left out, because they are none of this release: somebody else
	// has written them.
	Unreadable int  `json:"unreadable,omitempty"`
	Off        bool `json:"off,omitempty"` // no audit trail is written: there is no topic audit
}

// AuditEntry is a record of the topic audit.
type AuditEntry struct {
	ID        string    `json:"id"`        // its place in the topic
	WrittenAt time.Time `json:"writtenAt"` // when it was written, by the broker's clock
	audit.Record
}
