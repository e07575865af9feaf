package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// maxEndpointChars is how much of an endpoint is printed, so that it can be given to replay.
const maxEndpointChars = 2048

// WebhooksCmd has the commands for the endpoints of webhooks.
type WebhooksCmd struct {
	List   WebhooksListCmd   `cmd:"" default:"withargs" help:"List the endpoints that are paused, and those to which webhooks have failed. The default."`
	Replay WebhooksReplayCmd `cmd:"" help:"Send webhooks that have failed again."`
}

// webhookFlags say which webhooks are meant.
type webhookFlags struct {
	Since  time.Duration `help:"Only webhooks that were made within this time before now." default:"24h" placeholder:"DURATION"`
	Tenant string        `help:"Only endpoints and webhooks of this tenant." placeholder:"TENANT"`
}

// since returns the time from which on webhooks are meant.
func (f *webhookFlags) since() (time.Time, error) {
	if f.Since <= 0 {
		return time.Time{}, refused(errors.New("--since must be positive"))
	}
	return time.Now().Add(-f.Since), nil
}

// WebhooksListCmd prints the endpoints that are paused or failing.
type WebhooksListCmd struct {
	Flags        `embed:""`
	webhookFlags `embed:""`
	Jobs         bool `help:"Print the jobs of the webhooks that have failed, too, at most 20 of each endpoint."`
}

// Help returns the text that kong prints below the flags.
func (c *WebhooksListCmd) Help() string {
	return "Each endpoint that a worker has paused, until when and after how many failures in a row; and each to which " +
		"webhooks have failed for good, how many, and the last error. Without --tenant the paused endpoints of all " +
		"tenants, and the failed webhooks of these and of the token's own. 'ackwire deliveries JOBID' lists the webhooks " +
		"of one job. The token needs the permission operate. With --json the answer of GET /v1/webhooks in one line. " +
		queryHelp
}

// Run implements the command.
func (c *WebhooksListCmd) Run(env *Env) error {
	all, err := c.ask(env, &c.Flags)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.print(env, all)
	}
	table := newTable("ENDPOINT", "TENANT", "STATE", "UNTIL", "FAILED", "LAST", "LAST ERROR")
	jobs := newTable("ENDPOINT", "TENANT", "WEBHOOK'S JOB")
	table.cell, jobs.cell = maxEndpointChars, maxEndpointChars
	for _, e := range all.Endpoints {
		state, until := "called", "-"
		last, problem := "-", "-"
		if e.PausedUntil != nil {
			state = fmt.Sprintf("paused after %d failures", e.Failures)
			until = e.PausedUntil.Local().Format(time.DateTime)
		}
		if e.LastAt != nil {
			last = ago(all.AsOf, *e.LastAt) + " ago"
		}
		if e.LastError != nil {
			problem = clip(e.LastError.Code+": "+e.LastError.Message, maxCellChars)
		}
		name := endpointName(e.Endpoint)
		table.row(name, e.Tenant, state, until, strconv.Itoa(e.Failed), last, problem)
		for _, id := range e.Jobs {
			jobs.row(name, e.Tenant, id)
		}
	}
	table.print(env)
	if c.Jobs && jobs.rows > 1 {
		fmt.Fprintln(env.Stdout)
		jobs.print(env)
	}
	if len(all.Endpoints) == 0 {
		fmt.Fprintln(env.Stderr, "no endpoint is paused, and no webhook has failed within this time")
	}
	if all.Truncated {
		fmt.Fprintln(env.Stderr, "there are more: name a --tenant, or a shorter time by --since")
	}
	return nil
}

func (f *webhookFlags) ask(env *Env, flags *Flags) (frame.Webhooks, error) {
	since, err := f.since()
	if err != nil {
		return frame.Webhooks{}, err
	}
	all, err := query(env, flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.Webhooks, error) {
		return api.Webhooks(ctx, ackwire.WebhooksOptions{Tenant: f.Tenant, Since: since})
	})
	if err != nil {
		return all, flags.queryError(env, err)
	}
	return all, nil
}

// endpointName is what is printed of an endpoint; that of a webhook whose request is not kept any more is not known.
func endpointName(endpoint string) string {
	if endpoint == "" {
		return "(not kept any more)"
	}
	return endpoint
}

// WebhooksReplayCmd sends webhooks again.
type WebhooksReplayCmd struct {
	Flags        `embed:""`
	webhookFlags `embed:""`
	Endpoint     string `help:"Only webhooks to this endpoint, as the list prints it." placeholder:"URL"`
	Yes          bool   `short:"y" help:"Do not ask."`
	Preview      bool   `help:"Only count the webhooks."`
	NoWait       bool   `name:"no-wait" aliases:"detach" help:"Exit when the order is taken; it goes on."`
}

// Help returns the text that kong prints below the flags.
func (c *WebhooksReplayCmd) Help() string {
	return "Each webhook that has failed for good since then is sent once more, with the same ID. It counts, asks, and " +
		"orders one bulk action, as 'ackwire bulk retry --type " + topic.WebhookType + " --state failed --since ...' does: " +
		"the gateway must take bulk actions, and without --tenant the webhooks of the token's tenant are meant. With " +
		"--endpoint each is retried by an order of its own instead. The token needs the permissions submit, read and " +
		"operate. Exit codes: 0 all were sent again, or there are none; 1 some were skipped; 2 refused, not reachable or " +
		"wrong usage; 130 interrupted."
}

// Run implements the command.
func (c *WebhooksReplayCmd) Run(env *Env) error {
	if c.Endpoint != "" {
		return c.one(env)
	}
	since, err := c.since()
	if err != nil {
		return err
	}
	bulk := BulkCmd{Flags: c.Flags, Action: string(ackwire.BulkRetry), Yes: c.Yes, Preview: c.Preview, NoWait: c.NoWait}
	return bulk.run(env, ackwire.BulkOrder{Action: ackwire.BulkRetry, Filter: ackwire.ListOptions{
		Types: []string{topic.WebhookType}, States: []job.State{job.Failed}, CreatedAfter: since, Tenant: c.Tenant}})
}

// one sends the webhooks of one endpoint again. An answer names only some of its jobs, so it asks until it is told of
// none that is new.
func (c *WebhooksReplayCmd) one(env *Env) error {
	seen := map[string]bool{}
	skipped := 0
	for {
		f, err := c.failed(env, seen)
		if err != nil {
			return err
		}
		if len(seen) == 0 {
			if err := c.confirm(env, f); err != nil || c.Preview || len(f.jobs) == 0 {
				return err
			}
		}
		if len(f.jobs) == 0 && f.more() {
			fmt.Fprintln(env.Stderr, "there are more, which the server does not tell while these have failed again")
		}
		for _, id := range f.jobs {
			seen[id] = true
			again, err := c.again(env, id)
			if err != nil {
				return err
			}
			if !again {
				skipped++
			}
		}
		if len(f.jobs) == 0 || !f.more() {
			break
		}
	}
	fmt.Fprintf(env.Stderr, "%d of %d webhooks are sent again\n", len(seen)-skipped, len(seen))
	if skipped > 0 {
		return &ExitError{Code: ExitFailed}
	}
	return nil
}

// failedHooks are the webhooks to an endpoint that have failed.
type failedHooks struct {
	jobs      []string // those that the server names and that were not seen
	named     int      // by the server
	count     int      // of those that the server has looked at
	truncated bool     // it has not looked at all
}

// more reports whether there are more than the server names.
func (f *failedHooks) more() bool { return f.truncated || f.count > f.named }

// failed asks for the webhooks to the endpoint that have failed.
func (c *WebhooksReplayCmd) failed(env *Env, seen map[string]bool) (*failedHooks, error) {
	all, err := c.ask(env, &c.Flags)
	if err != nil {
		return nil, err
	}
	f := &failedHooks{truncated: all.Truncated}
	for _, e := range all.Endpoints {
		if e.Endpoint != c.Endpoint {
			continue
		}
		f.count += e.Failed
		f.named += len(e.Jobs)
		for _, id := range e.Jobs {
			if !seen[id] {
				f.jobs = append(f.jobs, id)
			}
		}
	}
	return f, nil
}

// confirm says how many webhooks match, and asks whether to send them.
func (c *WebhooksReplayCmd) confirm(env *Env, f *failedHooks) error {
	count := strconv.Itoa(f.count)
	if f.truncated {
		count = "at least " + count
	}
	fmt.Fprintf(env.Stderr, "%s webhooks match\n", count)
	if c.Preview || c.Yes || len(f.jobs) == 0 {
		return nil
	}
	bulk := BulkCmd{Action: string(ackwire.BulkRetry)}
	return bulk.ask(env, int64(f.count))
}

// again retries one webhook. It returns false if the webhook waits or runs again already, or is known no longer.
func (c *WebhooksReplayCmd) again(env *Env, id string) (bool, error) {
	state, err := patiently(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (job.State, error) {
		return api.Job(id).Retry(ctx)
	})
	switch at := ackwire.CodeOf(err); {
	case err == nil:
		newView(env, &c.Flags).ordered(id, state, "sent again")
		return true, nil
	case at == code.InvalidState || at == code.NotFound:
		fmt.Fprintf(env.Stderr, "webhook %s is skipped: %s\n", clean(id), at)
		return false, nil
	}
	return false, c.queryError(env, err)
}
