package fold

import (
	"reflect"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

func streams(total int64) mod {
	return func(e *event.Event) { e.Streams = job.Streams{"tokens": {Kind: job.StreamText, Total: total}} }
}

// The totals of the last run's streams are those in its last event. Whatever begins anew, or ends without a word of the
// run, has none.
func TestTotalsOfStreams(t *testing.T) {
	for _, c := range []struct {
		what string
		log  func(*log)
		want int64 // 0: none
	}{
		{"completed", func(l *log) { l.took("it goes on", event.Completed, streams(5)) }, 5},
		{"failed for good", func(l *log) { l.took("it goes on", event.Failed, streams(5), permanent) }, 5},
		{"failed, and tried again later", func(l *log) { l.took("it goes on", event.Failed, streams(5)) }, 5},
		{"released", func(l *log) { l.took("it goes on", event.Released, streams(5)) }, 5},
		{"handed back", func(l *log) {
			l.took("it goes on", event.Released, streams(5), func(e *event.Event) {
				e.Error = &event.Failure{Error: job.Error{Code: "no_such_type"}}
			})
		}, 5},
		{"the result is too large", func(l *log) {
			l.took("it goes on", event.Completed, streams(5), result(`"`+string(make([]byte, MaxResult))+`"`))
		}, 5},
		{"lost", func(l *log) { l.took("it goes on", event.LeaseExpired, renewal(l.job.Renewal)) }, 0},
		{"timed out", func(l *log) { l.took("it goes on", event.AttemptTimedOut) }, 0},
		{"a beat", func(l *log) { l.took("it goes on", event.Beat, streams(5)) }, 0},
		{"claimed again", func(l *log) {
			l.took("it goes on", event.Released, streams(5))
			l.took("it goes on", event.Requeued, dispatch(2), from(9))
			l.took("it goes on", event.Claimed, dispatch(2), run("r2"), from(9))
		}, 0},
		{"retried", func(l *log) {
			l.took("it goes on", event.Completed, streams(5))
			l.took("it goes on", event.RetryRequested)
		}, 0},
	} {
		l := newLog(t)
		l.took("it goes on", event.Accepted)
		l.took("it goes on", event.Claimed)
		l.now = l.now.Add(time.Second)
		c.log(l)
		if got := l.job.Doc.Streams["tokens"].Total; got != c.want || c.want == 0 && l.job.Doc.Streams != nil {
			t.Errorf("%s: %v, want %d", c.what, l.job.Doc.Streams, c.want)
		}
		if again := clone(t, l.job); !reflect.DeepEqual(again.Doc.Streams, l.job.Doc.Streams) {
			t.Errorf("%s: stored and read again: %v", c.what, again.Doc.Streams)
		}
	}
}

// The run whose streams count is the last one that has held the lease, also after the job has ended or waits again.
func TestWhoseStreamsCount(t *testing.T) {
	l := newLog(t)
	want := func(when, run string, dispatch int) {
		t.Helper()
		var got Writer
		if w := clone(t, l.job).Writer; w != nil {
			got = *w
		}
		if got != (Writer{run, dispatch}) {
			t.Errorf("%s: %+v, want %s of %d", when, got, run, dispatch)
		}
	}
	l.took("it goes on", event.Accepted)
	want("nobody has claimed it", "", 0)
	l.took("it goes on", event.Claimed)
	want("claimed", "r1", 1)
	l.refused("a second run", WrongRun, event.Claimed, run("zombie"))
	want("claimed by a second run", "r1", 1)
	l.took("it goes on", event.Released)
	want("it waits again", "r1", 1)
	l.took("it goes on", event.Requeued, dispatch(2), from(9))
	l.took("it goes on", event.Claimed, dispatch(2), run("r2"), from(9))
	want("claimed again", "r2", 2)
	l.took("it goes on", event.Completed, dispatch(2), run("r2"))
	want("completed", "r2", 2)
	l.took("it goes on", event.RetryRequested)
	want("retried", "r2", 2)
}
