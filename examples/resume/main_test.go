package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The program is stopped twice: before its submit is acked, and while the job runs.
func TestResume(t *testing.T) {
	file := filepath.Join(t.TempDir(), "order.json")
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		var out strings.Builder
		ended := make(chan error)
		start := func() (stop context.CancelFunc) {
			ctx, stop := context.WithCancel(t.Context())
			go func() { ended <- run(ctx, &out, file, srv.URL(), srv.Option()) }()
			synctest.Wait()
			return stop
		}

		srv.LoseAcks(1)
		start()()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped without an ack: %v", err)
		}
		stop := start()
		job := srv.Next(t, jobType)
		job.Progress(40, "")
		synctest.Wait()
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped while it ran: %v", err)
		}
		stop = start()
		defer stop()
		job.Complete(nil)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(out.String(), "processing 40%\ncompleted 40%\n") {
			t.Errorf("it printed %s", out.String())
		}
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the order is kept: %v", err)
		}
		stats, err := srv.NewHTTP(t).Stats(t.Context())
		if err != nil || len(stats.Counts) != 1 || stats.Counts[0].Jobs != 1 {
			t.Errorf("jobs that were made: %+v, %v", stats, err)
		}
	})
}

// A job that the server has forgotten meanwhile is an error once: the next start submits a new one.
func TestAnExpiredJob(t *testing.T) {
	file := filepath.Join(t.TempDir(), "order.json")
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		ended := make(chan error)
		start := func() {
			go func() { ended <- run(t.Context(), io.Discard, file, srv.URL(), srv.Option()) }()
			synctest.Wait()
		}
		if err := (order{Key: "k", JobID: "01a208fd-2dc6-7467-acd5-bb987da2c71e"}).save(file); err != nil {
			t.Fatal(err)
		}
		start()
		if err := <-ended; !errors.Is(err, ackwire.ErrNotFound) {
			t.Errorf("a job that is not there: %v", err)
		}
		start()
		srv.Next(t, jobType).Complete(nil)
		if err := <-ended; err != nil {
			t.Errorf("the next start: %v", err)
		}
	})
}
