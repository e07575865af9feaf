package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := processortest.Job{
			Type: Generate.Name(), Payload: Period{ReportType: "sales", From: "2026-01-31", To: "2026-02-02"},
		}
		got, err := processortest.Run(t.Context(), register, job)
		if err != nil || got.Event != event.Completed || string(got.Result) != `{"rows":3}` {
			t.Fatalf("got %+v, %v", got, err)
		}
		if f := got.File; f == nil || f.Name != "sales.csv" || f.ContentType != "text/csv" ||
			string(f.Content) != "2026-01-31,131\n2026-02-01,132\n2026-02-02,133\n" {
			t.Errorf("the file is %+v", f)
		}
		if n := len(got.Progress); n != 4 || got.Progress[0].Current != 1 || got.Progress[2].Percent != 100 ||
			got.Progress[2].Stage != "collect" || got.Progress[3].Stage != "store" ||
			string(got.Progress[3].Data) != `{"rows":3}` {
			t.Errorf("progress %+v", got.Progress)
		}
	})
}

func TestNoPeriod(t *testing.T) {
	for _, in := range []Period{{From: "2026-01-31"}, {From: "2026-02-30", To: "2026-03-01"},
		{From: "2026-01-31", To: "2026-01-30"}} {
		got, err := processortest.Run(t.Context(), register, processortest.Job{Type: Generate.Name(), Payload: in})
		if err != nil || got.Event != event.Failed || got.Failure.Code != "invalid_period" || got.Failure.Retryable {
			t.Errorf("%+v: got %+v, %v", in, got, err)
		}
	}
}

// A worker that is stopped hands its job back, which costs no attempt.
func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*dayTakes/2, func() { cancel(processor.ErrShutdown) })
		job := processortest.Job{Type: Generate.Name(), Payload: Period{From: "2026-01-01", To: "2026-12-31"}}
		got, err := processortest.Run(ctx, register, job)
		if err != nil || got.Event != event.Released || got.File != nil || len(got.Progress) != 1 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

// The program is told to stop before it has found a broker.
func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	dir := filepath.Join(t.TempDir(), "blobs")
	if err := run(ctx, processor.Config{}, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
	if err := run(ctx, processor.Config{Lanes: []string{"no lane"}}, dir); err == nil {
		t.Error("a lane's name has no spaces")
	}
}
