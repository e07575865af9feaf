package shard

import (
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fold"
)

// mark closes the partition.
func (w *world) mark() {
	rec := &kgo.Record{Topic: names.Status(), Value: []byte("other."),
		Headers: []kgo.RecordHeader{{Key: topic.HeaderMark, Value: []byte(topic.MarkClosed)}}}
	w.set(func() { w.appendLocked(rec) })
	synctest.Wait()
}

func life(name string) mod { return func(e *event.Event) { e.Life = name } }

// TestAClosedPartitionMakesNoJobsOfNewKeys: after the mark neither accepted nor a claim makes a job that has a key.
// Jobs that are known go on, those without a key are made, and a key's job is found.
func TestAClosedPartitionMakesNoJobsOfNewKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(6)
		w.submit(ids[0], life("before"))
		claimedBefore := w.request(names.Requests("default"), ids[1])
		w.append(ids[1], event.Claimed, at(claimedBefore), life("before"))
		if r, err := w.shard.Reserve(t.Context(), ids[2], Scope{Tenant: tenant}, "h"); err != nil || !r.Held {
			t.Fatalf("reserved before the mark: %+v, %v", r, err)
		}
		w.mark()
		w.mark() // the first counts

		w.append(ids[1], event.Accepted, at(claimedBefore), life("before"))
		w.wantState("its claim came before the mark", ids[1], job.Processing)
		w.submit(ids[2], life("late"))
		late := w.request(names.Requests("default"), ids[3])
		w.append(ids[3], event.Claimed, at(late), life("late"))
		for _, id := range []string{ids[2], ids[3]} {
			if j := w.peek(id); j != nil {
				t.Errorf("a new key made a job: %+v", j)
			}
		}
		w.wantMetric("both are counted", w.metrics.refused[fold.Moved], 2)
		w.submit(ids[4])
		w.wantState("a job without a key", ids[4], job.Pending)

		want := func(id string, closed bool) {
			t.Helper()
			r, err := w.shard.Reserve(t.Context(), id, Scope{Tenant: tenant}, "other")
			if err != nil || r.Held || r.Closed != closed || !closed && r.Job.Job.GetJobId() != id {
				t.Errorf("reserve %s: %+v, %v", id, r, err)
			}
		}
		for range 2 {
			want(ids[0], false)
			want(ids[2], true)
			want(ids[5], true)
			w.pass(checkpointInterval * 3)
			w.end()
			w.start() // from its store: the mark is not read again
			synctest.Wait()
		}
		o, err := w.shard.Overlay(t.Context(), tenant, 0)
		if err != nil || !o.Closed {
			t.Errorf("counts say %+v, %v", o, err)
		}
	})
}
