package gateway

import (
	"errors"
	"fmt"

	"github.com/ackwire/ackwire/gateway/budget"
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
