package ackwire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

// run keeps one connection in use until Close or a permanent failure. Then it ends all calls and watches, says goodbye
// on every connection, and waits for all goroutines.
func (c *Client) run(cn *conn) {
	defer close(c.done)
	defer c.api.closeIdle()
	defer c.wg.Wait()
	defer c.leaveAll()
	failures := 0
	for {
		delay, err := c.attend(cn, &failures)
		if err != nil {
			c.fail(err)
			return
		}
		next, err := c.reconnect(c.ctx, delay, &failures)
		if err != nil {
			c.fail(err)
			return
		}
		c.install(next)
		c.supersede(cn)
		cn = next
	}
}

// attend looks after the connection in use: it renews the token before it expires and runs the watchdog. It returns
// when another connection is needed, with the wait before the reconnect, or with the error that ends the client.
func (c *Client) attend(cn *conn, failures *int) (delay time.Duration, err error) {
	var watch <-chan time.Time
	if cn.ping > 0 {
		t := time.NewTicker(cn.ping)
		defer t.Stop()
		watch = t.C
	}
	var renew <-chan time.Time
	schedule := func(expiry time.Time) {
		if wait, ok := renewIn(expiry); ok {
			renew = time.After(wait)
		}
	}
	expiry, renewing := cn.expiry, false
	renewNow := func() {
		until := expiry
		renew, renewing = nil, true
		c.wg.Go(func() { c.renewToken(cn, until) })
	}
	schedule(expiry)
	var dog watchdog
	for {
		select {
		case <-c.ctx.Done():
			return 0, ErrClosed
		case g := <-cn.goaway:
			if c.cfg.noReconnect {
				continue // this connection is used until the server closes it
			}
			return c.leave(cn, g), nil
		case <-cn.dead:
			return c.afterLoss(cn, failures)
		case <-watch:
			if why := dog.bite(cn); why != "" {
				c.cfg.log.Info("connection given up", "reason", why)
				cn.kill()
				watch = nil
			}
		case <-renew:
			renewNow()
		case expiry = <-cn.renew:
			renewing = false
			schedule(expiry)
		case after := <-cn.warned:
			// The server warns when no renewal came in time: the client cannot read the token's expiry, or its
			// clock is wrong.
			expiry = time.Now().Add(after)
			if !renewing {
				renewNow()
			}
		}
	}
}

// afterLoss decides what happens after the connection in use has ended: it returns the wait before the reconnect, or
// the error that ends the client.
func (c *Client) afterLoss(cn *conn, failures *int) (time.Duration, error) {
	if c.ctx.Err() != nil {
		return 0, ErrClosed
	}
	if permanent(cn.err) {
		return 0, cn.err
	}
	if c.cfg.noReconnect {
		return 0, fmt.Errorf("%w: %w", ErrDisconnected, cn.err)
	}
	select {
	case g := <-cn.goaway: // the server said when to reconnect before it closed
		return c.leave(cn, g), nil
	default:
	}
	// A short-lived connection counts as a failed attempt: a server that welcomes and closes
	// at once must not cause a tight loop.
	if time.Since(cn.born) >= c.cfg.backoff.Cap {
		*failures = 0
	}
	delay := c.cfg.backoff.wait(*failures, 0)
	*failures++
	c.cfg.log.Info("connection lost", "err", cn.err, "wait", delay)
	return delay, nil
}

// leave handles a goaway, or the client's own wish for another connection. Nothing new is written to cn, but its
// answers and statuses are still read, for the wait that the server asked for plus the drain timeout. It returns the
// wait before the reconnect.
func (c *Client) leave(cn *conn, g frame.GoawayFrame) time.Duration {
	after := min(seconds(g.ReconnectAfter), maxReconnectAfter)
	if g.Type == frame.Goaway {
		c.cfg.log.Info("server goes away", "wait", after)
	} else {
		c.cfg.log.Info("connection replaced", "reason", "a document that it has brought is needed again")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, live := c.conns[cn]; live {
		cn.drainTimer = time.AfterFunc(after+c.cfg.drain, cn.kill)
	}
	return after
}

// supersede marks cn as replaced by another connection: it is closed as soon as its last call is answered.
func (c *Client) supersede(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cn.superseded = true
	c.retireLocked(cn)
}

// retireLocked closes a superseded connection whose last answer has come.
func (c *Client) retireLocked(cn *conn) {
	if _, live := c.conns[cn]; live && cn.superseded && len(cn.calls) == 0 {
		cn.superseded = false // say goodbye only once
		c.wg.Go(cn.goodbye)
	}
}

// leaveAll says goodbye on every connection that is left.
func (c *Client) leaveAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cn := range c.conns {
		c.wg.Go(cn.goodbye)
	}
}

// reconnect connects, first after delay and then with backoff, until it succeeds, ctx ends or the server refuses
// permanently.
func (c *Client) reconnect(ctx context.Context, delay time.Duration, failures *int) (*conn, error) {
	var last error
	for {
		if sleep(ctx, delay) != nil {
			return nil, c.ended(ctx, last)
		}
		cn, err := c.connect(ctx)
		if err == nil {
			return cn, nil
		}
		if ctx.Err() != nil {
			return nil, c.ended(ctx, cmp.Or(last, err))
		}
		if permanent(err) {
			return nil, err
		}
		var atLeast time.Duration
		if e, ok := errors.AsType[*Error](err); ok {
			atLeast = e.RetryDelay()
		}
		last = err
		delay = c.cfg.backoff.wait(*failures, atLeast)
		*failures++
		c.cfg.log.Info("connect failed", "err", err, "wait", delay)
	}
}

// ended returns the error of a reconnect that ended with ctx; last is the error of its last attempt, if any.
func (c *Client) ended(ctx context.Context, last error) error {
	switch {
	case c.ctx.Err() != nil:
		return ErrClosed
	case last != nil:
		return fmt.Errorf("%w: %w", ctx.Err(), last)
	}
	return ctx.Err()
}

// permanent reports whether a reconnect would be refused again: after a close code that says so, or a handshake that
// was answered with a 4xx which does not pass by waiting. A 404 may pass: proxies answer so while the service behind
// them is replaced.
func permanent(err error) bool {
	if _, ok := errors.AsType[*CloseError](err); ok {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Retryable {
		return false
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.Status >= 400 && e.Status < 500
}

// watchdog finds connections that no longer work though they are open: writes are stuck, or the server is silent. It
// looks once per ping interval, in which the server sends at least a ping.
type watchdog struct {
	seen   uint64 // conn.seen at the last look
	writes uint64 // conn.writes at the last look
	quiet  int    // intervals in a row without a frame
}

// maxQuiet is how many ping intervals may pass without any frame.
const maxQuiet = 2

// bite returns why cn should be given up, or "" if it should not.
func (d *watchdog) bite(cn *conn) string {
	seen, writes := cn.seen.Load(), cn.writes.Load()
	stuck := writes%2 == 1 && writes == d.writes
	if seen == d.seen {
		d.quiet++
	} else {
		d.quiet = 0
	}
	d.seen, d.writes = seen, writes
	switch {
	case stuck:
		return "a write did not end"
	case d.quiet > maxQuiet:
		return "the server is silent"
	}
	return ""
}
