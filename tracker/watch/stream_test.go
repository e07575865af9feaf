package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func update(id string, version int64) *trackerpb.Job {
	return &trackerpb.Job{JobId: id, Version: version, Document: []byte(`{}`)}
}

func watching(id string) *trackerpb.Watched {
	return &trackerpb.Watched{JobId: id, Outcome: trackerpb.Watched_WATCHING}
}

// taken takes the next response; nil when there is none.
func taken(t *testing.T, s *Stream) *trackerpb.WatchResponse {
	t.Helper()
	r, loads := s.take()
	return s.load(t.Context(), r, loads)
}

// next takes the next response, which must be there.
func next(t *testing.T, s *Stream) *trackerpb.WatchResponse {
	t.Helper()
	r := taken(t, s)
	if r == nil {
		t.Fatal("nothing to send")
	}
	return r
}

// want compares a response written as "answers | updates".
func want(t *testing.T, why string, r *trackerpb.WatchResponse, text string) {
	t.Helper()
	var got strings.Builder
	for _, w := range r.GetWatched() {
		fmt.Fprintf(&got, "%s ", w.JobId)
	}
	got.WriteString("|")
	for _, u := range r.GetUpdates() {
		fmt.Fprintf(&got, " %s@%d", u.JobId, u.Version)
	}
	if got.String() != text {
		t.Fatalf("%s: response %q, want %q", why, got.String(), text)
	}
}

func wantNothing(t *testing.T, why string, s *Stream) {
	t.Helper()
	if r := taken(t, s); r != nil {
		t.Fatalf("%s: response %v, want none", why, r)
	}
}

func TestUpdatesAreConflatedPerJob(t *testing.T) {
	s := NewStream()
	a, b := s.NewWatch("acme", nil), s.NewWatch("acme", nil)
	a.Put(update("a", 1))
	b.Put(update("b", 2))
	a.Put(update("a", 3))
	a.Put(update("a", 4))
	want(t, "the latest of each, who was first goes first", next(t, s), "| a@4 b@2")
	wantNothing(t, "all was taken", s)
	b.Put(update("b", 5))
	a.Put(update("a", 6))
	want(t, "and again", next(t, s), "| b@5 a@6")
}

func TestAnswersGoBeforeUpdates(t *testing.T) {
	s := NewStream()
	a := s.NewWatch("acme", nil)
	s.Answer(watching("a"))
	a.Put(update("a", 1))
	s.Answer(watching("b"))
	want(t, "in one response the answers come first", next(t, s), "a b | a@1")
}

func TestUpdatesWaitForAllAnswers(t *testing.T) {
	s := NewStream()
	for i := range 2*maxAnswers + 1 {
		s.Answer(watching(fmt.Sprint(i)))
	}
	w := s.NewWatch("acme", nil)
	w.Put(update("last", 1))
	for range 2 {
		if r := next(t, s); len(r.Watched) != maxAnswers || len(r.Updates) != 0 {
			t.Fatalf("%d answers and %d updates, want %d and none", len(r.Watched), len(r.Updates), maxAnswers)
		}
	}
	want(t, "the rest", next(t, s), fmt.Sprintf("%d | last@1", 2*maxAnswers))
	wantNothing(t, "all was taken", s)
}

func TestResponsesAreBounded(t *testing.T) {
	s := NewStream()
	for i := range maxUpdates + 1 {
		s.NewWatch("acme", nil).Put(update(fmt.Sprint(i), 1))
	}
	if r := next(t, s); len(r.Updates) != maxUpdates {
		t.Fatalf("%d updates", len(r.Updates))
	}
	want(t, "the rest", next(t, s), fmt.Sprintf("| %d@1", maxUpdates))

	big := make([]byte, maxBytes/2)
	for i := range 5 {
		s.NewWatch("acme", nil).Put(&trackerpb.Job{JobId: fmt.Sprint(i), Document: big})
	}
	for _, n := range []int{2, 2, 1} {
		if r := next(t, s); len(r.Updates) != n {
			t.Fatalf("%d updates of half a response each, want %d", len(r.Updates), n)
		}
	}
	wantNothing(t, "all was taken", s)
}

func TestDroppedUpdateIsNotSent(t *testing.T) {
	s := NewStream()
	a, b := s.NewWatch("acme", nil), s.NewWatch("acme", nil)
	a.Put(update("a", 1))
	a.Drop()
	wantNothing(t, "an empty response is no response", s)
	a.Put(update("a", 2))
	b.Put(update("b", 3))
	a.Drop()
	want(t, "the others are sent", next(t, s), "| b@3")
	a.Put(update("a", 4))
	want(t, "what is put later too", next(t, s), "| a@4")
}

func TestNext(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := NewStream()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w := s.NewWatch("acme", nil)
		go func() {
			time.Sleep(time.Second)
			w.Put(update("a", 1))
			w.Drop() // wakes the sender for nothing
			time.Sleep(time.Second)
			w.Put(update("a", 2))
		}()
		r, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "it waits until there is something", r, "| a@2")
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the context's error", err)
		}
	})
}

func TestClose(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := NewStream()
		w := s.NewWatch("acme", nil)
		ended := make(chan error)
		go func() {
			_, err := s.Next(t.Context())
			ended <- err
		}()
		synctest.Wait()
		s.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Fatalf("got %v, want ErrClosed", err)
		}
		w.Put(update("a", 1))
		s.Answer(watching("a"))
		wantNothing(t, "a closed stream takes nothing", s)
		if _, err := s.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Fatalf("got %v, want ErrClosed again", err)
		}
	})
}

func TestRoom(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := NewStream()
		if !s.Room(t.Context(), 1) {
			t.Fatal("an empty stream has room")
		}
		s.Answer(watching("a"))
		s.Answer(watching("b"))
		began := time.Now()
		go func() {
			time.Sleep(time.Minute)
			s.take()
		}()
		if !s.Room(t.Context(), 2) || time.Since(began) != time.Minute {
			t.Fatalf("waited %s, want it to wait for the answers to be taken", time.Since(began))
		}
		s.Answer(watching("c"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if s.Room(ctx, 1) {
			t.Fatal("there was no room before the context ended")
		}
	})
}

// TestManyPutters puts from several goroutines while one takes: for each job the versions
// rise and the last one arrives, and each update comes after its answer.
func TestManyPutters(t *testing.T) {
	const putters, jobs, versions = 4, 20, 200
	s := NewStream()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var putting sync.WaitGroup
	for p := range putters {
		putting.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(p), 0))
			watches := make([]*Watch, jobs)
			for v := int64(1); v <= versions; v++ {
				for _, i := range rnd.Perm(jobs) {
					id := fmt.Sprintf("%d-%d", p, i)
					if v == 1 {
						s.Answer(watching(id))
						watches[i] = s.NewWatch("acme", nil)
					}
					watches[i].Put(update(id, v))
				}
				runtime.Gosched()
			}
		})
	}
	answered, last := map[string]bool{}, map[string]int64{}
	for done := 0; done < putters*jobs; {
		r, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range r.Watched {
			answered[w.JobId] = true
		}
		for _, u := range r.Updates {
			if !answered[u.JobId] {
				t.Fatalf("update of %s before its answer", u.JobId)
			}
			if u.Version <= last[u.JobId] {
				t.Fatalf("%s: version %d after %d", u.JobId, u.Version, last[u.JobId])
			}
			last[u.JobId] = u.Version
			if u.Version == versions {
				done++
			}
		}
	}
	putting.Wait()
	wantNothing(t, "all was taken", s)
}
