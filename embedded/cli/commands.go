package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/job"
)

// Bounds of the commands.
const (
	ackTimeout      = 30 * time.Second // how long submit waits for the ack
	getTimeout      = 30 * time.Second
	maxPayloadBytes = 16 << 20 // read from a file or stdin; the server's own limit is far lower
)

// SubmitCmd submits a job and follows it to its end.
type SubmitCmd struct {
	Flags   `embed:""`
	Type    string `arg:"" optional:"" help:"The job's type, such as demo.echo."`
	Payload string `arg:"" optional:"" default:"{}" help:"The payload: JSON, @FILE, or - for stdin. Without it: {}."`

	Batch string `help:"Submit many jobs: a file, or - for stdin, with one job per line, as JSON with the fields job, payload, key and so on, as POST /v1/jobs takes them. Prints what became of each, one per line, and does not watch them." placeholder:"FILE"`

	Key      string         `help:"Idempotency key: submitting again with the same key and payload finds the same job."`
	Stream   string         `help:"Print this stream of the job, such as tokens, and at its end on stderr how the job has ended, instead of its progress and its result." placeholder:"NAME"`
	NoWait   bool           `name:"no-wait" aliases:"detach" help:"Print the job's ID and exit; the job goes on."`
	Timeout  *time.Duration `help:"Bound one attempt, e.g. 30s." placeholder:"DURATION"`
	Deadline *time.Duration `help:"Bound the whole job, e.g. 1h." placeholder:"DURATION"`
	RunAt    *instant       `name:"run-at" xor:"start" help:"Do not start before this time, as RFC 3339, up to 30 days ahead." placeholder:"TIME"`
	In       *time.Duration `name:"in" xor:"start" help:"Do not start before this much time has passed, e.g. 10m." placeholder:"DURATION"`

	Tag map[string]string `help:"Attach this tag to the job, so that it can be found by it. May be repeated, up to 16 times." placeholder:"KEY=VALUE" mapsep:"none"`

	Traceparent string `help:"Trace that the job belongs to (W3C Trace Context)." env:"TRACEPARENT" placeholder:"00-TRACE-SPAN-FLAGS"`

	Callback   string      `help:"URL that is sent a signed webhook when the job has ended." placeholder:"URL"`
	CallbackOn []job.State `name:"callback-on" help:"States at whose beginning a webhook is sent, instead of the terminal ones." placeholder:"STATE"`
}

// Help returns the text that kong prints below the flags.
func (c *SubmitCmd) Help() string {
	return exitHelp + " With --batch: 0 if each job was acked, 2 if one was refused or its outcome is not known."
}

const exitHelp = `Exit codes: 0 completed; 1 failed or cancelled; 2 refused, not reachable or wrong usage; 130 interrupted by Ctrl-C, which leaves the job running: "ackwire watch ID" watches it again.`

// Validate implements kong's check.
func (c *SubmitCmd) Validate() error {
	for _, f := range []struct {
		name string
		d    *time.Duration
	}{{"timeout", c.Timeout}, {"deadline", c.Deadline}, {"in", c.In}} {
		if f.d != nil && *f.d <= 0 {
			return fmt.Errorf("--%s must be positive, not %s", f.name, *f.d)
		}
	}
	if err := job.Tags(c.Tag).Validate(); err != nil {
		return fmt.Errorf("--tag: %w", err)
	}
	switch {
	case c.Batch != "" && (c.Type != "" || c.single()):
		return errors.New("--batch takes jobs and their settings from its lines alone")
	case c.Batch == "" && c.Type == "":
		return errors.New(`expected "<type>", or --batch`)
	case c.Stream != "" && c.NoWait:
		return errors.New("--stream and --no-wait exclude each other")
	case c.Stream != "" && !job.ValidStream(c.Stream):
		return fmt.Errorf("--stream %.64q is not the name of a stream: 1 to 32 of a-z 0-9 _ -", c.Stream)
	}
	return nil
}

// instant is a time on the command line.
type instant time.Time

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *instant) UnmarshalText(text []byte) error {
	t, err := job.ParseTime(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a time like 2026-01-31T12:00:00Z (RFC 3339)", text)
	}
	*i = instant(t)
	return nil
}

// Run implements the command.
func (c *SubmitCmd) Run(env *Env) error {
	if c.Batch != "" {
		return c.runBatch(env)
	}
	payload, err := readPayload(env, c.Payload)
	if err != nil {
		return err
	}
	v := newView(env, &c.Flags)
	ctx, cancel := context.WithTimeout(env.Context, ackTimeout)
	defer cancel()
	client, err := ackwire.Dial(ctx, c.URL, c.options(env, v)...)
	if err != nil {
		return c.submitError(env, c.unreachable(err))
	}
	defer client.Close()
	opts := []ackwire.SubmitOption{ackwire.NoKey()} // who runs the command is told of a doubt, and decides
	if c.Key != "" {
		opts = append(opts, ackwire.Key(c.Key))
	}
	if c.Traceparent != "" {
		opts = append(opts, ackwire.Trace(c.Traceparent, ""))
	}
	if c.Timeout != nil {
		opts = append(opts, ackwire.Timeout(*c.Timeout))
	}
	if c.Deadline != nil {
		opts = append(opts, ackwire.Deadline(*c.Deadline))
	}
	switch {
	case c.RunAt != nil:
		opts = append(opts, ackwire.RunAt(time.Time(*c.RunAt)))
	case c.In != nil:
		opts = append(opts, ackwire.RunAt(time.Now().Add(*c.In)))
	}
	if c.NoWait {
		opts = append(opts, ackwire.NoWatch())
	}
	if c.Stream != "" {
		opts = append(opts, ackwire.WithStreams(c.Stream))
	}
	if c.Callback != "" {
		opts = append(opts, ackwire.CallbackURL(c.Callback, c.CallbackOn...))
	}
	if len(c.Tag) > 0 {
		opts = append(opts, ackwire.WithTags(c.Tag))
	}
	j, err := client.Submit(ctx, c.Type, payload, opts...)
	if err != nil {
		return c.submitError(env, err)
	}
	v.accepted(j, c.NoWait)
	if c.NoWait {
		return nil
	}
	if c.Stream != "" {
		return v.followStream(j, c.Stream)
	}
	return v.follow(j.ID, j.Watch(env.Context))
}

// submitError returns the error of a submit without an ack, with its exit code and what to do next.
func (c *SubmitCmd) submitError(env *Env, err error) error {
	code := ExitRefused
	unknown := errors.Is(err, ackwire.ErrIndeterminate)
	switch {
	case env.Context.Err() != nil && unknown:
		code, err = ExitInterrupted, errors.New("interrupted before the ack: whether the job exists is not known")
	case env.Context.Err() != nil:
		return errInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no ack in time: %w", err)
	}
	if unknown {
		advice := "submit again with the same --key to find out"
		if c.Key == "" {
			advice = "with a --key it would be safe to submit again"
		}
		err = fmt.Errorf("%w (%s)", err, advice)
	}
	return &ExitError{Code: code, Err: err}
}

// errInterrupted is the error of a submit that Ctrl-C has ended before anything was sent.
var errInterrupted = &ExitError{Code: ExitInterrupted, Err: errors.New("interrupted: nothing was submitted")}

// WatchCmd follows a job of the tenant, or all jobs of the token's subject.
type WatchCmd struct {
	Flags `embed:""`
	ID    string `arg:"" name:"jobid" optional:"" help:"The job's ID."`
	Mine  bool   `help:"Watch all jobs of the token's subject, wherever they were submitted, until interrupted."`
}

// Help returns the text that kong prints below the flags.
func (c *WatchCmd) Help() string { return exitHelp }

// Validate implements kong's check.
func (c *WatchCmd) Validate() error {
	if c.Mine == (c.ID != "") {
		return errors.New("name one job, or watch all of yours with --mine")
	}
	return nil
}

// Run implements the command.
func (c *WatchCmd) Run(env *Env) error {
	v := newView(env, &c.Flags)
	client, err := ackwire.Dial(env.Context, c.URL, c.options(env, v)...)
	if env.Context.Err() != nil && err != nil {
		return &ExitError{Code: ExitInterrupted}
	}
	if err != nil {
		return refused(c.unreachable(err))
	}
	defer client.Close()
	if c.Mine {
		return v.followAll(client.WatchMine(env.Context))
	}
	return v.follow(c.ID, client.Job(c.ID).Watch(env.Context))
}

// GetCmd prints a job's current document.
type GetCmd struct {
	Flags `embed:""`
	ID    string `arg:"" name:"jobid" help:"The job's ID."`
}

// Help returns the text that kong prints below the flags.
func (c *GetCmd) Help() string {
	return "Exit codes: 0 completed or not ended; 1 failed or cancelled; 2 no such job, refused, not reachable or wrong " +
		"usage."
}

// Run implements the command.
func (c *GetCmd) Run(env *Env) error {
	st, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (ackwire.Status, error) {
		return api.Job(c.ID).Get(ctx)
	})
	if err != nil {
		return refused(c.unreachable(err))
	}
	v := newView(env, &c.Flags)
	if c.JSON {
		v.line(st.Raw)
	} else {
		v.document(st)
	}
	return exitOf(st.State)
}

// follow shows a job until it ends.
func (v *view) follow(jobID string, statuses iter.Seq2[ackwire.Status, error]) error {
	defer v.clear()
	for st, err := range statuses {
		switch {
		case err != nil && v.env.Context.Err() != nil:
			v.detached(jobID)
			return &ExitError{Code: ExitInterrupted}
		case err != nil:
			return refused(err)
		}
		v.status(st)
		if st.State.Terminal() {
			return exitOf(st.State)
		}
	}
	return refused(fmt.Errorf("job %s: the watch ended before the job did", jobID))
}

// followAll shows jobs, a line per change, until it is interrupted.
func (v *view) followAll(statuses iter.Seq2[ackwire.Status, error]) error {
	for st, err := range statuses {
		switch {
		case err != nil && v.env.Context.Err() != nil:
			return &ExitError{Code: ExitInterrupted}
		case err != nil:
			return refused(err)
		}
		v.change(st)
	}
	return nil
}

// readPayload returns the payload for the argument: the JSON itself, the content of a file (@FILE) or stdin (-). If it
// is not JSON, the error names the byte at which the mistake is.
func readPayload(env *Env, arg string) (json.RawMessage, error) {
	b := []byte(arg)
	switch {
	case arg == "-":
		var err error
		if b, err = readStdin(env); err != nil {
			return nil, err
		}
	case strings.HasPrefix(arg, "@"):
		f, err := os.Open(arg[1:])
		if err != nil {
			return nil, refused(fmt.Errorf("read payload: %w", err))
		}
		defer f.Close()
		if b, err = readBounded(f); err != nil {
			return nil, refused(fmt.Errorf("read payload: %w", err))
		}
	}
	var raw json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			err = fmt.Errorf("%w, at byte %d", err, e.Offset)
		}
		return nil, refused(fmt.Errorf("the payload is not JSON: %w", err))
	}
	return raw, nil
}

// readStdin reads all of stdin unless Ctrl-C comes first. The reading goroutine then ends only with the process, for a
// read from a terminal cannot be interrupted.
func readStdin(env *Env) ([]byte, error) {
	type result struct {
		b   []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		b, err := readBounded(env.Stdin)
		done <- result{b, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, refused(fmt.Errorf("read payload from stdin: %w", r.err))
		}
		return r.b, nil
	case <-env.Context.Done():
		return nil, errInterrupted
	}
}

func readBounded(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPayloadBytes+1))
	if err == nil && len(b) > maxPayloadBytes {
		err = fmt.Errorf("more than %d bytes", maxPayloadBytes)
	}
	return b, err
}
