package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// Bounds of the batches that a file is sent in.
const (
	batchLine  = 2 << 20 // largest line, in bytes
	batchBytes = 2 << 20 // a batch takes no further line above it
)

// single reports whether a flag is set that is about one job.
func (c *SubmitCmd) single() bool {
	return c.Key != "" || c.Stream != "" || c.NoWait || c.Timeout != nil || c.Deadline != nil || c.RunAt != nil ||
		c.In != nil || c.Callback != "" || len(c.CallbackOn) > 0 || len(c.Tag) > 0
}

// batchCount counts what became of the jobs of a file.
type batchCount struct{ acked, refused, unknown int }

// runBatch submits the jobs of a file, batch after batch. It stops at a line that is no job, and at a batch that is
// refused as a whole.
func (c *SubmitCmd) runBatch(env *Env) error {
	api, err := ackwire.NewHTTP(c.URL, c.options(env, nil)...)
	if err != nil {
		return refused(err)
	}
	defer api.CloseIdleConnections()
	from := env.Stdin
	if c.Batch != "-" {
		f, err := os.Open(c.Batch)
		if err != nil {
			return refused(fmt.Errorf("read batch: %w", err))
		}
		defer f.Close()
		from = f
	}
	lines := batchReader{lines: bufio.NewScanner(from), trace: c.Traceparent}
	lines.lines.Buffer(nil, batchLine)
	v := newView(env, &c.Flags)
	var n batchCount
	for {
		items, end := lines.next()
		if len(items) > 0 {
			if err := c.sendBatch(env, api, v, items, &n); err != nil {
				return err
			}
		}
		if errors.Is(end, io.EOF) {
			return n.exit()
		}
		if end != nil {
			return refused(fmt.Errorf("%w: nothing from there on was submitted", end))
		}
	}
}

func (c *SubmitCmd) sendBatch(
	env *Env, api *ackwire.HTTPClient, v *view, items []ackwire.BatchItem, n *batchCount,
) error {
	ctx, cancel := context.WithTimeout(env.Context, ackTimeout)
	defer cancel()
	results, err := api.SubmitBatch(ctx, items)
	switch {
	case err != nil && env.Context.Err() != nil:
		return &ExitError{Code: ExitInterrupted, Err: fmt.Errorf("interrupted after %d jobs", n.all())}
	case err != nil:
		return refused(fmt.Errorf("%w (after %d jobs)", c.unreachable(err), n.all()))
	}
	for _, r := range results {
		n.add(r.Outcome())
		v.batched(r)
	}
	if env.Context.Err() != nil {
		return &ExitError{Code: ExitInterrupted, Err: fmt.Errorf("interrupted after %d jobs", n.all())}
	}
	return nil
}

func (n *batchCount) all() int { return n.acked + n.refused + n.unknown }

func (n *batchCount) add(o frame.Outcome) {
	switch o {
	case frame.Acked:
		n.acked++
	case frame.Refused:
		n.refused++
	default:
		n.unknown++
	}
}

func (n *batchCount) exit() error {
	switch {
	case n.all() == 0:
		return refused(errors.New("the batch has no jobs"))
	case n.acked < n.all():
		return refused(fmt.Errorf("of %d jobs %d were refused, and of %d the outcome is not known", n.all(), n.refused,
			n.unknown))
	}
	return nil
}

// batched prints the result of one job of a batch.
func (v *view) batched(r ackwire.BatchResult) {
	v.mu.Lock()
	defer v.mu.Unlock()
	told := frame.BatchResult{Outcome: r.Outcome()}
	if r.Err == nil {
		told.Ack = &frame.AckFrame{
			JobID: r.Job.ID, State: string(r.Job.State), StatusURL: r.Job.StatusURL, Duplicate: r.Job.Duplicate,
			Warning: r.Job.Warning, Ahead: r.Job.Ahead, Estimate: inSeconds(r.Job.Estimate),
		}
		if r.Job.Grant.Token != "" {
			told.Ack.Grant = &frame.Grant{Token: r.Job.Grant.Token, ExpiresAt: r.Job.Grant.Expires}
		}
	} else {
		var p frame.Problem
		if e, answered := errors.AsType[*ackwire.Error](r.Err); answered {
			p = e.Problem
		} else {
			p = frame.NewProblem(code.Indeterminate, r.Err.Error())
		}
		told.Error = &p
	}
	switch {
	case v.flags.JSON:
		if b, err := plainjson.Marshal(told); err == nil {
			v.line(b)
		}
	case told.Ack != nil && told.Ack.Duplicate:
		fmt.Fprintf(v.env.Stdout, "%s %s duplicate\n", told.Outcome, clean(told.Ack.JobID))
	case told.Ack != nil:
		fmt.Fprintf(v.env.Stdout, "%s %s\n", told.Outcome, clean(told.Ack.JobID))
	default:
		fmt.Fprintf(v.env.Stdout, "%s %s\n", told.Outcome, clean(told.Error.Error()))
	}
}

// batchReader reads jobs, one per line.
type batchReader struct {
	lines *bufio.Scanner
	line  int    // the number of the last line
	trace string // of jobs that name none
}

// next returns the jobs of the next batch, and io.EOF or another error once there are no more. Empty lines are passed
// over.
func (b *batchReader) next() (items []ackwire.BatchItem, err error) {
	bytesRead := 0
	for len(items) < ackwire.MaxBatch && bytesRead < batchBytes {
		if !b.lines.Scan() {
			if err := b.lines.Err(); err != nil {
				return items, fmt.Errorf("line %d: %w", b.line+1, err)
			}
			return items, io.EOF
		}
		b.line++
		text := bytes.TrimSpace(b.lines.Bytes())
		if len(text) == 0 {
			continue
		}
		item, err := b.item(bytes.Clone(text))
		if err != nil {
			return items, fmt.Errorf("line %d: %w", b.line, err)
		}
		items = append(items, item)
		bytesRead += len(text)
	}
	return items, nil
}

// item reads a job: the body of POST /v1/jobs.
func (b *batchReader) item(text []byte) (ackwire.BatchItem, error) {
	var r frame.SubmitRequest
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields() // a typo must not be passed over a thousand times
	if err := dec.Decode(&r); err != nil {
		return ackwire.BatchItem{}, err
	}
	if dec.More() {
		return ackwire.BatchItem{}, errors.New("a line holds one job")
	}
	if r.Job == "" || len(r.Payload) == 0 {
		return ackwire.BatchItem{}, errors.New("a job has the fields job and payload")
	}
	item := ackwire.BatchItem{Type: r.Job, Payload: r.Payload}
	with := func(o ackwire.SubmitOption) { item.Options = append(item.Options, o) }
	if r.Key != "" {
		with(ackwire.Key(r.Key))
	}
	if r.RunAt != nil {
		with(ackwire.RunAt(*r.RunAt))
	}
	for _, bound := range []struct {
		seconds *float64
		option  func(time.Duration) ackwire.SubmitOption
	}{{r.Timeout, ackwire.Timeout}, {r.Deadline, ackwire.Deadline}} {
		if bound.seconds == nil {
			continue
		}
		s, err := job.SecondsOf(*bound.seconds)
		if err != nil || s == 0 {
			return ackwire.BatchItem{}, errors.New("timeout and deadline must be a positive number of seconds")
		}
		with(bound.option(s.Duration()))
	}
	if r.CallbackURL != "" {
		with(ackwire.CallbackURL(r.CallbackURL, r.CallbackEvents...))
	}
	if trace := r.Traceparent; trace != "" {
		with(ackwire.Trace(trace, r.Tracestate))
	} else if b.trace != "" {
		with(ackwire.Trace(b.trace, ""))
	}
	if len(r.Tags) > 0 {
		with(ackwire.WithTags(r.Tags))
	}
	if r.Grant != nil {
		with(ackwire.WithGrant(time.Duration(r.Grant.TTL*float64(time.Second)), r.Grant.Permissions...))
	}
	return item, nil
}
