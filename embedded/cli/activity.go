package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/sparkline"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// ActivityCmd prints what happened to jobs in the last minutes.
type ActivityCmd struct {
	Flags  `embed:""`
	Tenant string `help:"Of this tenant instead of the token's own; for tokens with operate." placeholder:"NAME"`
}

// Help returns the text that kong prints below the flags.
func (c *ActivityCmd) Help() string {
	return "How many jobs were accepted, completed, failed and cancelled in the last 60 minutes, by lane: in the last 5 " +
		"minutes, in all of them, and minute by minute as a line whose highest point is the most in a minute. The " +
		"token must permit to read all jobs of the tenant. With --json the answer of GET /v1/activity in one line. " +
		queryHelp
}

// Run implements the command.
func (c *ActivityCmd) Run(env *Env) error {
	a, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.Activity, error) {
		return api.Activity(ctx, c.Tenant)
	})
	if err != nil {
		return c.queryError(env, err)
	}
	if c.JSON {
		b, err := plainjson.Marshal(a)
		if err != nil {
			return refused(err)
		}
		newView(env, &c.Flags).line(b)
		return nil
	}
	rows := newTable("LANE", "JOBS", "5 MIN", "60 MIN", "MOST", "BY MINUTE")
	for _, l := range a.Lanes {
		for _, row := range []struct {
			what    string
			minutes []int64
		}{{"accepted", l.Accepted}, {"completed", l.Completed}, {"failed", l.Failed}, {"cancelled", l.Cancelled}} {
			hour, most := sumUp(row.minutes)
			if hour == 0 {
				continue
			}
			last, _ := sumUp(row.minutes[max(0, len(row.minutes)-5):])
			rows.row(l.Lane, row.what, strconv.FormatInt(last, 10), strconv.FormatInt(hour, 10), strconv.FormatInt(most, 10),
				drawn(row.minutes))
		}
	}
	if len(a.Lanes) == 0 {
		fmt.Fprintln(env.Stderr, "nothing has happened within the last hour")
	} else {
		rows.print(env)
	}
	if a.Since.After(a.From) {
		fmt.Fprintf(env.Stderr, "What was before %s is not complete: a tracker has begun to count then.\n",
			a.Since.Local().Format(time.TimeOnly))
	}
	if a.Truncated {
		fmt.Fprintln(env.Stderr, "Not everything was counted: too many tenants had jobs.")
	}
	return nil
}

func sumUp(minutes []int64) (sum, most int64) {
	for _, n := range minutes {
		sum += n
		most = max(most, n)
	}
	return sum, most
}

func drawn(minutes []int64) string {
	values := make([]float64, len(minutes))
	for i, n := range minutes {
		values[i] = float64(n)
	}
	return sparkline.Draw(values)
}
