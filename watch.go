package ackwire

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// Status is a job's document at one version.
type Status struct {
	// Version strictly rises with each change of the job. It is 0 only in a list, which has no versions.
	Version int64
	job.Document
	// Raw is the document as the server made it. It is shared: do not change it.
	Raw json.RawMessage
}

// WatchOption changes how a watch begins.
type WatchOption func(*watchConfig)

type watchConfig struct {
	after int64
}

// After starts a watch behind a version that was seen before: only newer documents are yielded. 0 (the default) and
// negative versions start with the current document. After the version of a terminal document nothing follows unless
// the job is retried: such a watch may end at once, or wait until ctx ends.
func After(version int64) WatchOption { return func(w *watchConfig) { w.after = version } }

// follow implements one watch of a job, of documents above the version seen. join is called with mu held and returns
// the subscription to read, with a reference that follow gives back at its end.
func (c *Client) follow(ctx context.Context, seen int64, join func() (*sub, error)) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		c.mu.Lock()
		s, err := join()
		if err != nil {
			c.mu.Unlock()
			yield(Status{}, err)
			return
		}
		w := &watcher{wake: make(chan struct{}, 1), next: s.watchers}
		s.watchers = w
		resets := s.resets
		c.mu.Unlock()
		defer c.part(s, w)
		for {
			if err := ctx.Err(); err != nil {
				yield(Status{}, err)
				return
			}
			c.mu.Lock()
			if s.resets != resets {
				resets, seen = s.resets, 0
			}
			u, ended, err := s.latest, s.ended, s.err
			c.mu.Unlock()
			if u != nil && u.version > seen {
				seen = u.version
				st, err := u.decode()
				if err != nil {
					yield(Status{}, err)
					return
				}
				if !yield(st, nil) {
					return
				}
				continue
			}
			if ended {
				if err != nil {
					yield(Status{}, err)
				}
				return
			}
			select {
			case <-w.wake:
			case <-ctx.Done():
			}
		}
	}
}

// sub is the client's one subscription to a job. It outlives connections. Everything but
// jobID and done is guarded by Client.mu.
type sub struct {
	jobID string
	done  chan struct{} // closed when it has ended

	refs     int      // watches, waits, and a Job that has not been watched yet
	watchers *watcher // the readers to wake
	latest   *update  // the newest document; the only one kept
	after    int64    // while latest is nil: only newer versions are asked for
	resets   int      // how often the server's log has lost the versions seen
	asked    *conn    // the connection on which it was asked for last
	dirty    bool     // is in Client.dirty
	tails    []*tail  // who reads its streams; each holds one of refs
	streamed *conn    // the connection on which streams are followed, unless it is nil
	maxBatch int      // how many jobs may share its subscribe frame; 0: maxBatchJobs
	ended    bool
	err      error // why it ended; nil after a terminal document
}

// watcher is one reader of a subscription, in a linked list because there are few.
type watcher struct {
	wake chan struct{} // capacity 1
	next *watcher
}

// update is one version of a document, not decoded yet. It is never changed.
type update struct {
	version int64
	raw     []byte
}

func (u *update) decode() (Status, error) {
	st := Status{Version: u.version, Raw: u.raw}
	if err := json.Unmarshal(u.raw, &st.Document); err != nil {
		return Status{}, fmt.Errorf("ackwire: read document at version %d: %w", u.version, err)
	}
	return st, nil
}

func (s *sub) version() int64 {
	if s.latest == nil {
		return 0
	}
	return s.latest.version
}

// seen returns the version that a subscribe frame gives: the server sends only newer ones.
func (s *sub) seen() int64 { return max(s.after, s.version()) }

// resetLocked forgets the versions seen, because the server's log does not have them: a log that was restored from a
// backup, or has lost its end, counts on from a lower version.
func (s *sub) resetLocked() {
	s.latest, s.after = nil, 0
	s.resets++
}

func (s *sub) wakeLocked() {
	for w := s.watchers; w != nil; w = w.next {
		signal(w.wake)
	}
}

// subLocked returns the job's subscription. It makes a new one, without references, if there is none.
func (c *Client) subLocked(jobID string) *sub {
	s := c.subs[jobID]
	if s == nil {
		s = &sub{jobID: jobID, done: make(chan struct{})}
		c.subs[jobID] = s
	}
	return s
}

// joinLocked takes a reference to the job's subscription and makes sure that it asks for every version above after.
func (c *Client) joinLocked(jobID string, after int64) (*sub, error) {
	if c.err != nil {
		return nil, c.err
	}
	if err := checkJobID(jobID); err != nil {
		return nil, err
	}
	s, known := c.subs[jobID]
	if !known {
		s = c.subLocked(jobID)
		s.after = max(after, 0)
		c.markDirtyLocked(s)
		c.startFromMineLocked(s)
	} else if s.latest == nil && after < s.after {
		s.after = max(after, 0)
		c.markDirtyLocked(s) // asking again is harmless
	}
	if known && s.latest == nil && len(s.tails) > 0 {
		c.startFromMineLocked(s) // who reads streams has not asked for documents
	}
	s.refs++
	return s, nil
}

// startFromMineLocked gives a new subscription the last document that WatchMine has received of its job on this
// connection: while all jobs are watched a server sends no version twice. If it may have sent one to an earlier watch
// of the job, whose document is not here any more, another connection takes the place of this one, which brings it.
func (c *Client) startFromMineLocked(s *sub) {
	if c.mine == nil || c.mine.asked == nil || c.mine.asked != c.cur {
		return
	}
	seen := c.mine.last(s.jobID)
	switch {
	case seen == nil && (c.parted[s.jobID] || len(c.parted) >= maxParted),
		seen != nil && seen.version > s.after && seen.raw == nil && c.mine.dropped == c.cur:
		c.leaveLocked(c.cur, frame.GoawayFrame{})
		return
	case seen == nil, seen.raw == nil, seen.version <= s.after:
		return
	}
	s.latest = &update{version: seen.version, raw: seen.raw}
	if _, state, ok := scanDocument(seen.raw); ok && job.State(state).Terminal() {
		c.endSubLocked(s, nil)
	}
}

// part removes a watcher, which may be nil, and gives back the reference that joinLocked took.
func (c *Client) part(s *sub, w *watcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := &s.watchers; *p != nil; p = &(*p).next {
		if *p == w {
			*p = w.next
			break
		}
	}
	c.unrefLocked(s)
}

// unrefLocked gives a reference back. The last one ends the subscription here and at the server.
func (c *Client) unrefLocked(s *sub) {
	s.refs--
	if s.refs > 0 || s.ended {
		return
	}
	c.removeSubLocked(s)
	if s.asked != nil && s.asked == c.cur {
		c.unsubs = append(c.unsubs, s.jobID)
		c.wakeLocked()
	}
}

// mineHasLocked reports whether WatchMine has a version of the job, and is subscribed on the connection in use.
func (c *Client) mineHasLocked(jobID string) bool {
	return c.mine != nil && c.mine.asked != nil && c.mine.asked == c.cur && c.mine.last(jobID) != nil
}

// removeSubLocked removes a subscription, and notes that the connection in use may have brought its document.
func (c *Client) removeSubLocked(s *sub) {
	delete(c.subs, s.jobID)
	s.dirty = false
	if s.asked == nil || s.asked != c.cur || len(c.parted) >= maxParted || c.mineHasLocked(s.jobID) {
		return
	}
	if c.parted == nil {
		c.parted = map[string]bool{}
	}
	c.parted[s.jobID] = true
}

// endSubLocked ends a subscription: with nil after a terminal document, which its readers can still read.
func (c *Client) endSubLocked(s *sub, err error) {
	if s.ended {
		return
	}
	asked, dirty := s.asked, s.dirty
	c.removeSubLocked(s)
	s.ended = true
	s.err = err
	s.asked = nil
	close(s.done)
	s.wakeLocked()
	c.passOnLocked(s, asked, dirty, err)
}

// markDirtyLocked has the current connection's writer subscribe s.
func (c *Client) markDirtyLocked(s *sub) {
	if c.cur == nil || s.dirty {
		return // install asks for every subscription
	}
	if len(c.dirty) > 2*len(c.subs)+maxBatchJobs {
		// The writer is stuck while watches come and go.
		c.dirty = slices.DeleteFunc(c.dirty, func(s *sub) bool { return !s.dirty })
	}
	s.dirty = true
	c.dirty = append(c.dirty, s)
	c.wakeLocked()
}

// pruneDirtyLocked drops subscriptions that are no longer dirty from the front of the list and reports whether one is
// left.
func (c *Client) pruneDirtyLocked() bool {
	for len(c.dirty) > 0 && !c.dirty[0].dirty {
		c.dirty = c.dirty[1:]
	}
	if len(c.dirty) == 0 {
		c.dirty = nil
	}
	return c.dirty != nil
}

// appendSubscribeLocked appends a subscribe frame with as many waiting jobs as fit.
func (c *Client) appendSubscribeLocked(cn *conn, b []byte) []byte {
	c.seq++
	id := strconv.FormatUint(c.seq, 36)
	b = append(b, `{"type":"subscribe","id":"`...)
	b = append(b, id...)
	b = append(b, `","jobs":[`...)
	most := maxBatchJobs
	var batch []*sub
	for c.pruneDirtyLocked() {
		s := c.dirty[0]
		if s.maxBatch > 0 {
			most = min(most, s.maxBatch)
		}
		if len(batch) > 0 && (len(batch) >= most || !cn.roomFor(len(b)+streamRoom*len(s.tails), s.jobID)) {
			break
		}
		c.dirty = c.dirty[1:]
		if len(batch) > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"jobId":`...)
		b = appendString(b, s.jobID)
		if after := s.seen(); after > 0 {
			b = append(b, `,"after":`...)
			b = strconv.AppendInt(b, after, 10)
		}
		b = append(s.appendStreams(cn, b), '}')
		s.dirty, s.asked = false, cn
		batch = append(batch, s)
	}
	if cn.batches == nil {
		cn.batches = make(map[string][]*sub)
	}
	cn.batches[id] = batch
	return append(b, `]}`...)
}

// appendUnsubscribeLocked appends an unsubscribe frame with as many waiting jobs as fit.
func (c *Client) appendUnsubscribeLocked(cn *conn, b []byte) []byte {
	c.seq++
	b = append(b, `{"type":"unsubscribe","id":"`...)
	b = strconv.AppendUint(b, c.seq, 36)
	b = append(b, `","jobs":[`...)
	n := 0
	for ; n < len(c.unsubs) && n < maxBatchJobs; n++ {
		if n > 0 {
			if !cn.roomFor(len(b), c.unsubs[n]) {
				break
			}
			b = append(b, ',')
		}
		b = appendString(b, c.unsubs[n])
	}
	c.unsubs = c.unsubs[n:]
	if len(c.unsubs) == 0 {
		c.unsubs = nil
	}
	return append(b, `]}`...)
}

// roomFor reports whether one more job fits into a frame of size bytes.
func (cn *conn) roomFor(size int, jobID string) bool {
	const rest = len(`,{"jobId":"","after":9223372036854775807}]}`)
	limit := cn.limits.FrameBytes
	if limit <= 0 {
		limit = frame.MaxFrameBytes
	}
	return size+len(jobID)+rest <= limit
}

// checkJobID refuses a string that cannot be a job's ID, with the error that the server would give: in a subscribe
// frame it would fail the whole batch.
func checkJobID(jobID string) error {
	ok := jobID != "" && len(jobID) <= maxJobIDBytes
	for i := range len(jobID) {
		if c := jobID[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '/' {
			ok = false
		}
	}
	if !ok {
		return newError(code.NotFound, fmt.Sprintf("%.140q is not a job ID", jobID))
	}
	return nil
}
