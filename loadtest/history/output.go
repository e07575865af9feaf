package history

import (
	"fmt"
	"hash/crc64"
	"sync"
	"time"

	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
)

// Output is what a record says of an output: a stream that a job writes while it runs. (An event stream is how a client
// receives statuses, and something else.)
type Output struct {
	Name string `json:"name"`
	// Run and At are, of a Follow, the cursor from which the client asks on: all before At in run Run; and of a Part
	// where it begins.
	Run int   `json:"run,omitempty"`
	At  int64 `json:"at,omitempty"`
	// Words, of a Follow, is how many words of demo.Text the job writes; 0 if what it writes is not known.
	Words int `json:"words,omitempty"`
	// Length, of a Part, is how much has come: bytes of text, or values. Sum is the checksum of all that the client now
	// has of the run: see Sum.
	Length int64  `json:"length,omitempty"`
	Sum    uint64 `json:"sum,omitempty"`
	Reset  bool   `json:"reset,omitempty"` // of a Part: what the client has of another run is void
	End    bool   `json:"end,omitempty"`   // of a Part: nothing follows, and the run has written Total
	Total  int64  `json:"total,omitempty"`
}

var sumTable = crc64.MakeTable(crc64.ECMA)

// Sum returns the checksum of a text whose beginning has the checksum of; 0 is that of no text.
func Sum(of uint64, text string) uint64 { return crc64.Update(of, sumTable, []byte(text)) }

// WithTotals returns a record of a status or a GET with what the job's run has written to each of its outputs.
func (r Record) WithTotals(totals job.Streams) Record {
	if len(totals) == 0 || !r.State.Terminal() {
		return r
	}
	r.Totals = make(map[string]int64, len(totals))
	for name, t := range totals {
		r.Totals[name] = t.Total
	}
	return r
}

// outputOf is an output as one follower receives it.
type outputOf struct {
	follower
	name string
}

// outputSeen is what one follower has received of an output.
type outputSeen struct {
	conn  int
	open  bool // it is followed on the connection conn: by a submit that was acked, or a subscription that was answered
	since time.Duration
	words int // that the job writes; 0: not known

	run    int
	at     int64
	sum    uint64
	ended  bool
	left   bool // the server has said that it is followed no longer
	broken bool // a violation was reported
}

// followOutput handles a client that asks for an output, from what it has of it on.
func (c *checker) followOutput(r Record) {
	if r.Output == nil {
		return
	}
	j := c.job(r.Job)
	key := outputOf{r.follower(), r.Output.Name}
	s := j.outputs[key]
	if s == nil {
		s = j.addOutput(key)
		c.verdict.Outputs++
	}
	s.conn, s.open, s.since = r.Conn, r.Watch, r.Time()
	if r.Output.Words <= maxTextWords {
		s.words = max(s.words, r.Output.Words)
	}
	s.left = false
	if s.run != r.Output.Run || s.at != r.Output.At {
		c.brokenOutput(r, s, fmt.Sprintf("the client asked from %d of run %d on, and has %d of run %d: the generator errs",
			r.Output.At, r.Output.Run, s.at, s.run))
	}
}

func (j *jobSeen) addOutput(of outputOf) *outputSeen {
	if j.outputs == nil {
		j.outputs = map[outputOf]*outputSeen{}
	}
	s := &outputSeen{}
	j.outputs[of] = s
	return s
}

// answeredOutputs notes that a subscription was answered, by which the follower asked for outputs, too.
func (c *checker) answeredOutputs(r Record) {
	j := c.jobs[r.Job]
	if j == nil {
		return
	}
	for key, s := range j.outputs {
		if key.follower == r.follower() && s.conn == r.Conn {
			s.open, s.since = r.Text == "", r.Time()
		}
	}
}

// part handles a part of an output: it goes on exactly where the follower's cursor stands (I9).
func (c *checker) part(r Record) {
	c.verdict.Parts++
	p := r.Output
	if p == nil {
		return
	}
	j := c.job(r.Job)
	s := j.outputs[outputOf{r.follower(), p.Name}]
	if s == nil {
		s = j.addOutput(outputOf{r.follower(), p.Name})
		c.brokenOutput(r, s, "a part of an output that the client does not follow (or before its ack)")
	}
	if s.broken {
		return
	}
	if r.Text != "" {
		s.left = true
		if lawless[code.Code(r.Text)] {
			c.brokenOutput(r, s, fmt.Sprintf("it is followed no longer: %s, at %d of run %d", r.Text, s.at, s.run))
		}
		return
	}
	if what := s.misplaced(r.Conn, p); what != "" {
		c.brokenOutput(r, s, what)
		return
	}
	if s.run != p.Run || p.Reset {
		s.run, s.at, s.sum = p.Run, 0, 0
	}
	s.at += p.Length
	what := s.foreign(p)
	s.sum = p.Sum
	s.ended = p.End
	if what == "" && p.End && p.Total != s.at {
		what = fmt.Sprintf("it ended with %d of run %d, and says that %d were written", s.at, s.run, p.Total)
	}
	if what != "" {
		c.brokenOutput(r, s, what)
	}
}

// lawless are errors that no output may end with: the client may see the job, its cursor is what it has received, and
// what it lacks is kept for longer than a run takes.
var lawless = map[code.Code]bool{code.NotFound: true, code.InvalidOffset: true, code.StreamGone: true}

// misplaced says why a part does not continue what came before; empty if it does.
func (s *outputSeen) misplaced(conn int, p *Output) string {
	switch {
	case s.conn != conn:
		return fmt.Sprintf("a part came on connection %d, and the output is followed on connection %d", conn, s.conn)
	case s.ended:
		return fmt.Sprintf("a part from %d of run %d on came after its end", p.At, p.Run)
	case p.Reset && p.Run <= s.run:
		return fmt.Sprintf("a reset to run %d came after run %d", p.Run, s.run)
	case p.Reset && p.At != 0:
		return fmt.Sprintf("a reset to run %d begins at %d", p.Run, p.At)
	case p.Reset:
		return ""
	case p.Run < s.run:
		return fmt.Sprintf("a part of run %d came after run %d", p.Run, s.run)
	case p.Run > s.run && s.at > 0: // a client that has nothing needs no reset
		return fmt.Sprintf("a part of run %d came after %d of run %d, without a reset", p.Run, s.at, s.run)
	case p.At > s.at:
		return fmt.Sprintf("a gap: a part begins at %d of run %d, and the client has %d", p.At, p.Run, s.at)
	case p.At < s.at:
		return fmt.Sprintf("an overlap: a part begins at %d of run %d, and the client has %d", p.At, p.Run, s.at)
	}
	return ""
}

// foreign says that what the follower has up to its cursor is not what the job writes; empty if it is, or is not known.
func (s *outputSeen) foreign(p *Output) string {
	if s.words == 0 || p.Length == 0 {
		return ""
	}
	whole := textOf(s.words)
	if s.at > int64(len(whole)) {
		return fmt.Sprintf("%d bytes of run %d came, and the job writes %d", s.at, s.run, len(whole))
	}
	if Sum(s.sum, whole[s.at-p.Length:s.at]) != p.Sum {
		return fmt.Sprintf("another text came than the job writes: bytes %d to %d of run %d", s.at-p.Length, s.at, s.run)
	}
	return ""
}

// maxTextWords bounds the text of demo.write with which outputs are compared.
const maxTextWords = 1_000_000

// longest is the text of most words so far; each other is its beginning.
var longest struct {
	mu   sync.Mutex // guards the rest
	text string
	at   []int // at[n] is the length of n words
}

// textOf returns what demo.write writes in so many words.
func textOf(words int) string {
	longest.mu.Lock()
	defer longest.mu.Unlock()
	if words >= len(longest.at) {
		longest.text, longest.at = demo.Text(words), []int{0}
		for i := range len(longest.text) {
			if longest.text[i] == ' ' { // one behind each word
				longest.at = append(longest.at, i+1)
			}
		}
	}
	return longest.text[:longest.at[words]]
}

// brokenOutput reports an output of one follower, once.
func (c *checker) brokenOutput(r Record, s *outputSeen, what string) {
	if s.broken {
		return
	}
	s.broken = true
	name := ""
	if r.Output != nil {
		name = r.Output.Name
	}
	c.verdict.found(Violation{
		Invariant: Continuation, Job: r.Job, Client: r.Client, Stream: r.Stream, Output: name, What: what,
	})
}

// outputsEnded checks, at the end of the history, that each follower of a job that has ended has all of its outputs:
// those that have ended have what the document says, and on connections that stayed open all have ended.
func (c *checker) outputsEnded(id string, j *jobSeen) {
	for key, s := range j.outputs {
		r := Record{Job: id, Client: key.client, Stream: key.stream, Output: &Output{Name: key.name}}
		if what := c.unfinished(j, key, s); what != "" {
			c.brokenOutput(r, s, what)
		}
	}
}

// unfinished says what a follower has too little, too much or falsely of an output at the end; empty if nothing.
func (c *checker) unfinished(j *jobSeen, key outputOf, s *outputSeen) string {
	if !s.ended {
		waited := c.end - max(j.endAt, s.since)
		if c.complete && s.open && !s.left && c.conns[key.follower] == s.conn && waited >= c.deliverWithin {
			return fmt.Sprintf("its end never came in %v on an open socket: the client has %d of run %d",
				waited.Round(time.Millisecond), s.at, s.run)
		}
		return ""
	}
	total, known := j.totals[key.name]
	switch {
	case known && total != s.at:
		return fmt.Sprintf("it ended with %d of run %d, and the job's document says %d", s.at, s.run, total)
	case j.endState == job.Completed && s.words > 0 && s.at != int64(len(textOf(s.words))):
		return fmt.Sprintf("it ended with %d of run %d, and the job has written %d", s.at, s.run, len(textOf(s.words)))
	}
	for other, o := range j.outputs {
		switch {
		case other.name != key.name:
		case s.run > 0 && o.run > s.run:
			return fmt.Sprintf("it ended with run %d, though run %d was seen", s.run, o.run)
		case o.run == s.run && o.ended && o.at == s.at && o.sum != s.sum:
			return fmt.Sprintf("it ended with another text than that of client %d, of run %d and of the same length",
				other.client, s.run)
		}
	}
	return ""
}
