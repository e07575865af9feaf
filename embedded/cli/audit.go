package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/topic"
)

// AuditCmd prints the records of the topic audit.
type AuditCmd struct {
	EitherFlags `embed:""`
	Tenant      string        `help:"Print only what this tenant's users did." placeholder:"TENANT"`
	Job         string        `help:"Print only what was done with this job." placeholder:"JOBID"`
	Since       time.Duration `help:"Print only what was done within this time before now." placeholder:"DURATION"`
	Limit       *int          `help:"Print at most this many records; by default 50 of a gateway, and all of Kafka." placeholder:"N" xor:"much"`
	All         bool          `help:"Print all records." xor:"much"`
}

// Help returns the text that kong prints below the flags.
func (c *AuditCmd) Help() string {
	return "Prints who made grants, cancelled or retried jobs of others, and erased jobs. " + eitherHelp +
		"A gateway tells the newest first; from Kafka the oldest come first. " + queryHelp
}

// Run implements the command.
func (c *AuditCmd) Run(env *Env) error {
	most := limit{most: c.Limit, all: c.All}
	if err := most.check(); err != nil {
		return err
	}
	if c.Since < 0 {
		return refused(errors.New("--since must not be negative"))
	}
	if !c.direct {
		return c.ask(env, most)
	}
	ctx, cancel := context.WithTimeout(env.Context, deadTimeout)
	defer cancel()
	most.all = most.all || most.most == nil
	printed := 0
	return c.kafka().records(ctx, topic.Names{Prefix: c.TopicPrefix}.Audit(), func(rec *kgo.Record) bool {
		r, err := audit.Decode(rec.Value)
		if err != nil {
			fmt.Fprintf(env.Stderr, "ackwire: record %d: %s\n", rec.Offset, clean(err.Error()))
			return true
		}
		if !c.wants(&r) {
			return true
		}
		if c.JSON {
			b, _ := plainjson.Marshal(r) // strings and times always marshal
			fmt.Fprintf(env.Stdout, "%s\n", harmless(b))
		} else {
			auditLine(env, &r)
		}
		printed++
		return most.left(printed) > 0
	})
}

// wants reports whether a record matches the filters of the command.
func (c *AuditCmd) wants(r *audit.Record) bool {
	return (c.Tenant == "" || r.Tenant == c.Tenant) && (c.Job == "" || r.JobID == c.Job) &&
		(c.Since == 0 || time.Since(r.At) <= c.Since)
}

// ask prints the records of a gateway. It has no filter but the time, so the others are applied here.
func (c *AuditCmd) ask(env *Env, most limit) error {
	o := ackwire.AuditOptions{Limit: frame.MaxAuditLimit}
	if c.Since > 0 {
		o.Since = time.Now().Add(-c.Since)
	}
	printed, idle, unreadable := 0, 0, 0
	for {
		page, err := patiently(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.Audit, error) {
			return api.Audit(ctx, o)
		})
		if err != nil {
			return c.queryError(env, err)
		}
		if page.Off {
			fmt.Fprintln(env.Stderr, "no audit trail is written: there is no topic audit")
			return nil
		}
		unreadable += page.Unreadable
		before, more := printed, page.NextCursor != ""
		for i := range page.Records {
			if !c.wants(&page.Records[i].Record) {
				continue
			}
			if most.left(printed) <= 0 {
				more = true
				break
			}
			if err := c.show(env, &page.Records[i]); err != nil {
				return err
			}
			printed++
		}
		idle++
		if printed > before {
			idle = 0
		}
		o.Cursor = page.NextCursor
		if idle == maxEmptyPages {
			return refused(fmt.Errorf("no such record in the last %d pages: look at less by --since", idle))
		}
		if o.Cursor == "" || most.left(printed) <= 0 {
			c.rest(env, printed, unreadable, more)
			return nil
		}
	}
}

func (c *AuditCmd) show(env *Env, e *frame.AuditEntry) error {
	if c.JSON {
		return c.print(env, e)
	}
	auditLine(env, &e.Record)
	return nil
}

// rest says what was not printed.
func (c *AuditCmd) rest(env *Env, printed, unreadable int, more bool) {
	switch {
	case more:
		fmt.Fprintln(env.Stderr, "there may be more: --limit or --all prints them")
	case printed == 0:
		fmt.Fprintln(env.Stderr, "no such records")
	}
	if unreadable > 0 {
		fmt.Fprintf(env.Stderr, "%d records could not be read: somebody else has written them\n", unreadable)
	}
}

// auditLine prints a record in one line.
func auditLine(env *Env, r *audit.Record) {
	of := r.JobID
	if r.Grant != nil {
		of = "grant " + r.Grant.ID
	}
	fmt.Fprintf(env.Stdout, "%s  %-9s  %-13s  %s/%s  %s  %s\n", r.At.Format(time.RFC3339), clean(string(r.Deed)),
		clean(r.Outcome), clean(r.Tenant), clean(r.Subject), clean(of), clean(r.RequestID))
}
