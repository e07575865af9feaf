package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/topic"
)

// AuditCmd prints the records of the topic audit.
type AuditCmd struct {
	KafkaFlags `embed:""`
	Tenant     string        `help:"Print only what this tenant's users did." placeholder:"TENANT"`
	Job        string        `help:"Print only what was done with this job." placeholder:"JOBID"`
	Since      time.Duration `help:"Print only what was done within this time before now." placeholder:"DURATION"`
}

// Help returns the text that kong prints below the flags.
func (c *AuditCmd) Help() string {
	return "Prints who made grants, cancelled or retried jobs of others, and erased jobs: the oldest first."
}

// Run implements the command.
func (c *AuditCmd) Run(env *Env) error {
	ctx, cancel := context.WithTimeout(env.Context, deadTimeout)
	defer cancel()
	return c.records(ctx, topic.Names{Prefix: c.TopicPrefix}.Audit(), func(rec *kgo.Record) bool {
		r, err := audit.Decode(rec.Value)
		if err != nil {
			fmt.Fprintf(env.Stderr, "ackwire: record %d: %s\n", rec.Offset, clean(err.Error()))
			return true
		}
		if c.Tenant != "" && r.Tenant != c.Tenant || c.Job != "" && r.JobID != c.Job ||
			c.Since > 0 && time.Since(r.At) > c.Since {
			return true
		}
		if c.JSON {
			b, _ := plainjson.Marshal(r) // strings and times always marshal
			fmt.Fprintf(env.Stdout, "%s\n", harmless(b))
			return true
		}
		of := r.JobID
		if r.Grant != nil {
			of = "grant " + r.Grant.ID
		}
		fmt.Fprintf(env.Stdout, "%s  %-9s  %-13s  %s/%s  %s  %s\n", r.At.Format(time.RFC3339), clean(string(r.Deed)),
			clean(r.Outcome), clean(r.Tenant), clean(r.Subject), clean(of), clean(r.RequestID))
		return true
	})
}
