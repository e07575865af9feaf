package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/stream"
)

// StreamFlags say which part of a stream is printed.
type StreamFlags struct {
	Offset   string `help:"Begin behind this offset instead of at the beginning (-1); now is what comes from now on." default:"-1" placeholder:"OFFSET"`
	NoFollow bool   `name:"no-follow" help:"Print what is there now, and exit."`
}

// StreamCmd prints a stream of a job.
type StreamCmd struct {
	Flags       `embed:""`
	StreamFlags `embed:""`
	ID          string `arg:"" name:"jobid" help:"The job's ID."`
	Name        string `arg:"" name:"name" help:"The stream's name, such as tokens."`
}

// Help returns the text that kong prints below the flags.
func (c *StreamCmd) Help() string {
	return "A text is printed as it is, a list of values as JSON, one in each line. A terminal is shown control " +
		"characters as \\u001b. When the run that was read is lost, a line on stderr says that what was printed is void, " +
		"and the output begins anew. With --json each piece is an object with its run and its position. " + streamExit
}

const streamExit = "Exit codes: 0 printed; 2 refused, not reachable or wrong usage; 130 interrupted by Ctrl-C, which " +
	"leaves the job running."

// Run implements the command.
func (c *StreamCmd) Run(env *Env) error {
	p := &streamPrinter{v: newView(env, &c.Flags), jobID: c.ID, name: c.Name}
	p.print = p.raw
	return c.show(env, &c.StreamFlags, p)
}

// LogsCmd prints a job's log.
type LogsCmd struct {
	Flags       `embed:""`
	StreamFlags `embed:""`
	ID          string `arg:"" name:"jobid" help:"The job's ID."`
}

// Help returns the text that kong prints below the flags.
func (c *LogsCmd) Help() string {
	return "The log is the job's stream log. With --json each line is an entry as the handler has written it. When the " +
		"run that was read is lost, a line on stderr says so, and the log of the next one follows. " + streamExit
}

// Run implements the command.
func (c *LogsCmd) Run(env *Env) error {
	p := &streamPrinter{v: newView(env, &c.Flags), jobID: c.ID, name: job.StreamLog}
	p.print = p.entries
	return c.show(env, &c.StreamFlags, p)
}

// show prints the part of a stream that the flags choose.
func (f *Flags) show(env *Env, which *StreamFlags, p *streamPrinter) error {
	from, err := which.cursor()
	if err != nil {
		return refused(err)
	}
	client, err := ackwire.Dial(env.Context, f.URL, f.options(env, p.v)...)
	if env.Context.Err() != nil && err != nil {
		return &ExitError{Code: ExitInterrupted}
	}
	if err != nil {
		return refused(f.unreachable(err))
	}
	defer client.Close()
	j := client.Job(p.jobID)
	now := stream.Cursor{}
	if which.NoFollow || which.Offset == "now" {
		if now, err = whole(env.Context, j, p.name); err != nil {
			return p.failed(err)
		}
	}
	if which.Offset == "now" {
		from = now
	}
	if which.NoFollow && !before(from, now) {
		return nil
	}
	p.next = from
	for chunk, err := range j.Stream(env.Context, p.name, ackwire.FromCursor(from)) {
		if err == nil {
			err = p.chunk(chunk)
		}
		if err != nil {
			return p.failed(err)
		}
		if which.NoFollow && !before(p.next, now) {
			break
		}
	}
	p.finish()
	return nil
}

// cursor returns where the output begins.
func (f *StreamFlags) cursor() (stream.Cursor, error) {
	if f.Offset == "-1" || f.Offset == "now" {
		return stream.Cursor{}, nil
	}
	c, err := stream.ParseOffset(f.Offset)
	if err != nil {
		return c, fmt.Errorf("--offset is -1, now or an offset that was printed: %w", err)
	}
	return c, nil
}

// whole returns the cursor behind what a stream has now; the zero cursor if nobody has written to it.
func whole(ctx context.Context, j *ackwire.Job, name string) (stream.Cursor, error) {
	list, err := j.Streams(ctx)
	for _, s := range list.Streams {
		if s.Name == name && s.Total > 0 {
			return stream.Cursor{Dispatch: list.Run, At: s.Total}, err
		}
	}
	return stream.Cursor{}, err
}

func before(a, b stream.Cursor) bool {
	return a.Dispatch < b.Dispatch || a.Dispatch == b.Dispatch && a.At < b.At
}

// streamPrinter prints a stream to stdout, and what people must know of it to stderr.
type streamPrinter struct {
	v           *view
	jobID, name string
	print       func(ackwire.Chunk) error

	next stream.Cursor // behind what was printed
	open bool          // the last line that was printed has no end yet
}

// chunk prints a piece.
func (p *streamPrinter) chunk(c ackwire.Chunk) error {
	p.v.mu.Lock()
	defer p.v.mu.Unlock()
	p.v.waiting = false
	p.next = c.Cursor()
	if p.v.flags.JSON && p.name != job.StreamLog {
		return p.object(c)
	}
	if c.Reset {
		if p.open && p.v.env.StdoutTerminal {
			fmt.Fprintln(p.v.env.Stdout)
		}
		p.open = false
		fmt.Fprintf(p.v.env.Stderr, "run %d of the job has taken over: what was printed of %s before this line is void\n",
			c.Run, p.name)
	}
	return p.print(c)
}

// object prints a piece as one JSON object.
func (p *streamPrinter) object(c ackwire.Chunk) error {
	b, err := plainjson.Marshal(struct {
		JobID  string            `json:"jobId"`
		Stream string            `json:"stream"`
		Run    int               `json:"run"`
		From   int64             `json:"from"`
		Offset string            `json:"nextOffset"`
		Text   string            `json:"text,omitempty"`
		Items  []json.RawMessage `json:"items,omitempty"`
		Reset  bool              `json:"reset,omitempty"`
	}{p.jobID, p.name, c.Run, c.From, c.Cursor().Offset(), c.Text, c.Items, c.Reset})
	if err != nil {
		return err
	}
	p.v.line(b)
	return nil
}

// raw prints a text as it is, and values in a line each. A terminal gets nothing that it acts on but line ends and
// tabs.
func (p *streamPrinter) raw(c ackwire.Chunk) error {
	for _, item := range c.Items {
		var b bytes.Buffer
		if err := json.Compact(&b, item); err != nil {
			return err
		}
		b.WriteByte('\n')
		out := b.Bytes()
		if p.v.env.StdoutTerminal {
			out = harmless(out)
		}
		if _, err := p.v.env.Stdout.Write(out); err != nil {
			return err
		}
	}
	if c.Text == "" {
		return nil
	}
	text := c.Text
	if p.v.env.StdoutTerminal {
		text = visible(text)
	}
	p.open = !strings.HasSuffix(text, "\n")
	_, err := p.v.env.Stdout.Write([]byte(text))
	return err
}

// finish ends the last line, on a terminal.
func (p *streamPrinter) finish() {
	p.v.mu.Lock()
	defer p.v.mu.Unlock()
	if p.open && p.v.env.StdoutTerminal {
		fmt.Fprintln(p.v.env.Stdout)
	}
	p.open = false
}

// failed returns the error of a stream that has broken off, and prints how to go on.
func (p *streamPrinter) failed(err error) error {
	p.finish()
	p.v.mu.Lock()
	defer p.v.mu.Unlock()
	interrupted := p.v.env.Context.Err() != nil
	if p.next.Dispatch > 0 && (interrupted || errors.Is(err, ackwire.ErrDisconnected)) {
		fmt.Fprintf(p.v.env.Stderr, "%s goes on behind --offset %s\n", p.name, p.next.Offset())
	}
	if interrupted {
		return &ExitError{Code: ExitInterrupted}
	}
	return refused(err)
}

// followStream prints a stream of a job to its end, and then how the job has ended.
func (v *view) followStream(j *ackwire.Job, name string) error {
	p := &streamPrinter{v: v, jobID: j.ID, name: name}
	p.print = p.raw
	if name == job.StreamLog {
		p.print = p.entries
	}
	err := p.all(j.Stream(v.env.Context, name))
	if v.env.Context.Err() != nil {
		v.detached(j.ID)
		return &ExitError{Code: ExitInterrupted}
	}
	if _, answered := errors.AsType[*ackwire.Error](err); err != nil && !answered {
		return refused(err)
	}
	p.finish()
	if err != nil { // the stream is gone; the job is not
		fmt.Fprintf(v.env.Stderr, "%s: %s\n", name, clean(explain(err)))
	}
	st, err := j.Wait(v.env.Context)
	switch {
	case v.env.Context.Err() != nil && err != nil:
		v.detached(j.ID)
		return &ExitError{Code: ExitInterrupted}
	case err != nil:
		return refused(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.flags.JSON {
		v.line(st.Raw)
	} else {
		v.outcome(st)
	}
	return exitOf(st.State)
}

func (p *streamPrinter) all(chunks iter.Seq2[ackwire.Chunk, error]) error {
	for c, err := range chunks {
		if err == nil {
			err = p.chunk(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
