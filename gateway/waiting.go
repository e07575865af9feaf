package gateway

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/budget"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// WaitingConfig bounds the bytes that wait to be written to clients or are being written.
type WaitingConfig struct {
	Session int   `name:"session-waiting-bytes" help:"Bytes that may wait to be written to one socket or event stream. Of a status beyond it only the job's ID is kept, and its document is loaded again once there is room." default:"1048576"`
	Subject int64 `name:"subject-waiting-bytes" help:"Bytes that may wait to be written to all sockets, event streams and lists of one user. 0 means no bound." default:"16777216"`
	Tenant  int64 `name:"tenant-waiting-bytes" help:"Bytes that may wait to be written to all sockets, event streams and lists of one tenant. 0 means no bound." default:"67108864"`
	All     int64 `name:"waiting-bytes" help:"Bytes that may wait to be written to all clients. Above it only clients below their fair share get more room. 0 means no bound." default:"268435456"`
}

// Validate reports every problem of the settings.
func (c WaitingConfig) Validate() error {
	var problems []error
	for name, v := range map[string]int64{
		"session-waiting-bytes": int64(c.Session), "subject-waiting-bytes": c.Subject, "tenant-waiting-bytes": c.Tenant,
		"waiting-bytes": c.All,
	} {
		if v < 0 || v > 1<<40 || v > 0 && v < 64<<10 || v == 0 && name == "session-waiting-bytes" {
			problems = append(problems, fmt.Errorf("%s must be at least 65536", name))
		}
	}
	return errors.Join(problems...)
}

func (c WaitingConfig) budget() *budget.Budget {
	return budget.New(budget.Limits{Subject: c.Subject, Tenant: c.Tenant, All: c.All})
}

// load returns a job's current document, for a client whose status was parked.
func (g *Gateway) load(ctx context.Context, scope *auth.Scope, jobID string) (*trackerpb.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, g.readTimeout())
	defer cancel()
	got, err := g.up.Get(ctx, scope.GetRequest(jobID))
	switch {
	case err == nil:
		return got.Job, nil
	case connect.CodeOf(err) == connect.CodeNotFound:
		return nil, session.ErrNoJob
	}
	return nil, err
}

// listBytes is how much of the budget a page takes, from its request until it is written: the documents, and their
// encoding.
const listBytes = 2 * upstream.MaxPageBytes

// beginList admits a user's request for a page, until done is called. The error says why it is refused.
func (g *Gateway) beginList(id auth.Identity) (done func(), err error) {
	if err := g.limits.List(id.Tenant, id.Account()); err != nil {
		return nil, err
	}
	account := g.waiting.Open(id.Tenant, id.Account())
	if !account.Take(listBytes) {
		account.Close()
		g.metrics.turnedAway(limits.ListBytes)
		p := frame.NewProblem(code.Overloaded, "too many pages of the user or tenant are not read yet")
		p.RetryAfter = problem.RetryAfter.Seconds()
		return nil, p
	}
	return account.Close, nil
}
