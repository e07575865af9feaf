package gateway

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/budget"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// WaitingConfig bounds what waits to be written to clients, or is being written.
type WaitingConfig struct {
	Session int   `name:"session-waiting-bytes" help:"Bytes that wait for one socket or event stream; of statuses beyond it only the job is kept, and its document is loaded again once there is room." default:"1048576"`
	Subject int64 `name:"subject-waiting-bytes" help:"Bytes that wait for all sockets, event streams and lists of one user of a tenant; 0 sets no bound." default:"16777216"`
	Tenant  int64 `name:"tenant-waiting-bytes" help:"Bytes that wait for all those of one tenant; 0 sets no bound." default:"67108864"`
	All     int64 `name:"waiting-bytes" help:"Bytes that wait for all clients; 0 sets no bound. Above it a client that has less than its share may still take." default:"268435456"`
}

// Validate joins all problems.
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

// load is a job as it is now, for a client that there was no room for its status before.
func (g *Gateway) load(ctx context.Context, tenant, jobID string) (*trackerpb.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	got, err := g.up.Get(ctx, &trackerpb.GetRequest{JobId: jobID, Tenant: tenant})
	switch {
	case err == nil:
		return got.Job, nil
	case connect.CodeOf(err) == connect.CodeNotFound:
		return nil, session.ErrNoJob
	}
	return nil, err
}

// listBytes is what a page takes of the budget, from the question until it is written: its
// documents, and they again as they are encoded.
const listBytes = 2 * upstream.MaxPageBytes

// beginList lets a user have a page, until done, or says why not.
func (g *Gateway) beginList(id auth.Identity) (done func(), err error) {
	if err := g.limits.List(id.Tenant, id.Subject); err != nil {
		return nil, err
	}
	account := g.waiting.Open(id.Tenant, id.Subject)
	if !account.Take(listBytes) {
		account.Close()
		g.metrics.turnedAway(limits.ListBytes)
		p := frame.NewProblem(code.Overloaded, "pages of the user or tenant wait to be read: read them first")
		p.RetryAfter = retryAfter.Seconds()
		return nil, p
	}
	return account.Close, nil
}
