package subjects

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an index, and the upstream whose trackers the test plays.
type world struct {
	t     *testing.T
	index *Index

	mu      sync.Mutex // guards all below
	adds    []string
	removed []uint32
	lists   []*trackerpb.ListRequest
	pages   []*trackerpb.ListResponse // the next answers; then an empty one
	refuse  int                       // how many of the next lists fail
}

func (w *world) AddSubject(a *trackerpb.SubjectAdd) {
	w.adds = append(w.adds, fmt.Sprintf("%d=%s/%s", a.Handle, a.Tenant, a.Subject))
}

func (w *world) RemoveSubject(handle uint32) { w.removed = append(w.removed, handle) }

func (w *world) List(_ context.Context, r *trackerpb.ListRequest) (*trackerpb.ListResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse > 0 {
		w.refuse--
		return nil, errors.New("no tracker")
	}
	w.lists = append(w.lists, &trackerpb.ListRequest{
		Tenant: r.Tenant, Subjects: r.Subjects, UpdatedFrom: r.UpdatedFrom, After: r.After,
	})
	if len(w.pages) == 0 {
		return &trackerpb.ListResponse{}, nil
	}
	page := w.pages[0]
	w.pages = w.pages[1:]
	return page, nil
}

func inBubble(t *testing.T, f func(*testing.T, *world)) {
	bubble.Test(t, func(t *testing.T) {
		w := &world{t: t, index: New(kafka.Timeouts{}.Bounds())}
		w.index.Attach(w)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- w.index.Run(ctx) }()
		f(t, w)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// reader is a subscriber that records its calls, such as "subscribed" and "a@3".
type reader struct {
	Subscription
	mu     sync.Mutex // guards all below
	got    []string
	cursor string
	full   bool
}

func (r *reader) say(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, text)
}

func (r *reader) Subscribed(c code.Code, reset bool) {
	text := strings.TrimSpace("subscribed " + string(c))
	if reset {
		text += " reset"
	}
	r.say(text)
}

func (r *reader) Cursor(cursor string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cursor = cursor
	return true
}

func (r *reader) Room() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.full
}

func (r *reader) SubjectStatus(jobID string, f *outbox.Frame) {
	r.say(fmt.Sprintf("%s@%d", jobID, f.Version))
}

func (w *world) follow(subject string) *reader { return w.followAfter(subject, "") }

func (w *world) followAfter(subject, cursor string) *reader {
	r := &reader{}
	r.Subscription = Subscription{Subscriber: r, Tenant: "acme", Subject: subject, After: cursor}
	w.index.Subscribe(&r.Subscription)
	return r
}

func (r *reader) want(t *testing.T, why string, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.got, want) {
		t.Fatalf("%s: was told %q, want %q", why, r.got, want)
	}
	r.got = nil
}

func (w *world) cover(stream uint64, partition int32, lost bool, handles ...uint32) {
	w.index.Covered(stream, &trackerpb.Coverage{
		Partition: partition, Partitions: 2, Handles: handles, Lost: lost, LogNow: time.Now().UnixMilli(),
	})
}

func update(handle uint32, id string, version int64) *trackerpb.Job {
	return &trackerpb.Job{
		JobId: id, Version: version, Document: []byte(`{}`), SubjectHandle: handle, Tenant: "acme", Subject: "ann",
	}
}

func TestAnsweredOnceAllPartitionsAreCovered(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.follow("ann")
		w.cover(1, 0, false, 1)
		w.index.Update(update(1, "early", 1))
		a.want(t, "one partition is not covered yet")
		w.cover(2, 1, false, 1)
		a.want(t, "both are", "subscribed")
		b := w.follow("ann")
		b.want(t, "the next one waits for nobody", "subscribed")
		w.index.Update(update(1, "j", 5))
		w.index.Update(update(1, "j", 5))
		w.index.Update(update(1, "j", 4))
		w.index.Update(update(9, "k", 1))
		w.index.Update(update(0, "l", 1))
		a.want(t, "versions rise", "j@5")
		b.want(t, "versions rise", "j@5")
		if len(w.adds) != 1 || w.adds[0] != "1=acme/ann" {
			t.Errorf("upstream was asked for %q", w.adds)
		}
		w.index.Unsubscribe(&a.Subscription)
		w.index.Unsubscribe(&a.Subscription)
		w.index.Update(update(1, "j", 6))
		a.want(t, "it has left")
		b.want(t, "the other has not", "j@6")
		w.index.Unsubscribe(&b.Subscription)
		if subjects, subs := w.index.Size(); subjects != 0 || subs != 0 || !slices.Equal(w.removed, []uint32{1}) {
			t.Errorf("%d subjects, %d subscriptions, removed %v", subjects, subs, w.removed)
		}
		w.follow("ann")
		if len(w.adds) != 2 || w.adds[1] != "2=acme/ann" {
			t.Errorf("a handle is used again: %q", w.adds)
		}
	})
}

func TestNoTrackerAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.follow("ann")
		w.cover(1, 0, false, 1)
		time.Sleep(w.index.answerIn - time.Millisecond)
		w.index.Sweep()
		a.want(t, "there is time left")
		time.Sleep(time.Millisecond)
		w.index.Sweep()
		a.want(t, "time is over", "subscribed unavailable")
		if subjects, subs := w.index.Size(); subjects != 0 || subs != 0 {
			t.Errorf("%d subjects, %d subscriptions", subjects, subs)
		}
	})
}

func TestAGapIsClosedWhenAPartitionMoves(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.follow("ann")
		w.cover(1, 0, false, 1)
		w.cover(2, 1, false, 1)
		w.index.Update(update(1, "seen", 7))
		a.want(t, "it is covered", "subscribed", "seen@7")
		time.Sleep(time.Hour)
		w.index.Sweep()
		w.index.Update(update(1, "recent", 8))
		a.want(t, "an hour later", "recent@8")
		lost := time.Now()
		w.index.Uncovered(2)
		b := w.follow("ann")
		time.Sleep(10 * time.Second)
		w.index.Sweep()
		b.want(t, "nobody covers a partition", "subscribed unavailable")
		w.mu.Lock()
		w.refuse = 2
		w.pages = []*trackerpb.ListResponse{
			{
				Jobs:    []*trackerpb.ListedJob{{Job: update(0, "recent", 8)}, {Job: update(0, "missed", 12)}},
				Through: &trackerpb.Place{JobId: "missed"},
			},
			{Jobs: []*trackerpb.ListedJob{{Job: update(0, "recent", 11)}}},
		}
		w.mu.Unlock()
		w.cover(3, 1, false, 1)
		time.Sleep(5 * gapRetry)
		a.want(t, "what it has missed, and no more", "missed@12", "recent@11")
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.lists) != 2 || w.lists[1].After == nil || w.lists[0].Tenant != "acme" ||
			!slices.Equal(w.lists[0].Subjects, []string{"ann"}) ||
			time.UnixMilli(w.lists[0].UpdatedFrom).Sub(lost.Add(-overlap)).Abs() > time.Second {
			t.Errorf("asked %v", w.lists)
		}
	})
}

// TestWhoSaysThatAPartitionMoved: the new owner's coverage may arrive before the old owner's loss, which is then
// ignored.
func TestWhoSaysThatAPartitionMoved(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.follow("ann")
		w.cover(1, 0, false, 1)
		w.cover(1, 1, false, 1)
		w.cover(1, 1, false, 1)
		w.cover(2, 1, false, 1)
		w.cover(1, 1, true, 1)
		w.index.Uncovered(9)
		time.Sleep(time.Second)
		a.want(t, "covered", "subscribed")
		w.follow("ann").want(t, "still covered", "subscribed")
		w.mu.Lock()
		if len(w.lists) != 1 {
			t.Errorf("asked %d times", len(w.lists))
		}
		w.mu.Unlock()
		w.cover(2, 1, true, 1)
		w.cover(2, 1, false, 1)
		time.Sleep(time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.lists) != 2 {
			t.Errorf("asked %d times after a restart of the shard", len(w.lists))
		}
	})
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.follow("ann")
		w.cover(1, 0, false, 1)
		w.cover(1, 1, false, 1)
		for i := range 2*maxSeen + 10 {
			w.index.Update(update(1, fmt.Sprint(i), 1))
			if n := len(w.index.handles[1].seen); n > maxSeen {
				t.Fatalf("%d jobs are remembered", n)
			}
		}
		time.Sleep(keepSeen + time.Second)
		w.index.Sweep()
		if n := len(w.index.handles[1].seen); n != 0 {
			t.Errorf("%d jobs are remembered after a while", n)
		}
	})
}
