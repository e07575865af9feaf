package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var entries = Entries{{"ada", 250}, {"bob", -100}, {"bob", -150}}

func opened(t *testing.T) *ledger {
	t.Helper()
	l, err := open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.db.Close() })
	return l
}

// run runs the job's handler once, as one run of a dispatch.
func (l *ledger) run(t *testing.T, dispatch int) processortest.Outcome {
	t.Helper()
	got, err := processortest.Run(t.Context(), func(w *processor.Processor) { processor.HandleType(w, Book, l.book) },
		processortest.Job{Type: Book.Name(), ID: "job-1", Dispatch: dispatch, Payload: entries})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// wantAll checks that each entry is booked exactly once.
func (l *ledger) wantAll(t *testing.T) {
	t.Helper()
	for account, want := range map[string][2]int64{"ada": {1, 250}, "bob": {2, -250}} {
		var got [2]int64
		err := l.db.QueryRowContext(t.Context(), `SELECT count(*), coalesce(sum(cents), 0) FROM entries WHERE account = ?`,
			account).
			Scan(&got[0], &got[1])
		if err != nil || got != want {
			t.Errorf("%s has entries and cents %v, %v, want %v", account, got, err, want)
		}
	}
}

func TestAJobThatRunsAgain(t *testing.T) {
	l := opened(t)
	for dispatch := range 3 {
		if got := l.run(t, dispatch+1); got.Event != event.Completed || string(got.Result) != `{"entries":3}` {
			t.Errorf("dispatch %d: %+v", dispatch+1, got)
		}
	}
	l.wantAll(t)
}

// A worker that was cut off after its first entry goes on when another one has taken the job over: it books nothing.
func TestAWorkerThatWasCutOff(t *testing.T) {
	l, ctx := opened(t), t.Context()
	cutOff := &processor.Job{ID: "job-1", Dispatch: 1, Run: "cut off"}
	if _, err := l.take(ctx, cutOff); err != nil {
		t.Fatal(err)
	}
	if err := l.add(ctx, cutOff, entries[0]); err != nil {
		t.Fatal(err)
	}
	if got := l.run(t, 2); got.Event != event.Completed || len(got.Progress) != 2 {
		t.Errorf("the other worker goes on where it was: %+v", got)
	}
	if err := l.add(ctx, cutOff, entries[1]); !errors.Is(err, errFenced) {
		t.Errorf("it books another entry: %v", err)
	}
	if _, err := l.take(ctx, cutOff); !errors.Is(err, errFenced) {
		t.Errorf("it begins again: %v", err)
	}
	l.wantAll(t)
}

// Two workers have the same dispatch: one books, and the other fails with a retryable error.
func TestTwoRunsOfADispatch(t *testing.T) {
	l := opened(t)
	first := &processor.Job{ID: "job-1", Dispatch: 1, Run: "first"}
	if _, err := l.take(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	got := l.run(t, 1)
	if got.Event != event.Failed || got.Failure.Code != "fenced" || !got.Failure.Retryable {
		t.Errorf("the second run: %+v", got)
	}
	if got := l.run(t, 2); got.Event != event.Completed {
		t.Errorf("the next attempt: %+v", got)
	}
	l.wantAll(t)
}

// Of many runs at once the first of the highest dispatch books the entries that the others have not.
func TestManyAtOnce(t *testing.T) {
	l := opened(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() { l.run(t, 1+i/2) })
	}
	all.Wait()
	l.wantAll(t)
}

// The program is told to stop while it looks for Kafka.
func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	file := filepath.Join(t.TempDir(), "ledger.db")
	dial := func(context.Context, string, string) (net.Conn, error) {
		stop()
		return nil, errors.New("there is no Kafka")
	}
	if err := run(ctx, processor.Config{}, file, processor.WithDialer(dial)); err != nil {
		t.Error(err)
	}
	if ctx.Err() == nil {
		t.Error("it did not look for Kafka")
	}
}
