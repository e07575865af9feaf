package ackwire

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// handle processes one frame; called by cn's reader. b is valid only during the call. A frame that cannot be read is
// counted and dropped: it should not end the connection for the others.
func (c *Client) handle(cn *conn, b []byte) {
	c.mu.Lock()
	c.stats.Frames++
	h, ok := scanHead(b)
	ok = ok && c.dispatchLocked(cn, h, b)
	if !ok {
		c.stats.BadFrames++
	}
	c.mu.Unlock()
	if !ok {
		c.cfg.log.Warn("frame not readable", "bytes", len(b))
	}
}

// dispatchLocked gives the frame to the calls and watches that it is for. It reports false for a frame that could not
// be read; frame types that the client does not know are ignored.
func (c *Client) dispatchLocked(cn *conn, h head, b []byte) bool {
	if k := cn.calls[string(h.id)]; k != nil && !k.answeredBy(frame.Type(h.typ)) {
		return true // it answers a request of another kind, and is ignored: the true answer may follow
	}
	switch frame.Type(h.typ) {
	case frame.Status:
		return c.onStatusLocked(h)
	case frame.Chunk:
		return c.onChunkLocked(cn, h.jobID, b)
	case frame.Ack:
		return c.onAckLocked(cn, h)
	case frame.Acks:
		return c.onAcksLocked(cn, h, b)
	case frame.Error:
		return c.onErrorLocked(cn, h, b)
	case frame.Subscribed:
		if h.mine {
			var f frame.SubscribedFrame
			ok := json.Unmarshal(b, &f) == nil
			c.onSubscribedMineLocked(cn, string(h.id), f.Reset)
			return ok
		}
		return c.onSubscribedLocked(cn, b)
	case frame.Unsubscribed:
		if k := cn.calls[string(h.id)]; k != nil {
			c.answerLocked(cn, k, nil)
		} else if len(h.id) == 0 {
			return c.onMineEndedLocked(cn, b)
		}
	case frame.Pong:
		if k := cn.calls[string(h.id)]; k != nil {
			c.answerLocked(cn, k, nil)
		}
	case frame.Welcome:
		return c.onWelcomeLocked(cn, h, b)
	case frame.Goaway:
		return c.onGoawayLocked(cn, b)
	case frame.Cursor:
		return c.onCursorLocked(cn, b)
	case frame.Expiring:
		return c.onExpiringLocked(cn, b)
	case frame.ListChanged:
		return c.onListChangedLocked(cn, b)
	case frame.ListWatched:
		return c.onListWatchedLocked(cn, h, b)
	case frame.ListUnwatched:
		return c.onListUnwatchedLocked(cn, h, b)
	}
	return true // perhaps a frame type of a newer server
}

func (c *Client) onStatusLocked(h head) bool {
	jobID, state, ok := scanDocument(h.job)
	if !ok || h.version <= 0 {
		return false
	}
	if h.mine {
		c.onMineLocked(string(jobID), h.version, h.job)
	}
	s := c.subs[string(jobID)] // the server sends a status once, however many watches it is for
	if s == nil || h.version <= s.version() {
		if !h.mine {
			c.stats.Stale++
		}
		return true
	}
	s.latest = &update{version: h.version, raw: slices.Clone(h.job)}
	if job.State(state).Terminal() {
		c.endSubLocked(s, nil)
	} else {
		s.wakeLocked()
	}
	return true
}

// answerLocked ends a call that was written to cn; err is the server's refusal, or nil for its success.
func (c *Client) answerLocked(cn *conn, k *call, err error) {
	delete(cn.calls, k.id)
	if k.counted() {
		cn.inFlight--
		c.wakeLocked() // the next one may go
	}
	if !k.abandoned {
		k.finishLocked(err)
	}
	c.retireLocked(cn)
}

func (c *Client) onAckLocked(cn *conn, h head) bool {
	k := cn.calls[string(h.id)]
	if k == nil {
		return true
	}
	if len(h.jobID) == 0 {
		c.answerLocked(cn, k, k.outcome(errBadAnswer))
		return false
	}
	grant, err := readGrant(h.grant)
	if err != nil { // the job exists all the same
		c.cfg.log.Warn("the grant of an ack cannot be read")
	}
	switch {
	case k.abandoned && k.watch:
		c.unwantedLocked(cn, string(h.jobID))
	case !k.abandoned:
		k.ack = ackFields{
			jobID: string(h.jobID), state: string(h.state), statusURL: string(h.statusURL), duplicate: h.duplicate,
			grant: grant, warning: string(h.warning),
		}
		k.ack.ahead, k.ack.estimate = h.place()
		if k.watch {
			// Here and not in Submit: the next frame may already be this job's first status.
			k.sub, k.tails = c.ackedLocked(cn, k.ack.jobID, k.streams)
		}
	}
	c.answerLocked(cn, k, nil)
	return true
}

// unwantedLocked ends the subscription that a submit has opened at the server, whose caller is gone.
func (c *Client) unwantedLocked(cn *conn, jobID string) {
	if c.subs[jobID] == nil && c.cur == cn {
		c.unsubs = append(c.unsubs, jobID)
		c.wakeLocked()
	}
}

// ackedLocked opens the subscription of a job that cn has acked, with one reference, and the streams that its submit
// has asked for.
func (c *Client) ackedLocked(cn *conn, jobID string, streams []string) (*sub, []*tail) {
	s := c.subLocked(jobID)
	if s.latest == nil {
		c.startFromMineLocked(s) // a duplicate's job may have documents already
	}
	s.refs++
	if c.cur == nil || c.cur == cn {
		s.asked = cn
	} else {
		c.markDirtyLocked(s) // the connection in use did not see the submit
	}
	return s, c.openTailsLocked(cn, s, streams)
}

var errBadAnswer = errors.New("the server's answer could not be read")

func (c *Client) onErrorLocked(cn *conn, h head, b []byte) bool {
	var f frame.ErrorFrame
	if json.Unmarshal(b, &f) != nil || f.Code == "" {
		if k := cn.calls[string(h.id)]; k != nil {
			c.answerLocked(cn, k, k.outcome(errBadAnswer))
		}
		return false
	}
	e := &Error{Problem: f.Problem}
	k := cn.calls[f.ID]
	switch {
	case len(h.id) == 0:
		cn.problem = e // it explains the close that follows
	case cn.batches[f.ID] != nil:
		c.onSubscribeErrorLocked(cn, f.ID, e)
	case k != nil:
		if k.kind == frame.Auth {
			cn.problem = e // a close may follow
		}
		c.answerLocked(cn, k, e)
	}
	return true
}

func (c *Client) onWelcomeLocked(cn *conn, h head, b []byte) bool {
	var w frame.WelcomeFrame
	if json.Unmarshal(b, &w) != nil {
		return false
	}
	cn.limits = w.Limits
	if k := cn.calls[string(h.id)]; k != nil {
		c.answerLocked(cn, k, nil)
	}
	return true
}

func (c *Client) onGoawayLocked(cn *conn, b []byte) bool {
	var g frame.GoawayFrame
	if json.Unmarshal(b, &g) != nil {
		return false
	}
	if !cn.draining {
		c.stats.Goaways++
	}
	c.leaveLocked(cn, g)
	return true
}

// leaveLocked has another connection take the place of cn, unless the client is to use only one.
func (c *Client) leaveLocked(cn *conn, g frame.GoawayFrame) {
	if cn.draining {
		return
	}
	cn.draining = true
	if c.cur == cn && !c.cfg.noReconnect {
		c.cur = nil // new requests wait for the next connection
	}
	cn.goaway <- g // has room: this is the first
}

// onExpiringLocked has the token renewed, if the token source can give a newer one.
func (c *Client) onExpiringLocked(cn *conn, b []byte) bool {
	var e frame.ExpiringFrame
	if json.Unmarshal(b, &e) != nil {
		return false
	}
	if !c.cfg.renews {
		return true // the close with 4002 will tell the caller, and the refused reconnect
	}
	select {
	case cn.warned <- seconds(e.ClosesAfter):
	default: // a warning is waiting already
	}
	return true
}

// onSubscribedLocked handles the answer to a subscribe frame, job by job. A subscription with a permanent error ends
// with it; one with a retryable error is asked for again later.
func (c *Client) onSubscribedLocked(cn *conn, b []byte) bool {
	var f frame.SubscribedFrame
	if json.Unmarshal(b, &f) != nil {
		return false
	}
	delete(cn.batches, f.ID)
	if c.cur != cn {
		return true // the next connection asks again
	}
	healthy := true
	for _, j := range f.Jobs {
		s := c.subs[j.JobID]
		switch {
		case s == nil || s.asked != cn:
		case j.Error == "":
			s.maxBatch = 0
			if j.Reset {
				s.resetLocked()
			}
		case j.Error.Info().Retryable:
			healthy = false
			cn.later = append(cn.later, s)
		default:
			c.endSubLocked(s, newError(j.Error, "job "+j.JobID+": "+j.Error.Info().Title))
		}
	}
	if healthy {
		cn.laterRound = 0
	}
	c.armLaterLocked(cn, 0)
	return true
}

// onSubscribeErrorLocked handles an error for a whole subscribe frame. After a retryable error all its jobs are asked
// for again later. After a permanent one a single job may be at fault, so the batch is halved until that job is alone.
func (c *Client) onSubscribeErrorLocked(cn *conn, id string, e *Error) {
	batch := cn.batches[id]
	delete(cn.batches, id)
	if c.cur != cn {
		return
	}
	for _, s := range batch {
		switch {
		case c.subs[s.jobID] != s:
		case e.Retryable:
			cn.later = append(cn.later, s)
		case len(batch) > 1:
			s.maxBatch = (len(batch) + 1) / 2
			c.markDirtyLocked(s)
		default:
			c.endSubLocked(s, e)
		}
	}
	c.armLaterLocked(cn, e.RetryDelay())
}

// armLaterLocked starts the timer that asks for the subscriptions in cn.later again, unless it runs already.
func (c *Client) armLaterLocked(cn *conn, atLeast time.Duration) {
	if len(cn.later) == 0 || cn.laterTimer != nil {
		return
	}
	wait := c.cfg.backoff.wait(cn.laterRound, atLeast)
	cn.laterRound++
	cn.laterTimer = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		subs := cn.later
		cn.later, cn.laterTimer = nil, nil
		if c.cur != cn {
			return
		}
		for _, s := range subs {
			if c.subs[s.jobID] == s {
				c.markDirtyLocked(s)
			}
		}
	})
}
