package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

const (
	barWidth     = 30 // characters
	maxBarText   = 40 // characters of a progress message beside the bar
	barSteps     = 1000
	maxLineChars = 500 // of any message in human output
)

// view prints the statuses of jobs, and notes about the connection. The command's goroutine and the client's own,
// which logs, share it.
type view struct {
	env   *Env
	flags *Flags

	mu      sync.Mutex // guards what follows, and the order of output
	bar     *progressbar.ProgressBar
	last    string // the last progress line, so that it is not repeated
	waiting bool   // a note about a lost connection was printed since the last status
}

func newView(env *Env, flags *Flags) *view { return &view{env: env, flags: flags} }

// line prints one JSON document as one line of stdout.
func (v *view) line(doc []byte) {
	var b bytes.Buffer
	if json.Compact(&b, doc) != nil {
		return // unreachable: the client has decoded it
	}
	b.WriteByte('\n')
	_, _ = v.env.Stdout.Write(harmless(b.Bytes()))
}

// accepted prints the ack of a submit.
func (v *view) accepted(j *ackwire.Job, leave bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.flags.JSON {
		ack, _ := plainjson.Marshal(struct {
			JobID     string    `json:"jobId"`
			State     job.State `json:"state"`
			StatusURL string    `json:"statusUrl"`
			Duplicate bool      `json:"duplicate,omitempty"`
			Ahead     *int64    `json:"ahead,omitempty"`
			Estimate  *float64  `json:"estimate,omitempty"`
		}{j.ID, j.State, j.StatusURL, j.Duplicate, j.Ahead, inSeconds(j.Estimate)}) // strings and numbers always marshal
		v.line(ack)
		return
	}
	note := ""
	if j.Duplicate {
		note = " (it existed: same key)"
	}
	if leave {
		fmt.Fprintln(v.env.Stdout, clean(j.ID))
		if note != "" {
			fmt.Fprintf(v.env.Stderr, "job %s%s\n", clean(j.ID), note)
		}
	} else {
		fmt.Fprintf(v.env.Stderr, "job %s accepted%s\n", clean(j.ID), note)
	}
	if text := placeText(&j.Ack); text != "" {
		fmt.Fprintln(v.env.Stderr, text)
	}
}

// status prints a status of the job; a terminal one with the result.
func (v *view) status(st ackwire.Status) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting = false
	switch {
	case v.flags.JSON:
		v.line(st.Raw)
	case st.State.Terminal():
		v.clearLocked()
		v.ended(st)
	case v.env.Terminal:
		v.draw(st)
	default:
		if text := progressText(st); text != v.last {
			v.last = text
			fmt.Fprintln(v.env.Stderr, text)
		}
	}
}

// change prints a status of one of many jobs in one line.
func (v *view) change(st ackwire.Status) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting = false
	if v.flags.JSON {
		v.line(st.Raw)
		return
	}
	text := progressText(st)
	if st.Error != nil {
		text += " " + errorText(st.Error)
	}
	fmt.Fprintf(v.env.Stdout, "%s  %s  %s  %s\n", st.UpdatedAt.Local().Format(time.TimeOnly), clean(st.JobID),
		clean(st.Type), text)
}

// doing returns the stage and the message of progress, such as "collect: reading rows", or the one that is there.
func doing(p *job.Progress) string {
	stage, message := clean(p.Stage), clean(p.Message)
	if stage != "" && message != "" {
		return stage + ": " + message
	}
	return stage + message
}

// progressText returns a status in one line, such as "processing 40% collect: reading rows (attempt 2 of 3)".
func progressText(st ackwire.Status) string {
	parts := []string{clean(string(st.State))}
	if p := st.Progress; p != nil && st.State == job.Processing {
		parts = append(parts, fmt.Sprintf("%.0f%%", p.Percent))
		if what := doing(p); what != "" {
			parts = append(parts, clip(what, maxLineChars))
		}
	}
	if st.State == job.Retrying && st.RetryAt != nil {
		parts = append(parts, "at "+st.RetryAt.Local().Format(time.TimeOnly))
	}
	if st.State == job.Scheduled && st.RunAt != nil {
		parts = append(parts, "for "+st.RunAt.Local().Format(time.DateTime))
	}
	if st.CancelRequested {
		parts = append(parts, "(cancel requested)")
	}
	if st.Attempt > 1 {
		parts = append(parts, fmt.Sprintf("(attempt %d of %d)", st.Attempt, st.MaxAttempts))
	}
	return strings.Join(parts, " ")
}

// draw moves the progress bar. It stays below 100%, which only the terminal status shows.
func (v *view) draw(st ackwire.Status) {
	if v.bar == nil {
		v.bar = progressbar.NewOptions(barSteps,
			progressbar.OptionSetWriter(v.env.Stderr),
			progressbar.OptionSetWidth(barWidth),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetRenderBlankState(true),
			progressbar.OptionSetTheme(progressbar.ThemeASCII),
		)
	}
	text, step := clean(string(st.State)), 0
	if p := st.Progress; p != nil {
		step = int(min(max(p.Percent, 0), 99.9) * barSteps / 100)
		if what := doing(p); what != "" && st.State == job.Processing {
			text = clip(what, maxBarText)
		}
	}
	if st.Attempt > 1 {
		text += fmt.Sprintf(" (attempt %d of %d)", st.Attempt, st.MaxAttempts)
	}
	v.bar.Describe(text)
	_ = v.bar.Set(step)
}

// ended prints how a job has ended: the result to stdout, the rest to stderr.
func (v *view) ended(st ackwire.Status) {
	v.outcome(st)
	if len(st.Result) > 0 {
		_, _ = v.env.Stdout.Write(pretty(st.Result))
	}
	if st.ResultURL != "" {
		if strings.HasPrefix(st.ResultURL, "/") { // a path of the gateway
			fmt.Fprintf(v.env.Stderr, "file: ackwire result %s\n", clean(st.JobID))
		} else {
			fmt.Fprintln(v.env.Stdout, clean(st.ResultURL))
		}
	}
}

// outcome prints to stderr whether a job has completed, and why not.
func (v *view) outcome(st ackwire.Status) {
	took := ""
	if st.FinishedAt != nil {
		took = fmt.Sprintf(" after %s", st.FinishedAt.Sub(st.CreatedAt).Round(time.Millisecond))
	}
	tries := ""
	if st.Attempt > 1 {
		tries = fmt.Sprintf(", attempt %d of %d", st.Attempt, st.MaxAttempts)
	}
	fmt.Fprintf(v.env.Stderr, "%s%s%s\n", st.State, took, tries)
	if e := st.Error; e != nil {
		fmt.Fprintf(v.env.Stderr, "%s\n", errorText(e))
	}
}

func errorText(e *job.Error) string {
	if e.Message == "" {
		return clean(e.Code)
	}
	return clean(e.Code) + ": " + clip(clean(e.Message), maxLineChars)
}

// document prints a document for people to read.
func (v *view) document(st ackwire.Status) {
	var b bytes.Buffer
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", name, clip(clean(fmt.Sprintf(format, args...)), maxLineChars))
	}
	at := func(name string, t *time.Time) {
		if t != nil {
			row(name, "%s", t.Local().Format(time.RFC3339))
		}
	}
	row("job", "%s", st.JobID)
	row("type", "%s", st.Type)
	row("state", "%s", progressText(st))
	if p := st.Progress; p != nil && len(p.Data) > 0 {
		row("data", "%s", p.Data)
	}
	row("attempt", "%d of %d", st.Attempt, st.MaxAttempts)
	if st.Lane != "" {
		row("lane", "%s", st.Lane)
	}
	if st.Subject != "" {
		row("subject", "%s", st.Subject)
	}
	for i, key := range slices.Sorted(maps.Keys(st.Tags)) {
		name := ""
		if i == 0 {
			name = "tags"
		}
		row(name, "%s: %s", key, st.Tags[key])
	}
	at("created", &st.CreatedAt)
	at("started", st.StartedAt)
	at("finished", st.FinishedAt)
	at("retry at", st.RetryAt)
	at("run at", st.RunAt)
	for i, a := range st.Attempts {
		name := ""
		if i == 0 {
			name = "runs"
		}
		took, how := "", "runs"
		if a.EndedAt != nil {
			took, how = " after "+a.EndedAt.Sub(a.StartedAt).Round(time.Millisecond).String(), string(a.Outcome)
		}
		why := ""
		if a.Error != nil {
			why = ", " + errorText(a.Error)
		}
		row(name, "%d  %s%s on %s%s", a.Number, how, took, a.Worker, why)
	}
	if st.Error != nil {
		row("error", "%s", errorText(st.Error))
	}
	if st.ResultURL != "" {
		row("result", "%s", st.ResultURL)
	}
	if len(st.Result) > 0 {
		b.WriteString("result\n")
		b.Write(pretty(st.Result))
	}
	_, _ = v.env.Stdout.Write(b.Bytes())
}

// detached prints how to watch the job again.
func (v *view) detached(jobID string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clearLocked()
	back := "ackwire watch "
	if v.flags.URL != DefaultURL {
		back += "--url " + service.Redact(v.flags.URL) + " "
	}
	fmt.Fprintf(v.env.Stderr, "detached: job %s goes on; watch it again with: %s\n", clean(jobID), clean(back+jobID))
}

func (v *view) clear() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clearLocked()
}

// clearLocked removes the bar from the terminal. v.mu is held.
func (v *view) clearLocked() {
	if v.bar != nil {
		_ = v.bar.Clear()
		v.bar = nil
	}
}

// logger returns a logger for the client that prints a note when the connection is lost, once until the next status.
// Only the client's log tells of it.
func (v *view) logger() *slog.Logger { return slog.New(notes{v}) }

type notes struct{ v *view }

func (n notes) Enabled(_ context.Context, l slog.Level) bool { return l == slog.LevelInfo }
func (n notes) WithAttrs([]slog.Attr) slog.Handler           { return n }
func (n notes) WithGroup(string) slog.Handler                { return n }

func (n notes) Handle(_ context.Context, r slog.Record) error {
	v := n.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.waiting {
		return nil
	}
	v.waiting = true
	v.clearLocked()
	fmt.Fprintf(v.env.Stderr, "%s, reconnecting\n", clean(r.Message))
	return nil
}
