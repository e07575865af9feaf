package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// WorkersCmd prints the workers and what they hold.
type WorkersCmd struct {
	Flags `embed:""`
	Jobs  bool `help:"Print the jobs that each worker has held for longest, too."`
}

// Help returns the text that kong prints below the flags.
func (c *WorkersCmd) Help() string {
	return "Each worker with its lanes and slots, how many jobs it holds, the one that it has held for longest, and " +
		"when it was last heard of; each lane with its workers; and the endpoints of webhooks that are paused. A worker " +
		"with no lanes has not announced itself, and is known by the jobs that it holds. The token needs the permission " +
		"operate. With --json the answer of GET /v1/workers in one line. " + queryHelp
}

// Run implements the command.
func (c *WorkersCmd) Run(env *Env) error {
	all, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.Workers, error) {
		return api.Workers(ctx)
	})
	if err != nil {
		return c.queryError(env, err)
	}
	if c.JSON {
		b, err := plainjson.Marshal(all)
		if err != nil {
			return refused(err)
		}
		newView(env, &c.Flags).line(b)
		return nil
	}
	c.print(env, &all)
	return nil
}

func (c *WorkersCmd) print(env *Env, all *frame.Workers) {
	workers := newTable("WORKER", "LANES", "RUNNING", "OLDEST", "SEEN", "VERSION", "")
	held := newTable("WORKER", "JOB", "TYPE", "TENANT", "ATTEMPT", "HELD FOR", "PROGRESS")
	paused := newTable("PAUSED ENDPOINT", "TENANT", "FAILURES", "UNTIL", "WORKER")
	for _, w := range all.Workers {
		var lanes []string
		for _, l := range w.Lanes {
			lanes = append(lanes, l.Lane+":"+strconv.Itoa(l.Slots))
		}
		oldest, note := "-", ""
		if len(w.Holds) > 0 {
			oldest = ago(all.AsOf, w.Holds[0].Since)
		}
		if w.Draining {
			note = "stopping"
		}
		workers.row(w.Worker, orDash(strings.Join(lanes, " ")), strconv.FormatInt(w.Running, 10), oldest,
			ago(all.AsOf, w.SeenAt)+" ago", orDash(w.Version), note)
		for _, h := range w.Holds {
			held.row(w.Worker, h.JobID, h.Type, h.Tenant, strconv.Itoa(h.Attempt), ago(all.AsOf, h.Since),
				progressOf(all.AsOf, &h))
		}
		for _, p := range w.PausedEndpoints {
			paused.row(p.Endpoint, p.Tenant, strconv.Itoa(p.Failures), p.Until.Local().Format(time.TimeOnly), w.Worker)
		}
	}
	lanes := newTable("LANE", "WORKERS", "SLOTS", "RUNNING", "WAITING", "OLDEST")
	for _, l := range all.Lanes {
		oldest := "-"
		if l.OldestWait != nil && *l.OldestWait > 0 {
			oldest = time.Duration(*l.OldestWait * float64(time.Second)).Round(time.Second).String()
		}
		lanes.row(l.Lane, strconv.Itoa(l.Workers), strconv.Itoa(l.Slots), strconv.FormatInt(l.Running, 10),
			strconv.FormatInt(l.Waiting, 10), oldest)
	}
	if len(all.Workers) == 0 {
		fmt.Fprintln(env.Stderr, "no workers")
	}
	shown := []*table{workers, paused, lanes}
	if c.Jobs {
		shown = []*table{workers, held, paused, lanes}
	}
	printed := 0
	for _, t := range shown {
		if t.rows > 1 && printed > 0 {
			fmt.Fprintln(env.Stdout)
		}
		t.print(env)
		printed += t.rows - 1
	}
	if all.Truncated {
		fmt.Fprintln(env.Stderr, "there are more workers or lanes than a server lists")
	}
}

func progressOf(now time.Time, h *frame.HeldJob) string {
	if h.ProgressAt == nil {
		return "none"
	}
	s := ago(now, *h.ProgressAt) + " ago"
	if h.Percent != nil {
		s = strconv.FormatFloat(*h.Percent, 'f', -1, 64) + " % " + s
	}
	if h.Stage != "" {
		s = h.Stage + " " + s
	}
	return s
}
