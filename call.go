package ackwire

import (
	"context"
	"strconv"

	"github.com/ackwire/ackwire/schemas/frame"
)

// call is one request that waits for its answer. It lives in exactly one place at a
// time: in one of the client's two queues, in the table of the connection it was
// written to, or nowhere once it is finished.
type call struct {
	// Set before do, then only read.
	kind   frame.Type
	body   []byte // the frame after its id: `,"job":…}` or `}`
	key    string // of a submit
	watch  bool   // of a submit: the ack opens a subscription
	resend bool   // safe to send again on another connection
	// streams, of a submit with watch, are those that it asks for.
	streams []string
	items   []itemAsked // of a batch

	// Set by do, then only read.
	id  string
	seq uint64

	// Guarded by Client.mu.
	next, prev *call
	list       *callList // the queue that holds it, or nil
	sends      int       // how many connections it was written to
	abandoned  bool      // its caller's context ended; kept so that a late answer is still accounted for
	finished   bool

	// Written once under Client.mu, before done is closed.
	ack   ackFields
	sub   *sub         // the subscription that an ack opened; it holds one reference
	tails []*tail      // of streams, one each
	acks  []itemAnswer // of a batch, one for each item
	err   error
	done  chan struct{}
}

type ackFields struct {
	jobID, state, statusURL string
	duplicate               bool
	grant                   Grant
	warning                 string
	ahead                   *int64   // nil: absent
	estimate                *float64 // in seconds; nil: absent
}

// counted reports whether the server counts k among the requests in flight, whose number it bounds.
func (k *call) counted() bool {
	return k.kind == frame.Submit || k.kind == frame.SubmitBatch || k.kind == frame.Cancel || k.kind == frame.Retry
}

// answeredBy reports whether a frame of that type may answer k. A type that answers nothing may have its ID.
func (k *call) answeredBy(typ frame.Type) bool {
	switch typ {
	case frame.Ack:
		return k.counted() && k.kind != frame.SubmitBatch
	case frame.Acks:
		return k.kind == frame.SubmitBatch
	case frame.Subscribed:
		return k.kind == frame.Subscribe
	case frame.Unsubscribed:
		return k.kind == frame.Unsubscribe
	case frame.Pong:
		return k.kind == frame.Ping
	case frame.Welcome:
		return k.kind == frame.Auth
	case frame.ListWatched:
		return k.kind == frame.WatchList
	case frame.ListUnwatched:
		return k.kind == frame.UnwatchList
	}
	return true
}

// callList is a doubly linked queue: a call is removed from its middle in constant time when its caller's
// context ends. Guarded by Client.mu.
type callList struct {
	head, tail *call
}

func (l *callList) empty() bool { return l.head == nil }

func (l *callList) pushBack(k *call) {
	k.list, k.prev, k.next = l, l.tail, nil
	if l.tail != nil {
		l.tail.next = k
	} else {
		l.head = k
	}
	l.tail = k
}

func (l *callList) pushFront(k *call) {
	k.list, k.prev, k.next = l, nil, l.head
	if l.head != nil {
		l.head.prev = k
	} else {
		l.tail = k
	}
	l.head = k
}

func (l *callList) remove(k *call) {
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	} else {
		l.tail = k.prev
	}
	k.list, k.prev, k.next = nil, nil, nil
}

// queueOf returns the queue for k's kind. What the server counts among the requests in flight may have to wait for its
// bound: submits in one queue, orders in another, so that a cancel need not wait behind a thousand submits.
func (c *Client) queueOf(k *call) *callList {
	switch {
	case k.kind == frame.Submit || k.kind == frame.SubmitBatch:
		return &c.submits
	case k.counted():
		return &c.orders
	}
	return &c.urgent
}

func callID(seq uint64) string { return strconv.FormatUint(seq, 36) }

// do sends k and waits for its answer or for the end of ctx. If ctx ends first, the error is ctx's when k was never
// written, and an IndeterminateError around it when k is a submit, a batch or a retry that was.
func (c *Client) do(ctx context.Context, k *call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k.done = make(chan struct{})
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	c.seq++
	k.seq, k.id = c.seq, callID(c.seq)
	c.queueOf(k).pushBack(k)
	c.wakeLocked()
	c.mu.Unlock()

	select {
	case <-k.done:
		return k.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.finished { // the answer came first
		return k.err
	}
	if k.list != nil {
		k.list.remove(k)
	}
	k.abandoned = true
	return k.outcome(ctx.Err())
}

// outcome returns the error of a call that ended because of cause, before its answer came.
func (k *call) outcome(cause error) error {
	if k.sends > 0 && (k.kind == frame.Submit || k.kind == frame.SubmitBatch || k.kind == frame.Retry) {
		return &IndeterminateError{Key: k.key, Err: cause}
	}
	return cause
}

// finishLocked gives k its outcome. Called with Client.mu held, at most once per call.
func (k *call) finishLocked(err error) {
	if k.finished {
		return
	}
	k.finished, k.err = true, err
	close(k.done)
}

// frameSize returns the length of k's frame in bytes.
func (k *call) frameSize() int {
	return len(`{"type":"","id":""`) + len(k.kind) + len(k.id) + len(k.body)
}

// appendFrame appends k's frame to b.
func (k *call) appendFrame(b []byte) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, k.kind...)
	b = append(b, `","id":"`...)
	b = append(b, k.id...)
	b = append(b, '"')
	return append(b, k.body...)
}
