package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

const maxCellChars = 64 // of a cell of a table, unless it says more

const queryHelp = "Exit codes: 0 answered; 2 refused, not reachable or wrong usage; 130 interrupted."

// Filter selects jobs, of a list or for a bulk action.
type Filter struct {
	State   []string          `help:"Only jobs in these states, such as pending,retrying." placeholder:"STATE"`
	Type    []string          `help:"Only jobs of these types." placeholder:"TYPE"`
	Lane    []string          `help:"Only jobs of these lanes." placeholder:"LANE"`
	Subject []string          `help:"Only jobs of this subject. May be repeated." placeholder:"SUBJECT" xor:"whose" sep:"none"`
	Mine    bool              `help:"Only jobs of the token's subject." xor:"whose"`
	Tag     map[string]string `help:"Only jobs with this tag. May be repeated, up to 4 times: they must have all of them." placeholder:"KEY=VALUE" mapsep:"none"`
	Since   time.Duration     `help:"Only jobs created within this time before now, e.g. 1h." placeholder:"DURATION"`
	Tenant  string            `help:"The tenant whose jobs are meant, if it is not the token's: it needs the permission operate." placeholder:"TENANT"`
}

// listOptions returns the filter for the client.
func (f *Filter) listOptions() (o ackwire.ListOptions, err error) {
	if f.Since < 0 {
		return o, refused(errors.New("--since must not be negative"))
	}
	o = ackwire.ListOptions{Types: f.Type, Lanes: f.Lane, Subjects: f.Subject, Mine: f.Mine, Tags: f.Tag,
		Tenant: f.Tenant}
	for _, s := range f.State {
		o.States = append(o.States, job.State(s))
	}
	if f.Since > 0 {
		o.CreatedAfter = time.Now().Add(-f.Since)
	}
	return o, nil
}

// ListCmd prints jobs, newest first.
type ListCmd struct {
	Flags  `embed:""`
	Filter `embed:""`
	Limit  *int `help:"Print at most this many jobs; by default 50." placeholder:"N" xor:"much"`
	All    bool `help:"Print all jobs." xor:"much"`
}

// Help returns the text that kong prints below the flags.
func (c *ListCmd) Help() string { return queryHelp }

// Run implements the command.
func (c *ListCmd) Run(env *Env) error {
	limit := frame.DefaultListLimit
	if c.Limit != nil {
		limit = *c.Limit
	}
	if limit < 1 {
		return refused(errors.New("--limit must be at least 1"))
	}
	o, err := c.listOptions()
	if err != nil {
		return err
	}
	v, printed := newView(env, &c.Flags), 0
	table := newTable("JOB", "TYPE", "STATE", "ATTEMPT", "CREATED", "AGE", "UPDATED")
	for {
		o.Limit = frame.MaxListLimit
		if !c.All {
			o.Limit = min(o.Limit, limit-printed)
		}
		page, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (ackwire.Page, error) {
			return api.List(ctx, o)
		})
		if err != nil {
			table.print(env) // the jobs of earlier pages
			return c.queryError(env, err)
		}
		for _, st := range page.Jobs {
			if c.JSON {
				v.line(st.Raw)
			} else {
				table.row(st.JobID, st.Type, string(st.State), fmt.Sprintf("%d/%d", st.Attempt, st.MaxAttempts),
					st.CreatedAt.Local().Format(time.DateTime), ago(page.AsOf, st.CreatedAt), ago(page.AsOf, st.UpdatedAt)+" ago")
			}
		}
		printed += len(page.Jobs)
		o.Cursor = page.NextCursor
		if o.Cursor == "" || !c.All && printed >= limit {
			break
		}
	}
	table.print(env)
	switch {
	case o.Cursor != "":
		fmt.Fprintln(env.Stderr, "there are more: --limit or --all prints them")
	case printed == 0:
		fmt.Fprintln(env.Stderr, "no such jobs")
	}
	return nil
}

// StatsCmd counts jobs and shows each lane's workers and waiting jobs.
type StatsCmd struct {
	Flags  `embed:""`
	Tag    map[string]string `help:"Count only jobs with this tag. May be repeated, up to 4 times: they must have all of them." placeholder:"KEY=VALUE" mapsep:"none"`
	Tenant string            `help:"The tenant whose jobs are counted, if it is not the token's: it needs the permission operate." placeholder:"TENANT"`
}

// Help returns the text that kong prints below the flags.
func (c *StatsCmd) Help() string { return queryHelp }

// Run implements the command.
func (c *StatsCmd) Run(env *Env) error {
	stats, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.Stats, error) {
		opts := []ackwire.StatsOption{ackwire.CountTags(c.Tag)}
		if c.Tenant != "" {
			opts = append(opts, ackwire.CountTenant(c.Tenant))
		}
		return api.Stats(ctx, opts...)
	})
	if err != nil {
		return c.queryError(env, err)
	}
	if c.JSON {
		return c.print(env, stats)
	}
	jobs := newTable("TYPE", "LANE", "STATE", "JOBS")
	for _, n := range stats.Counts {
		jobs.row(n.Type, n.Lane, string(n.State), fmt.Sprint(n.Jobs))
	}
	lanes := newTable("LANE", "WORKERS", "WAITING", "OLDEST")
	for _, l := range stats.Lanes {
		oldest := ""
		if l.OldestSince != nil {
			oldest = max(0, time.Since(*l.OldestSince)).Round(time.Second).String()
		}
		lanes.row(l.Lane, fmt.Sprint(l.Workers), fmt.Sprint(l.Waiting), oldest)
	}
	if len(stats.Counts) > 0 {
		jobs.print(env)
		fmt.Fprintln(env.Stdout)
	} else {
		fmt.Fprintln(env.Stderr, "no jobs")
	}
	lanes.print(env)
	return nil
}

// WhyCmd explains what a job waits for.
type WhyCmd struct {
	Flags `embed:""`
	ID    string `arg:"" name:"jobid" help:"The job's ID."`
}

// Help returns the text that kong prints below the flags.
func (c *WhyCmd) Help() string { return queryHelp }

// Run implements the command.
func (c *WhyCmd) Run(env *Env) error {
	why, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.Why, error) {
		return api.Job(c.ID).Why(ctx)
	})
	if err != nil {
		return c.queryError(env, err)
	}
	if c.JSON {
		return c.print(env, why)
	}
	var b bytes.Buffer
	b.WriteString(clip(clean(why.Detail), maxLineChars) + "\n")
	row := func(name, value string) { fmt.Fprintf(&b, "%-8s %s\n", name, clip(clean(value), maxLineChars)) }
	row("job", why.JobID)
	row("state", string(why.State))
	row("reason", string(why.Reason))
	row("lane", why.Lane)
	if why.Workers != nil {
		row("workers", fmt.Sprint(*why.Workers))
	}
	if why.Waiting != nil {
		row("waiting", fmt.Sprint(*why.Waiting))
	}
	if why.Ahead > 0 {
		row("ahead", fmt.Sprint(why.Ahead))
	}
	if why.NextAt != nil {
		row("next at", why.NextAt.Local().Format(time.RFC3339))
	}
	_, _ = env.Stdout.Write(b.Bytes())
	return nil
}

// DeliveriesCmd lists the webhooks of a job with their states.
type DeliveriesCmd struct {
	Flags `embed:""`
	ID    string `arg:"" name:"jobid" help:"The job's ID."`
}

// Help returns the text that kong prints below the flags.
func (c *DeliveriesCmd) Help() string { return queryHelp }

// Run implements the command.
func (c *DeliveriesCmd) Run(env *Env) error {
	all, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.Deliveries, error) {
		return api.Job(c.ID).Deliveries(ctx)
	})
	if err != nil {
		return c.queryError(env, err)
	}
	if c.JSON {
		return c.print(env, all)
	}
	table := newTable("DELIVERY", "EVENT", "STATE", "ATTEMPT", "NEXT", "LAST ERROR")
	for _, d := range all.Deliveries {
		var doc job.Document
		if json.Unmarshal(d.Job, &doc) != nil {
			table.row(d.DeliveryID, d.Event, "gone", "", "", "")
			continue
		}
		next, problem := "", ""
		if doc.RetryAt != nil {
			next = doc.RetryAt.Local().Format(time.DateTime)
		}
		if doc.Error != nil {
			problem = doc.Error.Code + ": " + doc.Error.Message
		}
		table.row(d.DeliveryID, d.Event, string(doc.State), fmt.Sprintf("%d/%d", doc.Attempt, doc.MaxAttempts), next, problem)
	}
	table.print(env)
	if len(all.Deliveries) == 0 {
		fmt.Fprintln(env.Stderr, "no webhook was queued for this job")
	}
	return nil
}

// query calls ask with an HTTP client, within getTimeout.
func query[T any](env *Env, f *Flags, ask func(context.Context, *ackwire.HTTPClient) (T, error)) (none T, _ error) {
	ctx, cancel := context.WithTimeout(env.Context, getTimeout)
	defer cancel()
	api, err := ackwire.NewHTTP(f.URL, f.options(env, nil)...)
	if err != nil {
		return none, err
	}
	defer api.CloseIdleConnections()
	return ask(ctx, api)
}

func (f *Flags) queryError(env *Env, err error) error {
	if env.Context.Err() != nil {
		return &ExitError{Code: ExitInterrupted}
	}
	return refused(f.unreachable(err))
}

// print writes an answer as one line of JSON.
func (f *Flags) print(env *Env, v any) error {
	b, err := plainjson.Marshal(v)
	if err != nil {
		return refused(err)
	}
	newView(env, f).line(b)
	return nil
}

// table prints rows with aligned columns. Cells are cleaned and clipped.
type table struct {
	rows int // including the head
	cell int // the most characters of a cell that are printed
	b    bytes.Buffer
	w    *tabwriter.Writer
}

func newTable(head ...string) *table {
	t := &table{cell: maxCellChars}
	t.w = tabwriter.NewWriter(&t.b, 0, 0, 2, ' ', 0)
	t.row(head...)
	return t
}

func (t *table) row(cells ...string) {
	t.rows++
	for i, c := range cells {
		cells[i] = clip(clean(c), t.cell)
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

// print writes the table, or nothing if it has no row below its head.
func (t *table) print(env *Env) {
	if t.rows > 1 {
		_ = t.w.Flush() // never fails on a buffer
		_, _ = env.Stdout.Write(t.b.Bytes())
	}
}

// ago returns the time from t to now in its two largest units, such as 3h12m.
func ago(now, t time.Time) string {
	const day = 24 * time.Hour
	d := max(0, now.Sub(t))
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}
