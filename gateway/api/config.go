package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/budget"
	"github.com/ackwire/ackwire/gateway/bulk"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/origin"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/gateway/streams"
	"github.com/ackwire/ackwire/gateway/subjects"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/grant"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Trackers answers questions about jobs; upstream.Pair implements it.
type Trackers interface {
	Get(ctx context.Context, req *trackerpb.GetRequest) (*trackerpb.GetResponse, error)
	List(ctx context.Context, req *trackerpb.ListRequest) (*trackerpb.ListResponse, error)
	Stats(ctx context.Context, tenant string, scope *trackerpb.Scope, tags []*trackerpb.Tag) (
		*trackerpb.StatsResponse, error)
	// Activity returns what happened to a tenant's jobs in the hour that ends with a minute, since the Unix epoch.
	Activity(ctx context.Context, tenant string, minute int64) (*trackerpb.ActivityResponse, error)
}

// StreamTrackers answers questions about streams of jobs; upstream.Pair implements it.
type StreamTrackers interface {
	ListStreams(ctx context.Context, req *trackerpb.StreamsRequest) (*trackerpb.StreamsResponse, error)
	ReadStream(ctx context.Context, req *trackerpb.ReadStreamRequest) (*trackerpb.ReadStreamResponse, error)
}

// DeadLetters reads and requeues dead letters; upstream.Pair implements it.
type DeadLetters interface {
	ListDead(ctx context.Context, req *trackerpb.ListDeadRequest) (*trackerpb.ListDeadResponse, error)
	GetDead(ctx context.Context, req *trackerpb.GetDeadRequest) (*trackerpb.GetDeadResponse, error)
	RequeueDead(ctx context.Context, req *trackerpb.RequeueDeadRequest) (*trackerpb.RequeueDeadResponse, error)
}

// Fleet knows the workers and the other processes, and reads the audit trail; upstream.Pair implements it.
type Fleet interface {
	Workers(ctx context.Context) (*trackerpb.WorkersResponse, error)
	System(ctx context.Context) *upstream.System
	ListAudit(ctx context.Context, req *trackerpb.ListAuditRequest) (*trackerpb.ListAuditResponse, error)
}

// PastTrackers answers questions about what jobs were; upstream.Pair implements it.
type PastTrackers interface {
	History(ctx context.Context, req *trackerpb.HistoryRequest) (*trackerpb.HistoryResponse, error)
	Payload(ctx context.Context, req *trackerpb.PayloadRequest) (*trackerpb.PayloadResponse, error)
}

// Tickets stores the identities of tickets; upstream.Pair implements it.
type Tickets interface {
	KeepTicket(ctx context.Context, req *trackerpb.KeepTicketRequest) error
	TakeTicket(ctx context.Context, req *trackerpb.TakeTicketRequest) (*trackerpb.TakeTicketResponse, error)
}

// Submits makes jobs; intake.Submits implements it.
type Submits interface {
	Hold(ctx context.Context, id auth.Identity, bytes int64) (limits.Submit, error)
	SubmitHeld(ctx context.Context, id auth.Identity, r frame.SubmitRequest, held limits.Submit, began time.Time) (
		frame.AckFrame, int64, error)
	HoldBatch(id auth.Identity, bytes int64) (end func(), err error)
	SubmitBatch(ctx context.Context, id auth.Identity, items []bulk.Item, made func(i int, jobID string),
	) []bulk.Result
}

// Orders changes jobs; intake.Orders implements it.
type Orders interface {
	Cancel(ctx context.Context, id auth.Identity, jobID string) (frame.AckFrame, int64, error)
	Retry(ctx context.Context, id auth.Identity, jobID string) (frame.AckFrame, int64, error)
	Erase(ctx context.Context, id auth.Identity, jobID string) error
}

// Audit records what was done; intake.Audit implements it.
type Audit interface {
	GrantMade(ctx context.Context, id auth.Identity, made grant.Claims)
	DeadDone(ctx context.Context, id auth.Identity, deed audit.Deed, letterID, jobID string, outcome error)
	PayloadRead(ctx context.Context, id auth.Identity, j *trackerpb.Job, jobType string, outcome error)
}

// Clients learns which connections belong to clients that have authenticated; conns.Conns implements it.
type Clients interface {
	Proved(ctx context.Context)
}

// Settings are the bounds and other values that HTTP depends on.
type Settings struct {
	Types           jobtypes.Set
	Origins         origin.Set
	LargestBody     int64 // length of the largest submit that is taken, in bytes
	BatchBytes      int64 // length of the largest batch that is taken, in bytes
	FrameBytes      int   // largest other body
	WaitingBytes    int   // bytes that may wait to be written to one event stream
	Subscriptions   int   // jobs that an event stream may follow
	InFlightSubmits int   // told to clients
	Connections     int   // requests of HTTP/2 that may be served at the same time
	HandshakeRate   float64
	PingInterval    time.Duration
	ReadTimeout     time.Duration // bounds a GET without Prefer: wait; a tracker reads to the log's end before it says no
	ReconnectAfter  time.Duration // event streams that a drain ends are told to reconnect after at most so long
}

// Config holds the settings and parts of the API.
type Config struct {
	Settings

	Systems []topic.Names // the present one, and the former one if there is one
	Kafka   *kgo.Client   // asked for the lanes of the systems
	Ask     time.Duration // bounds an answer of Kafka
	Blobs   *blobs.Store  // nil if there is none

	Trackers   Trackers
	Streamed   StreamTrackers
	Dead       DeadLetters
	Past       PastTrackers
	Fleet      Fleet
	Tickets    Tickets
	Submits    Submits
	Orders     Orders
	Audit      Audit
	Bulk       Bulk // nil if no bulk actions are taken
	Clients    Clients
	Admit      func(w http.ResponseWriter, r *http.Request, id *auth.Identity) error // makes a session of a handshake
	Load       session.Loader
	Pushed     func(*trackerpb.Job) (written func()) // nil, or called when the job's status was written to a client
	TurnedAway func(limits.Bound)                    // called when a bound is exceeded

	Verifier *auth.Verifier
	Limits   *limits.Limits
	Hub      *hub.Hub
	Subjects *subjects.Index
	Streams  *streams.Room
	Waiting  *budget.Budget
	Metrics  *Metrics
	Log      *slog.Logger

	Leaving <-chan struct{} // closed when the gateway is told to stop
	Drain   <-chan struct{} // closed when the drain begins
}
