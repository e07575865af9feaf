package processor

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// Bounds of a run's log. A line above one of them is left out, and the log says how many were.
const (
	maxLog       = 1 << 20  // bytes of a run's log
	logRate      = 64 << 10 // bytes per second
	logBurst     = 64 << 10
	maxLogUnsent = 64 << 10 // bytes that are not stored

	// lastLine is the place that is kept for the line that says, at the end, how many lines were left out.
	lastLine = 256
)

// runLog is the stream log of a run. Writing to it never waits. A log that cannot be stored does not fail the run: it
// ends with the last line that is stored.
type runLog struct {
	of *streams

	// Guarded by streams.mu.
	pipe    pipe
	pace    *rate.Limiter
	used    int   // bytes
	unsent  int   // bytes that are not stored
	leftOut int64 // lines since the last that was taken
}

func newRunLog(w *streams) *runLog {
	return &runLog{of: w, pipe: pipe{name: job.StreamLog, kind: job.StreamJSON},
		pace: rate.NewLimiter(logRate, logBurst)}
}

// write takes a line, or leaves it out.
func (l *runLog) write(line logLine) {
	w := l.of
	w.mu.Lock()
	defer w.mu.Unlock()
	item, err := line.encode(l.leftOut)
	if err != nil || !l.takes(len(item)) {
		l.leftOut++
		w.meter.leftOut.Inc()
		return
	}
	l.leftOut = 0
	l.add(item)
}

// takes reports whether a line of so many bytes is within all bounds, and counts it. It is called with mu held.
func (l *runLog) takes(n int) bool {
	end := l.of.end
	switch {
	case end.closing, end.sealed, end.lost != nil, l.pipe.failed:
		return false
	case n > stream.MaxPiece, l.used+n > maxLog-lastLine, l.unsent+n+len(",") > maxLogUnsent:
		return false
	}
	return l.pace.AllowN(time.Now(), n)
}

func (l *runLog) add(item []byte) {
	l.used += len(item)
	first := l.pipe.addItem(item)
	l.unsent += len(item)
	if !first {
		l.unsent += len(",")
	}
	l.of.added(&l.pipe, first)
}

// finish says, in a last line, how many lines were left out since the last one, if there were any.
func (l *runLog) finish() {
	w := l.of
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.leftOut == 0 || w.end.sealed || w.end.lost != nil || l.pipe.failed {
		return
	}
	line := logLine{at: time.Now(), level: slog.LevelWarn, message: "lines of this log were left out"}
	item, err := line.encode(l.leftOut)
	if err == nil {
		l.leftOut = 0
		l.add(item)
	}
}

// connect gives the job its streams, and a logger that writes to log and to the stream log.
func (j *Job) connect(log *slog.Logger, w *streams) {
	j.own, j.streams = log, w
	j.Log = slog.New(logHandler{worker: log.Handler(), log: w.log})
}

// logHandler writes a job's log: to the worker's log, as that does, and lines of level INFO and above to the run's
// stream log, where they are JSON objects with time, level, message and the attributes that the handler has added.
type logHandler struct {
	worker slog.Handler // has the attributes job, run and attempt
	log    *runLog
	scope  *logScope // the handler's own attributes and groups
}

// Enabled implements slog.Handler.
func (h logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.worker.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	var err error
	if h.worker.Enabled(ctx, r.Level) {
		err = h.worker.Handle(ctx, r.Clone())
	}
	if r.Level >= slog.LevelInfo {
		h.log.write(logLine{at: r.Time, level: r.Level, message: r.Message, fields: h.scope.fields(r)})
	}
	return err
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.worker.WithAttrs(attrs), h.log, &logScope{outer: h.scope, attrs: attrs}}
}

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return logHandler{h.worker.WithGroup(name), h.log, &logScope{outer: h.scope, group: name}}
}

var errLineTooLarge = errors.New("a line of a log is too large")
