package fold

import (
	"maps"
	"testing"
	"unsafe"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// A job has no more memory than before jobs had tags. An allocation of a type with pointers has 8 bytes more than its
// size, and the next larger class is one of 768.
func TestAJobIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Job{}) + 8; size > 704 {
		t.Errorf("a job has %d bytes", size)
	}
}

func tags(t job.Tags) mod { return func(e *event.Event) { e.Tags = t } }

func (l *log) wantTags(why string, want job.Tags) {
	l.t.Helper()
	if !maps.Equal(l.job.Doc.Tags, want) {
		l.t.Fatalf("%s: the tags are %v, want %v", why, l.job.Doc.Tags, want)
	}
}

// A job has the tags of the event that made it, whatever comes later.
func TestTagsNeverChange(t *testing.T) {
	own, others := job.Tags{"customer": "c-17"}, job.Tags{"customer": "c-18", "more": "x"}
	l := newLog(t)
	l.took("", event.Accepted, tags(own))
	l.wantTags("accepted has them", own)
	l.refused("a submit of the same key", Duplicate, event.Accepted, from(8), tags(others))
	l.refused("with another payload", Conflict, event.Accepted, from(9), hash("sha256:2"), tags(others))
	l.took("", event.Claimed, tags(others))
	l.took("", event.Failed)
	l.took("", event.Requeued, dispatch(2), from(21))
	l.took("", event.Claimed, dispatch(2), run("r2"), from(21))
	l.took("", event.Completed, dispatch(2), run("r2"))
	l.took("", event.RetryRequested)
	l.wantTags("through runs, an end and a retry", own)
	l.took("", event.CancelRequested, round(1))
	l.took("", event.Erased, round(1))
	l.wantTags("an erased job's marker has nothing of what was submitted", nil)
	if d := l.job.Doc; d.Lane != "" || d.Subject != "" {
		t.Errorf("the marker has %q and %q", d.Lane, d.Subject)
	}
}

// A claim that overtook accepted makes the job with its tags. If its worker does not know of tags, accepted brings
// them.
func TestTagsOfAJobBornByAClaim(t *testing.T) {
	own, others := job.Tags{"customer": "c-17"}, job.Tags{"customer": "c-18"}
	l := newLog(t)
	l.took("", event.Claimed, tags(own))
	l.wantTags("the claim has them", own)
	l.took("", event.Accepted, tags(others))
	l.wantTags("accepted does not change them", own)

	l = newLog(t)
	l.took("a worker of an earlier version", event.Claimed)
	l.wantTags("nobody knows them yet", nil)
	l.took("", event.Accepted, tags(own))
	l.wantTags("accepted fills them in", own)
	l.refused("once", Duplicate, event.Accepted, tags(others))
	l.wantTags("and not again", own)
}
