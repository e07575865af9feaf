package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// SystemCmd prints the gateways and trackers.
type SystemCmd struct {
	Flags `embed:""`
}

// Help returns the text that kong prints below the flags.
func (c *SystemCmd) Help() string {
	return "Each gateway and tracker with its version and for how long it runs, how many partitions each tracker owns " +
		"and still restores, partitions that no tracker owns, and whether Kafka answers. The workers are in `ackwire workers`. " +
		"The token needs the permission operate. With --json the answer of GET /v1/system in one line. " + queryHelp
}

// Run implements the command.
func (c *SystemCmd) Run(env *Env) error {
	s, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.System, error) {
		return api.System(ctx)
	})
	if err != nil {
		return c.queryError(env, err)
	}
	if c.JSON {
		b, err := plainjson.Marshal(s)
		if err != nil {
			return refused(err)
		}
		newView(env, &c.Flags).line(b)
		return nil
	}
	gateways := newTable("GATEWAY", "VERSION", "REVISION", "UP FOR", "")
	for _, g := range s.Gateways {
		note := ""
		if g.Self {
			note = "this one"
		}
		gateways.row(g.Name, g.Version, orDash(g.Revision), upFor(s.AsOf, g.StartedAt), note)
	}
	trackers := newTable("TRACKER", "VERSION", "REVISION", "UP FOR", "PARTITIONS", "RESTORING", "")
	for _, t := range s.Trackers {
		note := ""
		switch {
		case !t.Answers:
			note = "does not answer"
		case t.Process == nil:
			note = "of an earlier release"
		}
		p := t.Process
		if p == nil {
			p = &frame.Process{}
		}
		trackers.row(orDash(p.Name), orDash(p.Version), orDash(p.Revision), upFor(s.AsOf, p.StartedAt),
			strconv.Itoa(t.Partitions), strconv.Itoa(t.Restoring), note)
	}
	for _, t := range []*table{gateways, trackers} {
		if t.rows > 1 {
			t.print(env)
			fmt.Fprintln(env.Stdout)
		}
	}
	fmt.Fprintln(env.Stdout, standing(&s))
	if s.Truncated {
		fmt.Fprintln(env.Stderr, "there are more gateways or trackers than a server lists")
	}
	return nil
}

func upFor(now time.Time, started *time.Time) string {
	if started == nil {
		return "-"
	}
	return ago(now, *started)
}

// standing says in a sentence whether all partitions have an owner.
func standing(s *frame.System) string {
	p := s.Partitions
	switch {
	case !s.Kafka.Reachable:
		return "Kafka does not answer the gateway, so who owns the partitions is not known."
	case p.Total == 0:
		return "Kafka answers; there is no topic status yet."
	case p.Unowned != nil && *p.Unowned > 0:
		text := fmt.Sprintf("Kafka answers; %d of %d partitions have no tracker: nothing happens to their jobs", *p.Unowned,
			p.Total)
		if p.UnownedSince != nil {
			text += ", since " + p.UnownedSince.UTC().Format(time.RFC3339)
		}
		return text + "."
	}
	return fmt.Sprintf("Kafka answers; all %d partitions have a tracker.", p.Total)
}
