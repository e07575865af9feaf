package load

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/history"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// handle handles a frame that was read at the time now.
func (c *client) handle(b []byte, now time.Time) {
	var f serverFrame
	if err := json.Unmarshal(b, &f); err != nil {
		c.r.rec.Error("a frame that cannot be read")
		c.r.cfg.Log.Warn("frame", "client", c.id, "err", err)
		return
	}
	switch f.Type {
	case frame.Ack:
		c.onAck(&f, now)
	case frame.Status:
		c.onStatus(&f, now)
	case frame.Subscribed:
		c.onSubscribed(&f)
	case frame.Error:
		c.onError(&f)
	case frame.Chunk:
		c.onChunk(&f, now)
	case frame.Goaway:
		c.onGoaway(&f)
	case frame.Cursor:
		c.mu.Lock()
		c.cursor = f.Cursor
		c.mu.Unlock()
	}
}

// onAck handles an ack. It adds the record before anything that follows from the ack.
func (c *client) onAck(f *serverFrame, now time.Time) {
	c.mu.Lock()
	a := c.inFlight[f.ID]
	delete(c.inFlight, f.ID)
	conn := c.conn
	c.mu.Unlock()
	if a == nil {
		c.r.rec.Error("an ack that nobody waits for")
		return
	}
	k := &c.r.kinds[a.of.Job]
	c.r.hist.Add(history.Record{Kind: history.Ack, Client: c.id, Conn: conn, Job: f.JobID, Watch: k.Watch})
	c.r.heard(now)
	c.r.jobs.add(f.JobID, &openJob{of: a.of, client: c.id, acked: now, watched: k.Watch})
	var shared *fan
	if k.Watchers > 0 {
		shared = &fan{}
	}
	var written *output
	if a.output {
		written = &output{words: k.Words}
		c.r.hist.Add(written.asked(c.id, conn, f.JobID, true))
	}
	if k.Watch {
		c.mu.Lock()
		c.watches[f.JobID] = &watching{of: a, fan: shared}
		if written != nil {
			c.outputs[f.JobID] = written
		}
		c.mu.Unlock()
	}
	c.r.rec.Acked(a.of, now.Sub(a.due), f.Duplicate)
	if k.Get > 0 && c.r.chance(k.Get) {
		c.r.sampleGet(f.JobID, c.id)
	}
	if k.Stream > 0 && c.r.chance(k.Stream) {
		c.r.stream(c, f.JobID)
	}
	c.r.gather(c, f.JobID, k.Watchers, shared, written)
	c.r.room.Send()
}

// seen returns the record of a status.
func (f *serverFrame) seen() history.Record {
	r := history.Record{Kind: history.Status, Job: f.Job.JobID, Version: f.Version, State: f.Job.State}
	var totals job.Streams
	if len(f.Job.Streams) > 0 && r.State.Terminal() && json.Unmarshal(f.Job.Streams, &totals) == nil {
		r = r.WithTotals(totals)
	}
	if f.Job.Attempt <= 1 && r.State != job.Failed {
		return r // most are: nothing more is decoded
	}
	var failure *job.Error
	var runs []job.Attempt
	if len(f.Job.Error) > 0 && json.Unmarshal(f.Job.Error, &failure) != nil ||
		len(f.Job.Runs) > 0 && json.Unmarshal(f.Job.Runs, &runs) != nil {
		return r // the checker needs no other fields then
	}
	return r.WithAttempts(f.Job.Attempt, failure, runs)
}

func (c *client) onStatus(f *serverFrame, now time.Time) {
	jobID, state := f.Job.JobID, f.Job.State
	seen := f.seen()
	seen.Client, seen.Conn = c.id, c.conn
	c.r.hist.Add(seen)
	c.r.heard(now)
	c.r.rec.Count(func(n *measure.Counts) { n.Statuses++ })
	c.mu.Lock()
	w := c.watches[jobID]
	if w != nil {
		w.after = max(w.after, f.Version)
		if state.Terminal() {
			delete(c.watches, jobID)
		}
	}
	if o := c.outputs[jobID]; o != nil {
		o.version = max(o.version, f.Version)
	}
	c.mu.Unlock()
	if w == nil || !state.Terminal() {
		return
	}
	c.r.ended(jobID, state)
	if w.of != nil {
		c.r.rec.Seen(w.of.of, now.Sub(w.of.due))
	}
	if w.fan != nil {
		if after, ok := w.fan.since(now); ok {
			c.r.rec.Took(measure.Spread, after)
		}
	}
}

func (c *client) onSubscribed(f *serverFrame) {
	for _, j := range f.Jobs {
		c.r.hist.Add(history.Record{
			Kind: history.Watched, Client: c.id, Conn: c.conn, Job: j.JobID, Version: j.Version, Reset: j.Reset,
			Text: string(j.Error),
		})
	}
	if f.Mine {
		c.r.hist.Add(history.Record{Kind: history.Watched, Client: c.id, Conn: c.conn})
	}
	var later []ref
	c.mu.Lock()
	delete(c.asking, f.ID)
	done := len(c.asking) == 0 && c.conn > 1
	if f.Mine {
		c.all = ""
	}
	for _, j := range f.Jobs {
		if w := c.watches[j.JobID]; j.Reset && w != nil {
			w.after = 0 // its version of the job is not in the log
		}
		w, o := c.watches[j.JobID], c.outputs[j.JobID]
		if o != nil && j.Reset {
			o.version = 0
		}
		if j.Error != "" && (w != nil || o != nil) {
			if j.Error.Info().Retryable {
				later = append(later, ref{jobID: j.JobID})
			} else {
				delete(c.watches, j.JobID)
				delete(c.outputs, j.JobID)
				c.r.jobs.unwatched(j.JobID)
			}
			c.r.rec.Error("subscribe: " + string(j.Error))
		}
	}
	if done && !c.dialled.IsZero() {
		c.r.rec.Took(measure.Resume, time.Since(c.dialled))
		c.dialled = time.Time{} // once per socket
	}
	conn := c.conn
	c.mu.Unlock()
	if len(later) > 0 {
		c.askLater(conn, later)
	}
}

func (c *client) onError(f *serverFrame) {
	switch f.Code {
	case code.Unavailable, code.Indeterminate, code.Internal:
		c.r.fault("client %d was answered %s", c.id, f.Code)
	}
	c.mu.Lock()
	a, refs, all := c.inFlight[f.ID], c.asking[f.ID], c.all != "" && c.all == f.ID
	delete(c.inFlight, f.ID)
	delete(c.asking, f.ID)
	conn := c.conn
	c.mu.Unlock()
	switch {
	case a != nil:
		c.r.rec.Error("submit: " + string(f.Code))
		c.onRefused(f, a)
		c.r.room.Send()
	case refs != nil:
		c.r.rec.Error("subscribe: " + string(f.Code))
		for _, r := range refs {
			c.r.hist.Add(history.Record{Kind: history.Watched, Client: c.id, Conn: conn, Job: r.jobID, Text: string(f.Code)})
		}
		if f.Retryable {
			c.askLater(conn, refs)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, r := range refs {
			delete(c.watches, r.jobID)
			delete(c.outputs, r.jobID)
			c.r.jobs.unwatched(r.jobID)
		}
	case all:
		c.r.rec.Error("subscribe to all jobs: " + string(f.Code))
		c.r.hist.Add(history.Record{Kind: history.Watched, Client: c.id, Conn: conn, Text: string(f.Code)})
		if f.Retryable {
			c.later(conn, c.askMine)
		}
	default:
		c.r.rec.Error("socket: " + string(f.Code))
	}
}

// onRefused sends a submit with a key again, as its user would, if the error is retryable.
func (c *client) onRefused(f *serverFrame, a *arrival) {
	if a.key == "" || !f.Retryable || a.sends >= maxResends {
		c.r.rec.Refused(a.of)
		return
	}
	c.r.rec.Count(func(n *measure.Counts) { n.InFlight-- })
	c.mu.Lock()
	c.resend = append(c.resend, a)
	c.mu.Unlock()
	c.r.wg.Go(func() {
		if !pause.For(c.r.ctx, seconds(f.RetryAfter)+backoff(a.sends)) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.sock == nil || c.leaving {
			return // the next socket sends it
		}
		for i, x := range c.resend {
			if x == a {
				c.resend = append(c.resend[:i], c.resend[i+1:]...)
				c.write(a)
				return
			}
		}
	})
}

// onGoaway waits for the time that the server asks for and for outstanding answers, then closes the socket. The next
// socket is opened after that.
func (c *client) onGoaway(f *serverFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sock
	if s == nil || c.leaving {
		return
	}
	c.leaving = true
	c.r.fault("client %d was asked to leave", c.id)
	after := seconds(f.ReconnectAfter)
	c.r.wg.Go(func() {
		if !pause.For(c.r.ctx, after) {
			return
		}
		const look = 50 * time.Millisecond
		for range int(drainTimeout / look) {
			c.mu.Lock()
			done := c.sock != s || len(c.inFlight) == 0
			c.mu.Unlock()
			if done || !pause.For(c.r.ctx, look) {
				break
			}
		}
		s.close()
	})
}

// fault records a fault that is in effect now.
func (r *run) fault(format string, args ...any) {
	if r.ctx.Err() != nil {
		return
	}
	r.lastFault.Store(time.Now().UnixNano())
	r.hist.Add(history.Record{Kind: history.Fault, Text: fmt.Sprintf(format, args...)})
}
