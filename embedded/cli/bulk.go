package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// BulkCmd retries, cancels or erases all jobs that match a filter.
type BulkCmd struct {
	Flags   `embed:""`
	Filter  `embed:""`
	Action  string `arg:"" enum:"retry,cancel,erase" help:"What is done to each job: retry, cancel or erase."`
	Yes     bool   `short:"y" help:"Do not ask."`
	Preview bool   `help:"Only count the jobs."`
	NoWait  bool   `name:"no-wait" aliases:"detach" help:"Exit when the order is taken; the bulk action goes on."`
}

// Help returns the text that kong prints below the flags.
func (c *BulkCmd) Help() string {
	return "It first counts the jobs, and asks. Then the server does it, as a job of its own: Ctrl-C leaves it running, " +
		"and 'ackwire cancel' stops it. Without --state a retry takes failed and cancelled jobs. Each job is ordered once; " +
		"those that have changed meanwhile are skipped, and named. Exit codes: 0 all jobs were done, or there are none; 1 " +
		"some were skipped, or the bulk action did not complete; 2 refused, not reachable or wrong usage; 130 interrupted."
}

// Run implements the command.
func (c *BulkCmd) Run(env *Env) error {
	filter, err := c.listOptions()
	if err != nil {
		return err
	}
	return c.run(env, ackwire.BulkOrder{Action: ackwire.BulkAction(c.Action), Filter: filter})
}

// run counts the jobs, asks, and orders the bulk action.
func (c *BulkCmd) run(env *Env, o ackwire.BulkOrder) error {
	p, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (ackwire.BulkPreview, error) {
		return api.PreviewBulk(ctx, o)
	})
	if err != nil {
		return c.queryError(env, err)
	}
	if c.Preview && c.JSON {
		return c.print(env, frame.BulkAnswer{Action: o.Action, Count: p.Count, Examples: p.Examples})
	}
	fmt.Fprintf(env.Stderr, "%d jobs match\n", p.Count)
	if c.Preview || p.Count == 0 {
		for _, id := range p.Examples {
			fmt.Fprintln(env.Stdout, clean(id))
		}
		return nil
	}
	if !c.Yes {
		if err := c.ask(env, p.Count); err != nil {
			return err
		}
	}
	return c.order(env, o, p.Count)
}

// ask asks whether to go on.
func (c *BulkCmd) ask(env *Env, n int64) error {
	fmt.Fprintf(env.Stderr, "%s %d jobs? [y/N] ", c.Action, n)
	answer := make(chan string, 1)
	go func() { // it ends only with the process, for a read of a terminal cannot be ended
		line, _ := bufio.NewReader(env.Stdin).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
		return refused(errors.New("nothing was done (--yes does not ask)"))
	case <-env.Context.Done():
		return &ExitError{Code: ExitInterrupted, Err: errors.New("interrupted: nothing was done")}
	}
}

// order orders the bulk action and follows it.
func (c *BulkCmd) order(env *Env, o ackwire.BulkOrder, n int64) error {
	v := newView(env, &c.Flags)
	ctx, cancel := context.WithTimeout(env.Context, orderTimeout)
	defer cancel()
	client, err := ackwire.Dial(ctx, c.URL, c.options(env, v)...)
	if err != nil {
		return refused(c.unreachable(err))
	}
	defer client.Close()
	b, err := client.Bulk(ctx, o, n)
	switch {
	case ackwire.CodeOf(err) == code.CountDiffers:
		return refused(fmt.Errorf("%w: jobs have changed since they were counted, nothing was done", err))
	case err != nil:
		return refused(err)
	}
	if c.NoWait {
		v.ordered(b.ID, b.State, "it goes on; ackwire watch follows it")
		return nil
	}
	return c.follow(env, v, b)
}

// follow shows the progress of a bulk action until it has ended, and then what became of the jobs.
func (c *BulkCmd) follow(env *Env, v *view, b *ackwire.Job) error {
	fmt.Fprintf(env.Stderr, "bulk action %s\n", clean(b.ID))
	var last ackwire.Status
	for st, err := range b.Watch(env.Context) {
		if env.Context.Err() != nil {
			return &ExitError{Code: ExitInterrupted, Err: fmt.Errorf(
				"the bulk action goes on: 'ackwire watch %s' follows it, 'ackwire cancel %s' stops it", clean(b.ID), clean(b.ID))}
		}
		if err != nil {
			return refused(err)
		}
		last = st
		if p := st.Progress; p != nil && !st.State.Terminal() && !c.JSON {
			fmt.Fprintf(env.Stderr, "%d of %d: %s\n", p.Current, p.Total, clean(p.Message))
		}
	}
	if last.State != job.Completed {
		message := ""
		if p := last.Progress; p != nil {
			message = fmt.Sprintf(", after %d of %d jobs", p.Current, p.Total)
		}
		return &ExitError{Code: ExitFailed, Err: fmt.Errorf("the bulk action is %s%s", last.State, message)}
	}
	r, err := ackwire.BulkResultOf(last)
	if err != nil {
		return refused(err)
	}
	c.show(env, v, r)
	if r.Done < r.Matched {
		return &ExitError{Code: ExitFailed, Err: fmt.Errorf("%d jobs were skipped: 'ackwire stream %s %s' names all",
			r.Matched-r.Done, clean(b.ID), frame.BulkStream)}
	}
	return nil
}

func (c *BulkCmd) show(env *Env, v *view, r ackwire.BulkResult) {
	if c.JSON {
		b, _ := plainjson.Marshal(r) // numbers and texts always marshal
		v.line(b)
		return
	}
	fmt.Fprintf(env.Stderr, "%d of %d jobs done\n", r.Done, r.Matched)
	if len(r.Jobs) == 0 {
		return
	}
	table := newTable("SKIPPED", "REASON")
	for _, s := range r.Jobs {
		table.row(s.JobID, string(s.Reason))
	}
	table.print(env)
}
