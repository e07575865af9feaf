package ackwire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

const (
	// waitAtServer is how long the server may hold a long poll of Wait; proxies often cut requests after 30 s.
	waitAtServer = 20 * time.Second
	// askAgain is the shortest time between the starts of two long polls, of which the first was answered.
	askAgain = time.Second
	// maxSilence is how long an event stream may be silent. The server sends at least a comment every 25 s.
	maxSilence = 90 * time.Second
)

// wait implements transport: it asks with long polls.
func (c *HTTPClient) wait(ctx context.Context, j *Job) (Status, error) {
	prefer := waitAtServer
	if limit := c.api.http.Timeout; limit > 0 {
		prefer = min(prefer, limit/2)
	}
	header := ""
	if seconds := int(prefer.Seconds()); seconds > 0 {
		header = "wait=" + strconv.Itoa(seconds)
	}
	answered, failures := false, 0
	for {
		began := time.Now()
		st, err := c.api.get(ctx, j.ID, header)
		var pause time.Duration
		switch {
		case err == nil && st.State.Terminal():
			return st, nil
		case err == nil: // a server that drains, or holds too many polls, answers at once: avoid a tight loop
			answered, failures = true, 0
			pause = askAgain - time.Since(began)
		case ctx.Err() != nil || !answered || !transient(err):
			return Status{}, err
		default:
			pause = c.api.cfg.pauseAfter(err, failures)
			failures++
		}
		if err := sleep(ctx, pause); err != nil {
			return Status{}, err
		}
	}
}

// pauseAfter returns the wait after a transient error, where n counts the errors in a row, from 0.
func (c *config) pauseAfter(err error, n int) time.Duration {
	var atLeast time.Duration
	if e, answered := errors.AsType[*Error](err); answered {
		atLeast = e.RetryDelay()
	}
	return c.backoff.wait(n, atLeast)
}

// sleep waits for d. It returns ctx's error if ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watch implements transport: it reads event streams (server-sent events, WHATWG HTML §9.2), and opens the next one
// behind the last version seen when one is lost. The first must open; after that transient errors are retried.
func (c *HTTPClient) watch(ctx context.Context, j *Job, after int64) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		w := &eventWatch{api: c.api, jobID: j.ID, seen: after, yield: yield}
		connected, failures := false, 0
		for {
			over, err := w.stream(ctx)
			switch {
			case over:
				return
			case ctx.Err() != nil:
				err = ctx.Err()
			case w.opened:
				connected, failures, w.opened = true, 0, false
			}
			final := ctx.Err() != nil || !connected || !transient(err)
			if !final && c.api.cfg.noReconnect {
				final, err = true, fmt.Errorf("%w: %w", ErrDisconnected, err)
			}
			if final {
				yield(Status{}, err)
				return
			}
			c.api.cfg.log.Info("event stream lost", "err", err)
			pause := max(c.api.cfg.pauseAfter(err, failures), w.retry)
			failures++
			if err := sleep(ctx, pause); err != nil {
				yield(Status{}, err)
				return
			}
		}
	}
}

// eventWatch is one watch of a job by event streams.
type eventWatch struct {
	api    *rest
	jobID  string
	seen   int64 // the last version that was yielded
	yield  func(Status, error) bool
	opened bool          // the last stream was opened
	retry  time.Duration // how long the server asked to wait before the next stream
}

// stream opens and reads one stream. over reports that the watch has ended: the job has ended, the loop body has
// stopped, or an error was yielded. Else err says why the stream ended.
func (w *eventWatch) stream(ctx context.Context) (over bool, err error) {
	what, path, err := jobPath("watch ", w.jobID, "/events")
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	header := http.Header{"Accept": {"text/event-stream"}}
	if w.seen > 0 {
		header.Set("Last-Event-ID", strconv.FormatInt(w.seen, 10))
	}
	resp, err := w.api.do(ctx, request{what: what, method: http.MethodGet, path: path, header: header})
	if err != nil {
		return false, err
	}
	if resp.StatusCode == http.StatusNoContent { // the job has ended, and its last version was yielded before
		_ = resp.Body.Close()
		return true, nil
	}
	if resp.StatusCode != http.StatusOK {
		return false, refusal(resp)
	}
	defer resp.Body.Close()
	w.opened, w.retry = true, 0
	silence := time.AfterFunc(maxSilence, cancel)
	defer silence.Stop()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, int(min(w.api.cfg.readLimit, 1<<30)))
	var e event
	for lines.Scan() {
		silence.Reset(maxSilence)
		if !e.line(lines.Bytes()) {
			continue
		}
		if over, err := w.take(&e); over || err != nil {
			return over, err
		}
		e = event{retry: e.retry}
	}
	w.retry = e.retry
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		limit := w.api.cfg.readLimit
		w.yield(Status{}, fmt.Errorf("ackwire: %s: a document is above the read limit of %d bytes", what, limit))
		return true, nil
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("ackwire: %s: %w", what, err)
	}
	return false, fmt.Errorf("ackwire: %s: the stream ended", what)
}

// take handles one event. over is as in stream; an error ends the stream.
func (w *eventWatch) take(e *event) (over bool, err error) {
	w.retry = e.retry
	switch e.name {
	case "status":
		version, err := strconv.ParseInt(e.id, 10, 64)
		if err != nil || version == w.seen {
			return false, nil
		}
		st, err := (&update{version: version, raw: e.data}).decode()
		if err != nil {
			w.yield(Status{}, err)
			return true, nil
		}
		w.seen = version
		return !w.yield(st, nil) || st.State.Terminal(), nil
	case "refused":
		var answer struct {
			Error code.Code `json:"error"`
		}
		if json.Unmarshal(e.data, &answer) == nil && answer.Error != "" {
			return false, newError(answer.Error, "job "+w.jobID+": "+answer.Error.Info().Title)
		}
	case string(frame.Goaway):
		return false, errors.New("ackwire: the server goes away")
	case string(frame.Error): // the token has expired: the next request brings a new one, or is refused for it
		return false, errors.New("ackwire: the server ended the stream")
	}
	return false, nil
}

// event is a server-sent event, collected line by line.
type event struct {
	name, id string
	data     []byte
	retry    time.Duration // from the last retry line of the stream
}

// line adds one line and reports whether the event is complete. Ackwire writes an event's data in one line.
func (e *event) line(b []byte) bool {
	if len(b) == 0 {
		if e.name != "" && e.data != nil {
			return true
		}
		e.name, e.data = "", nil
		return false
	}
	name, value, _ := bytes.Cut(b, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "event":
		e.name = string(value)
	case "id":
		e.id = string(value)
	case "data":
		e.data = bytes.Clone(value)
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 32); err == nil {
			e.retry = min(time.Duration(ms)*time.Millisecond, maxReconnectAfter)
		}
	}
	return false
}
