package shard

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/watch"
)

// stage is the audience of a shard that has caught up, with all that it needs.
type stage struct {
	*desk
	audience
}

func newStage(t *testing.T, stored ...*fold.Job) *stage {
	d := newDesk(t, stored...)
	clock := newLogClock(true, d.metrics, quiet)
	s := &stage{desk: d, audience: audience{
		partition: testPartition, partitions: testPartitions, jobs: d.questions.jobs, pos: d.questions.pos, clock: &clock,
		catching: d.questions.catching, questions: &d.questions, metrics: d.questions.metrics,
	}}
	s.audience.open()
	return s
}

// add adds a watch, as Shard.Watch does on the shard's goroutine.
func (s *stage) add(ctx context.Context, stream *watch.Stream, add *trackerpb.WatchAdd) {
	add.Tenant = tenant
	newAdding(ctx, &s.audience, stream, add).begin()
}

// become has an entry's job be another one, as the fold does.
func (s *stage) become(e *entry, j *fold.Job) {
	e.job, e.public = j, nil
	s.audience.jobs.keep(e)
	s.audience.changed(e)
}

// sent lists what the stream has to send: "WATCHING a@1", "a@1", "covers 1 lost" …
func sent(t *testing.T, why string, stream *watch.Stream, want ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var got []string
	for {
		r, err := stream.Next(ctx)
		if err != nil {
			break
		}
		for _, a := range r.Watched {
			got = append(got, fmt.Sprintf("%s %s", a.Outcome, a.JobId))
		}
		for _, c := range r.Coverage {
			text := fmt.Sprintf("covers %v of %d", c.Handles, c.Partition)
			if c.Lost {
				text += " no more"
			}
			got = append(got, text)
		}
		for _, u := range r.Updates {
			got = append(got, fmt.Sprintf("%s@%d by %d", u.JobId, u.Version, u.SubjectHandle))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: it sends %q, want %q", why, got, want)
	}
}

// versionOf returns a job with a version.
func versionOf(id string, state job.State, version int64) *fold.Job {
	j := aJob(id, state)
	j.Version = version
	return j
}

func TestAudienceFollowsAJob(t *testing.T) {
	s, stream := newStage(t, aJob("a", job.Pending)), watch.NewStream()
	s.add(t.Context(), stream, &trackerpb.WatchAdd{JobId: "a"})
	sent(t, "the state now", stream, "WATCHING a", "a@1 by 0")
	e := s.audience.jobs.all["a"]
	if e == nil || testutil.ToFloat64(s.audience.metrics.watches) != 1 {
		t.Fatal("a job that is watched is not in memory, or not counted")
	}
	s.become(e, versionOf("a", job.Processing, 2))
	sent(t, "a change", stream, "a@2 by 0")
	s.become(e, versionOf("a", job.Completed, 3))
	s.become(e, versionOf("a", job.Pending, 4))
	sent(t, "its end is the last that a watch tells of", stream, "a@3 by 0")
	if len(s.streams) != 0 || len(e.watches) != 0 || testutil.ToFloat64(s.audience.metrics.watches) != 0 {
		t.Errorf("streams %v watch on", s.streams)
	}
}

func TestAudienceOfAJobThatIsNotKnown(t *testing.T) {
	s, stream := newStage(t), watch.NewStream()
	s.end = 2
	s.add(t.Context(), stream, &trackerpb.WatchAdd{JobId: "a"})
	s.add(t.Context(), stream, &trackerpb.WatchAdd{JobId: "b"})
	s.audience.drop(stream, "b")
	s.aside.finish()
	s.aside.finish()
	sent(t, "the log may hold it", stream)
	s.audience.pos.next = 2
	s.audience.pos.show()
	s.unpark()
	sent(t, "it does not, and nobody wants the other any more", stream, "NOT_FOUND a")
	if len(s.adding) != 0 {
		t.Errorf("%d watches wait", len(s.adding))
	}
}

// TestAudienceOfASubject: its streams are told of every change of its jobs, but of webhooks, once the shard is ready.
func TestAudienceOfASubject(t *testing.T) {
	s, stream := newStage(t), watch.NewStream()
	e := &entry{id: "a"}
	s.audience.catching.ready.Store(false)
	s.follow(stream, []*trackerpb.SubjectAdd{{Tenant: tenant, Subject: "ann", Handle: 7}})
	s.become(e, versionOf("a", job.Pending, 1))
	sent(t, "while it catches up there is no news", stream)
	s.audience.catching.ready.Store(true)
	s.coverAll(false)
	s.become(e, versionOf("a", job.Pending, 2))
	hook := versionOf("hook", job.Pending, 3)
	hook.Doc.Type = topic.WebhookType
	s.become(&entry{id: "hook"}, hook)
	other := versionOf("other", job.Pending, 4)
	other.Doc.Subject = "bob"
	s.become(&entry{id: "other"}, other)
	sent(t, "then there is", stream, "covers [7] of 1", "a@2 by 7")
	s.add(t.Context(), stream, &trackerpb.WatchAdd{JobId: "a", After: 2})
	s.become(e, versionOf("a", job.Pending, 5))
	sent(t, "who watches the job, too, is told once", stream, "WATCHING a", "a@5 by 7")
	s.subjects.remove(stream, 7)
	s.become(e, versionOf("a", job.Pending, 6))
	sent(t, "the watch of the job goes on", stream, "a@6 by 0")
	gone := watch.NewStream()
	s.follow(gone, []*trackerpb.SubjectAdd{{Tenant: tenant, Subject: "ann", Handle: 1}})
	gone.Close()
	s.become(e, versionOf("a", job.Pending, 7))
	if len(s.subjects.streams) != 0 {
		t.Error("a stream that is closed has subjects")
	}
}

func TestAudienceIsDismissed(t *testing.T) {
	s, stream, gone := newStage(t, aJob("a", job.Pending)), watch.NewStream(), watch.NewStream()
	for _, to := range []*watch.Stream{stream, gone} {
		s.add(t.Context(), to, &trackerpb.WatchAdd{JobId: "a", After: 1})
		s.follow(to, []*trackerpb.SubjectAdd{{Tenant: tenant, Subject: "ann", Handle: 3}})
	}
	s.audience.leave(gone)
	sent(t, "it watches", stream, "WATCHING a", "covers [3] of 1")
	sent(t, "it has left", gone, "WATCHING a", "covers [3] of 1")
	s.dismiss()
	sent(t, "it must look for the new owner", stream, "NOT_OWNER a", "covers [3] of 1 no more")
	sent(t, "it is told nothing", gone)
	if n := testutil.ToFloat64(s.audience.metrics.watches); n != 0 {
		t.Errorf("%v watches are counted", n)
	}
}

// TestAudienceLoads: a document that a stream did not keep is the job's as it is now.
func TestAudienceLoads(t *testing.T) {
	s, stream := newStage(t, versionOf("a", job.Pending, 5)), watch.NewStream()
	w := stream.NewWatch(tenant, nil)
	if got, err := s.load(w, "a", false); err != nil || got.job.GetVersion() != 5 || len(s.streams) != 0 {
		t.Errorf("loaded %v, %v", got, err)
	}
	if got, err := s.load(w, "b", false); err != nil || got.outcome != trackerpb.Watched_NOT_FOUND {
		t.Errorf("of a job that was removed: %v, %v", got, err)
	}
	if got, err := s.load(stream.NewWatch("other", nil), "a", false); err != nil ||
		got.outcome != trackerpb.Watched_NOT_FOUND {
		t.Errorf("of another tenant's: %v, %v", got, err)
	}
	if _, err := s.load(w, "a", true); err != nil || len(s.streams[stream]) != 1 {
		t.Errorf("a job that was opened again is not watched: %v", err)
	}
}
