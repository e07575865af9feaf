package ackwire

import (
	"context"
	"iter"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// Job is a handle for one job. Submit returns it for a job that was just made; Client.Job and HTTPClient.Job
// make it from an ID that you kept. It is safe for concurrent use, needs no Close, and its methods work the
// same way over a socket and over HTTP.
//
// Every method may fail with an [*Error] that the server answered with (it matches [ErrNotFound] if there is no such
// job, or it belongs to another tenant), with the context's error, and with [ErrClosed] once the client was closed.
type Job struct {
	// ID names the job, for as long as the server keeps it.
	ID string
	// Ack is the server's answer to the submit. It is zero in a handle that was made from an ID.
	Ack

	via transport
	// Set by a submit over a socket, which follows the job from its ack on. Guarded by Client.mu.
	sub  *sub // nil for a job that is not followed
	held bool // the Job itself still holds its reference to sub
	// tails are the streams that the submit has asked for and nobody has read yet.
	tails []*tail
}

// Ack is the server's answer to a submit: the job is durable.
type Ack struct {
	// State is the job's state when it was acked: pending, or scheduled with RunAt. A duplicate may be in any state.
	State job.State
	// StatusURL is the path of the job's document, relative to the server's address.
	StatusURL string
	// Duplicate says that the job existed already: an earlier submit with the same Key made it, perhaps
	// this same call before a reconnect.
	Duplicate bool
	// Grant is the one that WithGrant asked for; without a token if none was asked for.
	Grant Grant
	// Warning names fields of the submit that the server does not know and has passed over, such as those of a client
	// that is newer than its server; usually empty.
	Warning string
	// Ahead is how many jobs, of all tenants, wait before the job in its lane, as the server knew it a moment ago. Unless
	// the token has the permission operate it is only their magnitude: 0, 1, 10, 100 and so on. It is nil if the server
	// does not know, for a duplicate, and with RunAt.
	Ahead *int64
	// Estimate is about how long it takes until the job starts, at the pace of its lane. It is nil if Ahead is, and if
	// the pace is not known.
	Estimate *time.Duration
}

// setPlace takes the ahead and the estimate of an ack, which are nil if it has none. What cannot be true is passed
// over: the job exists all the same.
func (a *Ack) setPlace(ahead *int64, estimate *float64) {
	if ahead == nil || *ahead < 0 {
		return
	}
	a.Ahead = ahead
	if estimate == nil {
		return
	}
	if s, err := job.SecondsOf(*estimate); err == nil {
		d := s.Duration()
		a.Estimate = &d
	}
}

// transport is how a handle reaches its job: over a client's socket, or over HTTP.
type transport interface {
	rest() *rest
	watch(ctx context.Context, j *Job, after int64) iter.Seq2[Status, error]
	wait(ctx context.Context, j *Job) (Status, error)
	stream(ctx context.Context, j *Job, name string, cfg streamConfig) iter.Seq2[Chunk, error]
	order(ctx context.Context, kind frame.Type, j *Job) (job.State, error)
}

// newJob makes a handle for an ID as the caller wrote it.
func newJob(via transport, jobID string) *Job {
	if id, ok := job.ParseID(jobID); ok {
		jobID = id // a UUID in upper case is the same one
	}
	return &Job{ID: jobID, via: via}
}

// Get reads the job's current document over HTTP (GET /v1/jobs/{id}). A job that was acked is found until its
// retention is over.
func (j *Job) Get(ctx context.Context) (Status, error) { return j.via.rest().get(ctx, j.ID, "") }

// Watch follows the job. The sequence yields the current document, then each newer one up to the
// terminal one (completed, failed or cancelled), and then ends. Each range over it is a watch of its own.
//
// Versions strictly rise. A loop body slower than the job's changes sees the latest document and skips those between.
// After a lost connection the watch goes on behind the last version seen, without an error. (Versions fall only if the
// server has lost the end of its log, as after a restored backup.) An error is yielded once, as the last element.
//
// Over a socket all watches of one job share one subscription, which ends with the last of them. The terminal document
// of a job that was submitted through this handle is yielded again without asking the server, unless the job was
// retried through this handle. Over HTTP each watch is an event stream (GET /v1/jobs/{id}/events), whose first
// connection must succeed.
func (j *Job) Watch(ctx context.Context, opts ...WatchOption) iter.Seq2[Status, error] {
	var cfg watchConfig
	for _, o := range opts {
		o(&cfg)
	}
	return j.via.watch(ctx, j, max(cfg.after, 0))
}

// Wait waits for the job's end and returns its terminal document. A job that failed or was cancelled is no error of
// Wait: look at State, or call Status.Err. Errors are those of Watch. It waits as long as the job takes, unless ctx has
// a deadline.
func (j *Job) Wait(ctx context.Context) (Status, error) { return j.via.wait(ctx, j) }

// Cancel cancels the job. It returns once the request is durable, with the job's state then: cancelled if it had not
// started; processing if a handler is being told to stop, and then a watch shows the end. For a job that has ended it
// fails with an *Error with the code invalid_state. To cancel twice is harmless; over a socket the request is sent
// again by itself after a lost connection.
func (j *Job) Cancel(ctx context.Context) (job.State, error) {
	return j.via.order(ctx, frame.Cancel, j)
}

// Retry runs the job again after its end, under its ID, with its stored payload and a new budget of attempts. It
// returns once the request is durable: a new watch then follows the new attempts. For a job that has not ended it fails
// with an *Error with the code invalid_state. An error that matches ErrIndeterminate means that the connection was lost
// before the answer: Get shows whether the job runs again.
func (j *Job) Retry(ctx context.Context) (job.State, error) {
	return j.via.order(ctx, frame.Retry, j)
}

// Erase removes the job, which must have ended: its document, its payload and its result (DELETE /v1/jobs/{id}). When
// it returns nil, every question about the job fails with the code not_found, and so does a submit with the job's
// idempotency key until its retention is over. The token needs the permission erase. For a job that has not ended it
// fails with an *Error with the code invalid_state. An error that is Retryable leaves it open whether the job is
// erased; to call Erase again is harmless, and fails with not_found if it is.
func (j *Job) Erase(ctx context.Context) error { return j.via.rest().erase(ctx, j.ID) }

// Why returns what the job waits for (GET /v1/jobs/{id}/why): a reason code for programs and a sentence for people.
func (j *Job) Why(ctx context.Context) (frame.Why, error) { return j.via.rest().why(ctx, j.ID) }

// Result opens the result of a completed job, of any size, as a stream (GET /v1/jobs/{id}/result): what the handler
// returned, as JSON, or the file that it attached. ctx bounds the reading too. For a job that has not completed it
// fails with an *Error with the code invalid_state.
//
// A small result is inline in Status.Result as well; [TypedJob.Result] decodes either.
func (j *Job) Result(ctx context.Context) (*Content, error) { return j.via.rest().result(ctx, j.ID) }

// Deliveries lists the job's webhook deliveries and their outcomes, the oldest first (GET /v1/jobs/{id}/deliveries).
// Each delivery is a job of its own, which a handle made from its DeliveryID can retry.
func (j *Job) Deliveries(ctx context.Context) (frame.Deliveries, error) {
	return j.via.rest().deliveries(ctx, j.ID)
}
