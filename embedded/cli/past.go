package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// maxEmptyPages is how many pages without an event, one after the other, are read. A server reads so much of its log
// for one page, and no more.
const maxEmptyPages = 1000

// HistoryCmd prints the events of a job.
type HistoryCmd struct {
	Flags `embed:""`
	ID    string `arg:"" name:"jobid" help:"The job's ID."`
	Limit *int   `help:"Print at most this many events; by default all." placeholder:"N"`
}

// Help returns the text that kong prints below the flags.
func (c *HistoryCmd) Help() string {
	return "Each event of the job as it lies in the log, the oldest first: when, what, who wrote it, the job's state " +
		"after it, and what it says; or why it changed nothing; and the ID of the job's trace, if an event has one. " +
		"With --json one event per line. " + queryHelp
}

// Run implements the command.
func (c *HistoryCmd) Run(env *Env) error {
	if c.Limit != nil && *c.Limit < 1 {
		return refused(errors.New("--limit must be at least 1"))
	}
	o := ackwire.HistoryOptions{Limit: frame.MaxHistoryLimit}
	v, table := newView(env, &c.Flags), newTable("TIME", "EVENT", "BY", "DISPATCH", "STATE", "WHAT")
	printed, empty, truncated := 0, 0, false
	trace := "" // the ID of the first one that an event carries
	for {
		if c.Limit != nil {
			o.Limit = min(frame.MaxHistoryLimit, *c.Limit-printed)
		}
		page, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.History, error) {
			return api.Job(c.ID).History(ctx, o)
		})
		if err != nil {
			table.print(env) // the events of earlier pages
			return c.queryError(env, err)
		}
		for i := range page.Events {
			if err := c.show(v, table, &page.Events[i]); err != nil {
				return refused(err)
			}
		}
		if page.Truncated && !truncated {
			truncated = true
			fmt.Fprintln(env.Stderr, "the job's first events are not kept any more: "+since(page.Earliest))
		}
		for _, e := range page.Events {
			trace = cmp.Or(trace, e.TraceID)
		}
		printed += len(page.Events)
		empty++
		if len(page.Events) > 0 {
			empty = 0
		}
		o.Cursor = page.NextCursor
		if o.Cursor == "" || c.Limit != nil && printed >= *c.Limit || empty == maxEmptyPages {
			break
		}
	}
	table.print(env)
	if trace != "" && !c.JSON {
		fmt.Fprintln(env.Stdout, "trace "+clip(clean(trace), maxCellChars))
	}
	switch {
	case empty == maxEmptyPages:
		return refused(fmt.Errorf("the server has found no event in %d pages", empty))
	case o.Cursor != "":
		fmt.Fprintln(env.Stderr, "there are more: without --limit all are printed")
	case printed == 0:
		fmt.Fprintln(env.Stderr, "no event is left")
	}
	return nil
}

// since says since when there are events.
func since(earliest *time.Time) string {
	if earliest == nil {
		return "nothing is left of that time"
	}
	return "the log begins at " + earliest.Local().Format(time.RFC3339)
}

// show prints one event.
func (c *HistoryCmd) show(v *view, t *table, e *frame.HistoryEvent) error {
	if c.JSON {
		b, err := plainjson.Marshal(e)
		if err == nil {
			v.line(b)
		}
		return err
	}
	by := string(e.By)
	if e.Worker != "" {
		by = e.Worker
	}
	dispatch := ""
	if e.Dispatch > 0 {
		dispatch = strconv.Itoa(e.Dispatch)
	}
	t.row(e.At.Local().Format("2006-01-02 15:04:05.000"), orDash(string(e.Type)), orDash(by), dispatch,
		string(e.State), said(e))
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// said is what an event says, or why it changed nothing.
func said(e *frame.HistoryEvent) string {
	if e.Applied != nil && !*e.Applied {
		return "refused (" + e.Reason + "): " + e.Detail
	}
	var p job.Progress
	var failure job.Error
	switch {
	case len(e.Error) > 0 && json.Unmarshal(e.Error, &failure) == nil:
		return failure.Code + ": " + failure.Message
	case len(e.Progress) > 0 && json.Unmarshal(e.Progress, &p) == nil:
		return fmt.Sprintf("%g%% %s", p.Percent, p.Message)
	}
	return ""
}

// PayloadCmd prints what was submitted.
type PayloadCmd struct {
	Flags  `embed:""`
	ID     string `arg:"" name:"jobid" help:"The job's ID."`
	Output string `short:"o" help:"Write it to this file instead of stdout." placeholder:"FILE"`
}

// Help returns the text that kong prints below the flags.
func (c *PayloadCmd) Help() string {
	return "The payload is printed as it was sent. The token needs the permission payloads. " +
		"Exit codes: 0 written; 2 the payload is not kept any more, the job is not known, or the request was refused."
}

// Run implements the command.
func (c *PayloadCmd) Run(env *Env) error {
	return c.download(env, c.Output, "payload", func(api *ackwire.HTTPClient) (*ackwire.Content, error) {
		return api.Job(c.ID).Payload(env.Context)
	})
}
