package ackwire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

// Bounds of a watch of all jobs.
const (
	maxMinePending = 10_000          // jobs with a document that one reader has not taken yet
	maxMineSeen    = 50_000          // jobs whose last version is remembered
	maxMineBytes   = 32 << 20        // bytes of documents that are remembered, or that one reader has not taken yet
	mineOverlap    = time.Minute     // how far before a gap its changes are asked for, since clocks differ
	mineSeenFor    = 5 * time.Minute // how long a document is remembered; above mineOverlap
)

// ErrTooSlow ends a WatchMine whose loop body is too slow: the documents that wait for it are those of more than 10,000
// jobs, or have more than 32 MiB. It follows the last of them; later changes are not yielded.
var ErrTooSlow = errors.New("ackwire: too many jobs have changed since the last document was taken")

// WatchMine follows all jobs of the client's subject, no matter which program submitted them, from
// now on. The sequence does not end by itself: an error, ctx's or the client's, is its last element.
// Versions of one job strictly rise; a loop body slower than the changes sees the latest document of
// each job and skips those between. After a lost connection it asks for the jobs that have changed
// meanwhile, or within a minute before, and yields them without an error. It also yields jobs that the
// client watches one by one.
func (c *Client) WatchMine(ctx context.Context) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		r, err := c.joinMine()
		if err != nil {
			yield(Status{}, err)
			return
		}
		defer c.partMine(r)
		for {
			if err := ctx.Err(); err != nil {
				yield(Status{}, err)
				return
			}
			u, err := c.takeMine(r)
			switch {
			case err != nil:
				yield(Status{}, err)
				return
			case u == nil:
				select {
				case <-r.wake:
				case <-ctx.Done():
				}
				continue
			}
			st, err := u.decode()
			if !yield(st, err) || err != nil {
				return
			}
		}
	}
}

// mine is the client's one subscription to all jobs of its subject. It outlives connections, and
// ends with its last reader. Guarded by Client.mu.
type mine struct {
	readers []*mineReader
	asked   *conn         // the connection that is subscribed; nil for none
	cursor  string        // the server's position: all changes before it have arrived; "" from servers without cursors
	lost    time.Time     // when the subscription was lost; zero while there is no gap
	moved   chan struct{} // capacity 1: the connection in use has changed, or a reader has left
	seen    map[string]*mineSeen
	older   map[string]*mineSeen // the former seen: two generations bound the memory, see onMineLocked
	bytes   int                  // of all documents in seen and older
	dropped *conn                // the last connection on which documents were dropped for maxMineBytes
}

// mineSeen is the last document of a job that was given to the readers.
type mineSeen struct {
	version int64
	raw     []byte // nil if it was dropped for maxMineBytes
	at      time.Time
}

// mineReader is one running loop over WatchMine. Guarded by Client.mu.
type mineReader struct {
	wake    chan struct{}      // capacity 1
	pending map[string]*update // the latest document that it has not taken, by job ID
	order   []string           // the keys of pending, the oldest first
	bytes   int                // of the documents in pending
	err     error              // why it ends, once pending is empty
}

// joinMine adds a reader. The first one starts the goroutine that subscribes.
func (c *Client) joinMine() (*mineReader, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	r := &mineReader{wake: make(chan struct{}, 1), pending: map[string]*update{}}
	if c.mine == nil {
		m := &mine{moved: make(chan struct{}, 1), seen: map[string]*mineSeen{}}
		c.mine = m
		c.wg.Go(func() { c.keepMine(m) })
	}
	c.mine.readers = append(c.mine.readers, r)
	return r, nil
}

func (c *Client) partMine(r *mineReader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.mine; m != nil {
		m.readers = slices.DeleteFunc(m.readers, func(x *mineReader) bool { return x == r })
		signal(m.moved)
	}
}

func (c *Client) takeMine(r *mineReader) (*update, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(r.order) == 0 {
		return nil, r.err
	}
	id := r.order[0]
	r.order = r.order[1:]
	u := r.pending[id]
	delete(r.pending, id)
	r.bytes -= len(u.raw)
	return u, nil
}

// failMineLocked ends every reader.
func (c *Client) failMineLocked(m *mine, err error) {
	for _, r := range m.readers {
		r.err = err
		signal(r.wake)
	}
	m.readers = nil
	if c.mine == m {
		c.mine = nil
	}
}

// onMineEndedLocked handles the end of the watch at the server: the client has renewed its token, and the new one does
// not permit it.
func (c *Client) onMineEndedLocked(cn *conn, b []byte) bool {
	var f frame.UnsubscribedFrame
	if json.Unmarshal(b, &f) != nil {
		return false
	}
	if m := c.mine; f.Mine && f.Error != "" && m != nil && m.asked == cn {
		c.failMineLocked(m, newError(f.Error, "all jobs: "+f.Error.Info().Title))
	}
	return true
}

// onMineLocked gives one status to all readers, unless they have had that version. It remembers the last version of
// each job in two generations: when seen is full it becomes older, and the former older is dropped.
func (c *Client) onMineLocked(jobID string, version int64, raw []byte) {
	m := c.mine
	if m == nil {
		c.stats.Stale++
		return
	}
	if seen := m.last(jobID); seen != nil && version <= seen.version {
		c.stats.Stale++
		return
	}
	u := &update{version: version, raw: bytes.Clone(raw)}
	m.remember(jobID, &mineSeen{version: version, raw: u.raw, at: time.Now()}, c.cur)
	for _, r := range m.readers {
		r.give(jobID, u)
	}
}

// remember makes seen the last document of a job, which came over cn.
func (m *mine) remember(jobID string, seen *mineSeen, cn *conn) {
	if len(m.seen) >= maxMineSeen/2 {
		m.bytes -= bytesOf(m.older)
		m.older, m.seen = m.seen, map[string]*mineSeen{}
	}
	if before := m.last(jobID); before != nil {
		m.bytes -= len(before.raw)
	}
	delete(m.older, jobID)
	m.seen[jobID] = seen
	m.bytes += len(seen.raw)
	if m.bytes <= maxMineBytes {
		return
	}
	m.dropped, m.bytes = cn, 0 // the versions stay
	for _, all := range []map[string]*mineSeen{m.seen, m.older} {
		for _, s := range all {
			s.raw = nil
		}
	}
}

func bytesOf(all map[string]*mineSeen) (n int) {
	for _, s := range all {
		n += len(s.raw)
	}
	return n
}

// give makes u the document that the reader takes next for a job. A reader with too many of them gets no more, and ends
// when it has taken those.
func (r *mineReader) give(jobID string, u *update) {
	if r.err != nil {
		return
	}
	before := r.pending[jobID]
	switch {
	case before == nil && len(r.order) >= maxMinePending, r.bytes > maxMineBytes:
		r.err = ErrTooSlow
		return
	case before == nil:
		r.order = append(r.order, jobID)
	default:
		r.bytes -= len(before.raw)
	}
	r.pending[jobID] = u
	r.bytes += len(u.raw)
	signal(r.wake)
}

// last returns the last document of a job, or nil if it is not remembered. A server does not send a version again while
// it remembers that it did; the client remembers more jobs than the server, so it still has what the server withholds.
func (m *mine) last(jobID string) *mineSeen {
	if seen := m.seen[jobID]; seen != nil {
		return seen
	}
	return m.older[jobID]
}

// forget drops documents that were seen longer ago than age.
func (m *mine) forget(age time.Duration) {
	limit := time.Now().Add(-age)
	gone := func(_ string, seen *mineSeen) bool { return !seen.at.After(limit) }
	maps.DeleteFunc(m.seen, gone)
	maps.DeleteFunc(m.older, gone)
	m.bytes = bytesOf(m.seen) + bytesOf(m.older)
}

// signal wakes the goroutine that receives from wake, a channel of capacity 1. It does nothing if a signal is waiting.
func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// keepMine subscribes on each connection that comes into use, until the last reader has left or the client has ended.
// A server with cursors then sends what has changed since m.cursor; with any other the gap is closed over HTTP.
func (c *Client) keepMine(m *mine) {
	tries := 0
	for {
		c.mu.Lock()
		over, idle, ready := c.mine != m, len(m.readers) == 0, c.cur != nil && c.cur != m.asked
		c.mu.Unlock()
		if over || idle && c.endMine(m) {
			return
		}
		if !ready {
			select {
			case <-m.moved:
			case <-c.ctx.Done():
				return
			}
			continue
		}
		c.mu.Lock()
		cursor, body := m.cursor, []byte(`,"mine":true`)
		c.mu.Unlock()
		if cursor != "" {
			body = append(appendString(append(body, `,"after":`...), cursor), `}`...)
		} else {
			body = append(body, '}')
		}
		err := c.do(c.ctx, &call{kind: frame.Subscribe, body: body, resend: true})
		c.mu.Lock()
		known := m.cursor != "" // then the server sends what has changed since
		c.mu.Unlock()
		if err == nil && !known {
			err = c.closeGap(m)
		}
		if e, refused := errors.AsType[*Error](err); refused && !e.Retryable {
			c.mu.Lock()
			c.failMineLocked(m, err)
			c.mu.Unlock()
			return
		}
		if err == nil {
			tries = 0
			continue
		}
		var atLeast time.Duration
		if e, answered := errors.AsType[*Error](err); answered {
			atLeast = e.RetryDelay()
		}
		if sleep(c.ctx, c.cfg.backoff.wait(tries, atLeast)) != nil {
			return
		}
		tries++
	}
}

// endMine ends the subscription. It reports false if a new reader has joined meanwhile, and then the caller subscribes
// again.
func (c *Client) endMine(m *mine) bool {
	c.mu.Lock()
	asked := m.asked != nil && m.asked == c.cur
	c.mu.Unlock()
	if asked {
		_ = c.do(c.ctx, &call{kind: frame.Unsubscribe, body: []byte(`,"mine":true}`)})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(m.readers) > 0 {
		c.moveMineLocked(m.asked)
		return false
	}
	if c.mine == m {
		c.mine = nil
	}
	return true
}

// closeGap lists the jobs that have changed while no connection was subscribed, and gives them to the readers.
func (c *Client) closeGap(m *mine) error {
	c.mu.Lock()
	lost := m.lost
	if lost.IsZero() {
		m.forget(mineSeenFor)
	}
	c.mu.Unlock()
	if lost.IsZero() {
		return nil
	}
	for st, err := range c.api.all(c.ctx, ListOptions{Mine: true, UpdatedAfter: lost.Add(-mineOverlap)}) {
		if err != nil {
			return err
		}
		c.mu.Lock()
		seen := m.last(st.JobID)
		c.mu.Unlock()
		if seen != nil && bytes.Equal(seen.raw, st.Raw) {
			continue
		}
		now, err := c.api.get(c.ctx, st.JobID, "") // a list has no versions
		if e, gone := errors.AsType[*Error](err); gone && !e.Retryable {
			continue // its retention is over
		}
		if err != nil {
			return err
		}
		c.mu.Lock()
		if c.mine == m {
			c.onMineLocked(now.JobID, now.Version, now.Raw)
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	if m.lost.Equal(lost) {
		m.lost = time.Time{}
	}
	c.mu.Unlock()
	return nil
}

// onCursorLocked notes the server's cursor, from which the next connection goes on.
func (c *Client) onCursorLocked(cn *conn, b []byte) bool {
	var f frame.CursorFrame
	if json.Unmarshal(b, &f) != nil || f.Cursor == "" {
		return false
	}
	if m := c.mine; m != nil && m.asked == cn {
		m.cursor, m.lost = f.Cursor, time.Time{}
	}
	return true
}

// onSubscribedMineLocked handles the answer to the subscribe frame of keepMine. reset says that the server's log does
// not go as far as the cursor.
func (c *Client) onSubscribedMineLocked(cn *conn, id string, reset bool) {
	if m := c.mine; m != nil {
		m.asked = cn
		if reset { // the versions seen belong to another log
			m.cursor = ""
			clear(m.seen)
			clear(m.older)
			m.bytes = 0
		}
	}
	if k := cn.calls[id]; k != nil {
		c.answerLocked(cn, k, nil)
	}
}

// moveMineLocked tells keepMine that the connection in use has changed. ended is a connection on which the subscription
// no longer holds, or nil.
func (c *Client) moveMineLocked(ended *conn) {
	m := c.mine
	if m == nil {
		return
	}
	if ended != nil && m.asked == ended { // also by an unsubscribe
		m.asked = nil
		if m.lost.IsZero() {
			m.lost = time.Now()
		}
	}
	signal(m.moved)
}
