package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// link is one socket of a rover: it checks all that comes from the server against what was
// sent.
type link struct {
	rover *rover
	ws    *websocket.Conn
	// vandal says that broken frames are sent too: an answer may then be to anything.
	vandal bool
	// dozes is until when, in Unix nanoseconds, nothing is read.
	dozes atomic.Int64
	ended chan struct{} // closed when the socket has

	mu      sync.Mutex // guards all below
	serial  int
	pending map[string]request
	follows map[string]*following
}

// request is a frame that waits for its answer.
type request struct {
	kind     frame.Type
	jobs     []string
	after    map[string]int64
	keyed    string // tenant, type, key and payload of a submit with a key
	watches  bool
	stranger bool // none of the jobs is the tenant's
}

// following is what a socket has seen of a job that it watches.
type following struct {
	version int64
	over    bool // the end was seen
	renewed bool // an answer since then: the end may come once more
	quiet   bool // nothing newer than after there was: it may have been the end
	after   int64
}

// send writes a frame whose fields after the ID are given, and notes what is due for it.
func (l *link) send(r request, format string, args ...any) {
	l.mu.Lock()
	l.serial++
	id := fmt.Sprint(l.serial)
	l.pending[id] = r
	l.mu.Unlock()
	l.write(fmt.Appendf(nil, `{"type":%q,"id":%q%s}`, r.kind, id, fmt.Sprintf(format, args...)))
}

// write is bounded: a server that hangs is left.
func (l *link) write(b []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if l.ws.Write(ctx, websocket.MessageText, b) != nil {
		_ = l.ws.CloseNow()
	}
}

// read checks frames until the socket ends, and then with which code.
func (l *link) read() {
	defer close(l.ended)
	for {
		if until := time.Unix(0, l.dozes.Load()); until.After(time.Now()) {
			time.Sleep(time.Until(until))
		}
		kind, b, err := l.ws.Read(context.Background())
		if err != nil {
			var closed websocket.CloseError
			if errors.As(err, &closed) {
				if _, known := code.Close(closed.Code).Info(); !known && closed.Code != websocket.StatusNormalClosure {
					l.rover.wrong("closed with %d %q, which is not documented", closed.Code, closed.Reason)
				}
				l.rover.storm.count(fmt.Sprint("close ", int(closed.Code)))
			}
			_ = l.ws.CloseNow()
			return
		}
		if kind != websocket.MessageText {
			l.rover.wrong("a binary frame")
		}
		l.rover.looksForeign(b)
		l.mu.Lock()
		l.check(b)
		l.mu.Unlock()
	}
}

// check is held against what the client knows. l.mu is held.
func (l *link) check(b []byte) {
	var f struct {
		Type    frame.Type
		ID      string
		JobID   string
		State   string
		Version int64
		Job     job.Document
		Jobs    json.RawMessage
		frame.Problem
	}
	if err := json.Unmarshal(b, &f); err != nil {
		l.rover.wrong("a frame that is not JSON: %v: %s", err, b)
		return
	}
	if f.Type == frame.Status {
		l.status(f.Job, f.Version)
		return
	}
	r, known := l.pending[f.ID]
	delete(l.pending, f.ID)
	if f.ID != "" && !known && !l.vandal {
		l.rover.wrong("an answer to nothing: %s", b)
	}
	switch f.Type {
	case frame.Error:
		l.rover.documented(f.Problem, 0)
	case frame.Ack:
		if r.stranger {
			l.rover.wrong("%s of another tenant's job was acked: %s", r.kind, b)
		}
		if r.kind == frame.Submit || !known {
			l.rover.acked(f.Problem.JobID+f.JobID, r)
		}
		if r.watches || !known {
			l.follow(f.Problem.JobID+f.JobID, 0, false)
		}
	case frame.Subscribed:
		var jobs []frame.SubscribedJob
		if err := json.Unmarshal(f.Jobs, &jobs); err != nil {
			l.rover.wrong("%v: %s", err, b)
		}
		for _, j := range jobs {
			if j.Error != "" {
				l.rover.documented(frame.NewProblem(j.Error, ""), 0)
				continue
			}
			if r.stranger {
				l.rover.wrong("another tenant's job may be watched: %s", b)
			}
			l.follow(j.JobID, r.after[j.JobID], j.Version <= r.after[j.JobID])
		}
	case frame.Unsubscribed:
		for _, id := range r.jobs {
			delete(l.follows, id)
		}
	case frame.Welcome, frame.Pong, frame.Goaway, frame.Expiring:
	default:
		l.rover.wrong("a frame of type %q", f.Type)
	}
}

// follow notes that a job is watched from now on.
func (l *link) follow(id string, after int64, quiet bool) {
	f := l.follows[id]
	if f == nil {
		f = &following{}
		l.follows[id] = f
	}
	f.renewed, f.after, f.quiet = true, after, quiet
}

// status checks I3: versions rise strictly, and nothing follows the end.
func (l *link) status(doc job.Document, version int64) {
	f := l.follows[doc.JobID]
	if f == nil {
		if !l.vandal {
			l.rover.wrong("a status of job %s, which is not watched", doc.JobID)
		}
		f = &following{}
		l.follows[doc.JobID] = f
	}
	again := f.over && f.renewed && version == f.version
	switch {
	case version <= f.version && !again, version <= 0:
		l.rover.wrong("job %s: version %d after %d", doc.JobID, version, f.version)
	case f.over && !f.renewed:
		l.rover.wrong("job %s: version %d after its end, which was %d", doc.JobID, version, f.version)
	case version <= f.after:
		l.rover.wrong("job %s: version %d though it was asked for what is after %d", doc.JobID, version, f.after)
	}
	f.version, f.over, f.quiet = version, doc.State.Terminal(), false
	if !again {
		f.renewed = f.renewed && !f.over
	}
	l.rover.saw(doc.JobID, version, f.over)
}

// unsettled lists what a socket still waits for.
func (l *link) unsettled(final func(id string) (version int64, retried bool)) (what []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, r := range l.pending {
		what = append(what, fmt.Sprintf("%s %s of %v has no answer", r.kind, id, r.jobs))
	}
	for id, f := range l.follows {
		version, retried := final(id)
		if !f.over && version > max(f.after, f.version) && !(f.quiet && retried) {
			what = append(what, fmt.Sprintf("of job %s version %d was seen last, after %d was asked for, and it ended with %d",
				id, f.version, f.after, version))
		}
	}
	return what
}

func (l *link) alive() bool {
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}
