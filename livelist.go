package ackwire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// Bounds of a list that is watched.
const (
	maxListPending = 2000        // jobs whose change the loop body has not taken yet
	maxListBytes   = 8 << 20     // of their documents
	listAgain      = time.Second // between two times that a list is asked for
	maxListLimit   = 500         // jobs of a page
	defaultLimit   = 50
)

// ListUpdate is one update of a watched list: the jobs that are in it in a new version, and those that have left it.
type ListUpdate struct {
	// Listed says that Jobs are the list as it is now, its newest jobs first: whatever was known of it before is of the
	// past. The first update is one, and the first after a lost connection, or after changes that were too many to be
	// told one by one.
	Listed bool
	// Jobs are in the list, in a new version.
	Jobs []Status
	// Left are the IDs of jobs that are in the list no longer, or were removed.
	Left []string
	// Missed, with Listed, is how many changes were not told at most; 0 if that is not known.
	Missed int64
}

// WatchList follows the jobs that match the options. First it lists the newest of them, o.Limit at most; then it tells
// each job that is in the list in a new version, however old it is, and each that has left it: of each job the newest
// change, a few times a second. After a lost connection, and when more has changed than is told, it lists anew, once a
// second at most. The sequence does not end by itself: an error, ctx's or the client's, is its last element.
func (c *Client) WatchList(ctx context.Context, o ListOptions) iter.Seq2[ListUpdate, error] {
	return func(yield func(ListUpdate, error) bool) {
		l, err := c.joinList(o)
		if err != nil {
			yield(ListUpdate{}, err)
			return
		}
		defer c.partList(l)
		for {
			u, err := c.nextList(ctx, l)
			if err != nil {
				yield(ListUpdate{}, err)
				return
			}
			if !yield(*u, nil) {
				return
			}
		}
	}
}

// liveList is one running loop over WatchList. It outlives connections.
type liveList struct {
	// Set by joinList, then only read.
	name    string
	body    []byte // of the watchList frame
	options ListOptions
	wake    chan struct{} // capacity 1: the fields below, or the connection in use, have changed

	// Owned by the loop.
	listed map[string]int64 // the versions of the last listing: changes up to them are no news
	next   time.Time        // when the list may be asked for again
	tries  int

	// Guarded by Client.mu.
	asked   *conn // the connection that watches it; nil for none
	again   bool  // it must be listed
	missed  int64
	pending map[string]*listChange // the newest change of each job that was not taken
	order   []string               // the keys of pending, the oldest first
	bytes   int                    // of the documents in pending
	err     error
}

// listChange is a row, or a job that has left.
type listChange struct {
	version int64
	raw     []byte // nil: the document is to be asked for, or the job has left
	left    bool
}

// filterBody encodes the options as the filter of a watchList frame: the parameters of GET /v1/jobs.
func filterBody(name string, o ListOptions) ([]byte, error) {
	o.Limit, o.Cursor = 0, ""
	filter, err := plainjson.Marshal(frame.ListFilter(o.query()))
	if err != nil {
		return nil, err
	}
	b := appendString([]byte(`,"list":`), name)
	return append(append(append(b, `,"filter":`...), filter...), '}'), nil
}

func (c *Client) joinList(o ListOptions) (*liveList, error) {
	switch {
	case o.Cursor != "":
		return nil, errors.New("ackwire: watch list: a list is watched from its newest job on, without a cursor")
	case o.Limit < 0 || o.Limit > maxListLimit:
		return nil, errors.New("ackwire: watch list: limit must be from 1 to 500")
	case o.Limit == 0:
		o.Limit = defaultLimit
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	c.seq++
	l := &liveList{name: "l" + callID(c.seq), options: o, wake: make(chan struct{}, 1), pending: map[string]*listChange{}}
	var err error
	if l.body, err = filterBody(l.name, o); err != nil {
		return nil, err
	}
	if c.lists == nil {
		c.lists = map[string]*liveList{}
	}
	c.lists[l.name] = l
	return l, nil
}

// partList ends the watch at the server, without waiting for it.
func (c *Client) partList(l *liveList) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.lists, l.name)
	if c.err == nil && l.asked != nil && l.asked == c.cur {
		c.wg.Go(func() {
			_ = c.do(c.ctx, &call{kind: frame.UnwatchList, body: append(appendString([]byte(`,"list":`), l.name), '}')})
		})
	}
}

// nextList waits for the next update.
func (c *Client) nextList(ctx context.Context, l *liveList) (*ListUpdate, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c.mu.Lock()
		err, ready, watched := l.err, c.cur != nil, c.cur == l.asked
		again, pending := l.again, len(l.order) > 0
		c.mu.Unlock()
		var u *ListUpdate
		switch {
		case err != nil:
			return nil, err
		case ready && !watched:
			err = c.do(ctx, &call{kind: frame.WatchList, body: l.body, resend: true})
		case ready && again:
			u, err = c.listNow(ctx, l)
		case pending && !again:
			u, err = c.takeList(ctx, l)
		default:
			select {
			case <-l.wake:
			case <-ctx.Done():
			}
		}
		if err == nil {
			l.tries = 0
			if u != nil {
				return u, nil
			}
			continue
		}
		e, answered := errors.AsType[*Error](err)
		if answered && !e.Retryable || c.Err() != nil || ctx.Err() != nil {
			return nil, err
		}
		var atLeast time.Duration
		if answered {
			atLeast = e.RetryDelay()
		}
		if sleep(ctx, c.cfg.backoff.wait(l.tries, atLeast)) != nil {
			return nil, ctx.Err()
		}
		l.tries++
	}
}

// listNow lists the newest jobs. What the server has told since it was asked to is newer or older than the page,
// version by version.
func (c *Client) listNow(ctx context.Context, l *liveList) (*ListUpdate, error) {
	if sleep(ctx, time.Until(l.next)) != nil {
		return nil, ctx.Err()
	}
	l.next = time.Now().Add(listAgain)
	c.mu.Lock()
	missed := l.missed
	l.again, l.missed = false, 0
	l.forgetLocked() // the page is newer, or has what was told
	c.mu.Unlock()
	u := &ListUpdate{Listed: true, Missed: missed}
	o := l.options
	for len(u.Jobs) < l.options.Limit {
		o.Limit = l.options.Limit - len(u.Jobs)
		page, err := c.api.list(ctx, o)
		if err != nil {
			c.mu.Lock()
			l.again, l.missed = true, missed
			c.mu.Unlock()
			return nil, err
		}
		u.Jobs = append(u.Jobs, page.Jobs...)
		if page.NextCursor == "" {
			break
		}
		o.Cursor = page.NextCursor
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l.listed = make(map[string]int64, len(u.Jobs))
	jobs := u.Jobs[:0]
	for _, st := range u.Jobs {
		if p := l.pending[st.JobID]; p != nil && p.left && p.version >= st.Version {
			continue // it has left since
		}
		l.listed[st.JobID] = st.Version
		jobs = append(jobs, st)
	}
	u.Jobs = jobs
	return u, nil
}

// forgetLocked drops what was not taken.
func (l *liveList) forgetLocked() {
	clear(l.pending)
	l.order, l.bytes = nil, 0
}

// takeList returns the changes that wait as one update, or nil if none of them is new.
func (c *Client) takeList(ctx context.Context, l *liveList) (*ListUpdate, error) {
	c.mu.Lock()
	pending, order := l.pending, l.order
	l.pending = map[string]*listChange{}
	l.forgetLocked()
	c.mu.Unlock()
	u := &ListUpdate{}
	for _, id := range order {
		p := pending[id]
		switch {
		case p.version <= l.listed[id]:
		case p.left:
			delete(l.listed, id)
			u.Left = append(u.Left, id)
		default:
			st, err := c.rowOf(ctx, id, p)
			if e, gone := errors.AsType[*Error](err); gone && !e.Retryable {
				continue // it was removed, or is not to be seen any more
			}
			if err != nil {
				c.mu.Lock()
				l.again = true // the list has it
				c.mu.Unlock()
				return nil, err
			}
			u.Jobs = append(u.Jobs, st)
		}
	}
	if len(u.Jobs)+len(u.Left) == 0 {
		return nil, nil
	}
	return u, nil
}

// rowOf decodes a row. Without a document, which is large, it asks for it.
func (c *Client) rowOf(ctx context.Context, id string, p *listChange) (Status, error) {
	if p.raw == nil {
		return c.api.get(ctx, id, "")
	}
	return (&update{version: p.version, raw: p.raw}).decode()
}

// onListWatchedLocked handles the answer to a watchList frame: changes are told from now on, so the list is asked for.
func (c *Client) onListWatchedLocked(cn *conn, h head, b []byte) bool {
	var f frame.ListWatchedFrame
	if json.Unmarshal(b, &f) != nil {
		return false
	}
	if l := c.lists[f.List]; l != nil {
		l.asked, l.again = cn, true
		signal(l.wake)
	}
	if k := cn.calls[string(h.id)]; k != nil {
		c.answerLocked(cn, k, nil)
	}
	return true
}

// onListUnwatchedLocked handles the answer to an unwatchList frame, or the end of a watch: the client has renewed its
// token, and the new one does not cover the list.
func (c *Client) onListUnwatchedLocked(cn *conn, h head, b []byte) bool {
	if k := cn.calls[string(h.id)]; k != nil {
		c.answerLocked(cn, k, nil)
		return true
	}
	var f frame.ListUnwatchedFrame
	if json.Unmarshal(b, &f) != nil {
		return false
	}
	if l := c.lists[f.List]; l != nil && f.Error != "" && l.asked == cn {
		l.err = newError(f.Error, "list: "+f.Error.Info().Title)
		signal(l.wake)
	}
	return true
}

// onListChangedLocked stores the changes of a listChanged frame until the loop of the list takes them.
func (c *Client) onListChangedLocked(cn *conn, b []byte) bool {
	var f frame.ListChangedFrame
	if json.Unmarshal(b, &f) != nil {
		return false
	}
	l := c.lists[f.List]
	if l == nil || l.asked != cn {
		return true
	}
	if f.Again {
		l.again = true
		l.missed += f.Missed
		l.forgetLocked()
	}
	ok := true
	for _, r := range f.Rows {
		id := r.JobID
		if r.Job != nil {
			raw, _, read := scanDocument(r.Job)
			ok, id = ok && read, string(raw)
		}
		if id == "" || r.Version <= 0 {
			ok = false
			continue
		}
		l.putLocked(id, &listChange{version: r.Version, raw: bytes.Clone(r.Job)})
	}
	for _, r := range f.Left {
		l.putLocked(r.JobID, &listChange{version: r.Version, left: true})
	}
	signal(l.wake)
	return ok
}

// putLocked keeps a change. When there are too many it keeps none of them, and the list is asked for again.
func (l *liveList) putLocked(id string, p *listChange) {
	before := l.pending[id]
	switch {
	case before == nil:
		l.order = append(l.order, id)
	case before.version >= p.version:
		return
	default:
		l.bytes -= len(before.raw)
	}
	l.pending[id] = p
	l.bytes += len(p.raw)
	if len(l.order) > maxListPending || l.bytes > maxListBytes {
		l.again = true
		l.missed += int64(len(l.order))
		l.forgetLocked()
	}
}

// moveListsLocked tells the lists that the connection in use has changed. ended is one that has ended, or nil.
func (c *Client) moveListsLocked(ended *conn) {
	for _, l := range c.lists {
		if ended != nil && l.asked == ended {
			l.asked = nil
		}
		signal(l.wake)
	}
}

// failListsLocked ends all lists.
func (c *Client) failListsLocked(err error) {
	for _, l := range c.lists {
		l.err = err
		signal(l.wake)
	}
}
