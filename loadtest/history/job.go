package history

import (
	"fmt"
	"time"
)

// Each method takes one kind of record.

func (c *checker) ack(r Record) {
	j := c.job(r.Job)
	if j.acked < 0 {
		j.acked = r.Time()
	}
	w := r.follower()
	if s := j.subs[w]; (r.Watch || c.follows(r)) && (s == nil || s.conn != r.Conn) {
		j.subs[w] = &sub{conn: r.Conn, open: true, since: r.Time()}
	}
}

func (c *checker) retry(r Record) {
	j := c.job(r.Job)
	j.retried = max(j.retried, j.endVersion)
	j.endVersion, j.endState, j.beyond = 0, "", 0
	j.retries++
	for _, s := range j.subs {
		s.ended = false
	}
	for _, s := range j.outputs {
		s.broken = true // another run begins: no longer checked
	}
	j.totals = nil
}

// follow handles a socket's subscription to all jobs of its client's subject, and the answer to it.
func (c *checker) follow(r Record) {
	if r.Stream == 0 {
		c.mine[r.Client] = following{conn: r.Conn, open: r.Kind == Watched && r.Text == ""}
	}
}

// follows reports whether a socket receives all jobs of its client's subject.
func (c *checker) follows(r Record) bool {
	w := c.mine[r.Client]
	return r.Stream == 0 && w.open && w.conn == r.Conn
}

// watch handles a subscription and its answer. Statuses must come from the answer on, except those that came on this
// connection before.
func (c *checker) watch(r Record) {
	j := c.job(r.Job)
	w := r.follower()
	s := j.subs[w]
	if r.Kind == Watched {
		c.answeredOutputs(r)
	}
	switch {
	case r.Kind == Watch && (s == nil || s.conn != r.Conn):
		ended := s != nil && s.ended
		if r.Stream != 0 {
			ended = r.State.Terminal() // what its ID does not cover is owed once more
		}
		j.subs[w] = &sub{conn: r.Conn, last: r.Version, since: r.Time(), ended: ended}
	case r.Kind == Watched && s != nil && s.conn == r.Conn:
		s.open = r.Text == "" || c.follows(r)
		s.since = r.Time()
		switch ahead := r.Version > 0 && r.Version < s.last; {
		case r.Reset:
			s.last, s.seen = 0, 0 // what it had seen is not in the log: it counts as none, and the state is owed
		case ahead, r.Text != "":
			s.last = s.seen // what it asked to be above of counts for nothing
		}
	}
}

func (c *checker) status(r Record) {
	j := c.job(r.Job)
	w := r.follower()
	s := j.subs[w]
	if covered := s != nil && s.conn == r.Conn; !covered && c.follows(r) {
		s = &sub{conn: r.Conn, open: true, since: r.Time(), ended: s != nil && s.ended}
		j.subs[w] = s
	}
	switch {
	case s == nil || s.conn != r.Conn:
		j.subs[w] = &sub{conn: r.Conn, last: r.Version, since: r.Time(), broken: true}
		c.delivery(r, fmt.Sprintf("a status at version %d on a socket that does not watch the job (or before its ack)",
			r.Version))
	case r.Version == 0:
		if s.ended && !s.broken {
			s.broken = true
			c.delivery(r, fmt.Sprintf("%s came after its end", r.State))
		}
		s.ended = r.State.Terminal()
	case r.Version <= s.seen, r.Version <= s.last && !c.follows(r):
		if !s.broken {
			s.broken = true
			c.delivery(r, fmt.Sprintf("version %d came after version %d", r.Version, s.last))
		}
	default: // to all jobs a version may come that a watch of the socket's did not ask for
		s.last, s.seen = max(s.last, r.Version), r.Version
		s.ended = s.ended || r.State.Terminal()
	}
	c.told(j, r)
}

func (c *checker) delivery(r Record, what string) {
	c.verdict.found(Violation{Invariant: Delivery, Job: r.Job, Client: r.Client, Stream: r.Stream, What: what})
}

func (c *checker) get(r Record) {
	j := c.job(r.Job)
	switch r.Code {
	case 200:
		j.lastGet = r.Code
		c.told(j, r)
		since := max(j.acked, c.lastFault)
		if late := r.Time() - since; j.acked >= 0 && !r.State.Terminal() && c.endsWithin > 0 && late > c.endsWithin {
			c.violate(j, Ends, r, fmt.Sprintf("still %s %v after its ack or the last fault; within %v was promised", r.State,
				late.Round(time.Millisecond), c.endsWithin))
		}
	case 404:
		j.lastGet = r.Code
		if j.acked >= 0 {
			j.missed = true
		}
	default:
		j.getFail = true
	}
}

// told handles what a status or a document says of the job itself.
func (c *checker) told(j *jobSeen, r Record) {
	j.told = true
	if r.Version <= j.retried { // also one that is not known
		return
	}
	if r.Totals != nil {
		j.totals = r.Totals
	}
	if what := unrun(r, j.retries); what != "" {
		c.violate(j, Unspent, r, what)
	}
	switch {
	case !r.State.Terminal():
		j.beyond = max(j.beyond, r.Version)
		if j.endVersion != 0 && r.Version > j.endVersion {
			c.violate(j, Outcome, r, fmt.Sprintf("%s at version %d, though it had %s at version %d", r.State, r.Version,
				j.endState, j.endVersion))
		}
	case j.endVersion == 0:
		j.endVersion, j.endState, j.endAt = r.Version, r.State, r.Time()
		if j.beyond > r.Version {
			c.violate(j, Outcome, r, fmt.Sprintf("%s at version %d, though it went on up to version %d", r.State, r.Version,
				j.beyond))
		}
	case r.Version != j.endVersion || r.State != j.endState:
		c.violate(j, Outcome, r, fmt.Sprintf("%s at version %d beside %s at version %d", r.State, r.Version, j.endState,
			j.endVersion))
	}
}

// violate reports a violation that concerns the job as a whole, once.
func (c *checker) violate(j *jobSeen, i Invariant, r Record, what string) {
	if j.broken[i] {
		return
	}
	if j.broken == nil {
		j.broken = map[Invariant]bool{}
	}
	j.broken[i] = true
	c.verdict.found(Violation{Invariant: i, Job: r.Job, What: what})
}

// finish checks what should have come by the end.
func (c *checker) finish() {
	for id, j := range c.jobs {
		if j.acked >= 0 {
			c.verdict.Acked++
			c.acked(id, j)
		}
		if j.endVersion != 0 {
			c.verdict.Ended++
			c.delivered(id, j)
			c.outputsEnded(id, j)
		}
	}
}

func (c *checker) acked(id string, j *jobSeen) {
	r := Record{Job: id}
	switch {
	case j.lastGet == 404:
		c.violate(j, Lost, r, "it was acked, and the last GET answered 404")
	case j.missed:
		c.violate(j, ReadWrite, r, "a GET after its ack answered 404; it was there later")
	case !j.told && j.getFail && c.complete:
		c.violate(j, Lost, r, "it was acked, and no GET could read it up to the end")
	case !j.told:
		c.verdict.Unproven++
	}
}

// delivered checks that each follower that stayed open has received the job's end.
func (c *checker) delivered(id string, j *jobSeen) {
	if !c.complete {
		return
	}
	for w, s := range j.subs {
		waited := c.end - max(j.endAt, s.since)
		if s.open && !s.ended && !s.broken && c.conns[w] == s.conn && s.last < j.endVersion && waited >= c.deliverWithin {
			c.delivery(Record{Job: id, Client: w.client, Stream: w.stream},
				fmt.Sprintf("the last version seen is %d; that the job has %s at version %d never came, in %v on an open socket",
					s.last, j.endState, j.endVersion, waited.Round(time.Millisecond)))
		}
	}
}
