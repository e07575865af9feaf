package process

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestAPausedWorkerIsAZombie: SIGSTOP beyond the lease, then SIGCONT. The job is done elsewhere,
// and what the first worker says when it wakes changes nothing.
func TestAPausedWorkerIsAZombie(t *testing.T) {
	a := addrs(t, 6)
	types := jobTypes(t, "types:\n  demo.sleep: {lease: 3s, attempts: 3, "+
		"backoff: {initial: 0.1s, factor: 2, cap: 1s}, grace: 5s, retention: 1h}\n")
	start(t, "ackwire", a[1], append(serveArgs(t.TempDir(), a), "--no-processor", "--job-types", types)...)
	worker := func(ops, name string) *proc {
		return start(t, "processor", ops, "--kafka", a[3], "--demo", "--ops", ops, "--worker-id", name)
	}
	ctx, c := dial(t, "http://"+a[0])
	zombie := worker(a[4], "zombie")
	j, err := c.Submit(ctx, "demo.sleep", json.RawMessage(`{"seconds":5,"steps":5}`))
	if err != nil {
		t.Fatal(err)
	}
	within(t, startWithin, "it runs", func() bool {
		s, err := c.Job(j.ID).Get(ctx)
		return err == nil && s.State == job.Processing
	})
	_ = zombie.cmd.Process.Signal(syscall.SIGSTOP)
	worker(a[5], "other")
	s, err := j.Wait(ctx)
	_ = zombie.cmd.Process.Signal(syscall.SIGCONT)
	if err != nil || s.State != job.Completed || s.Attempt != 2 || len(s.Attempts) != 2 ||
		s.Attempts[0].Outcome != job.OutcomeLost || s.Attempts[1].Worker != "other" {
		t.Fatalf("%s in attempt %d: %+v, %v", s.State, s.Attempt, s.Attempts, err)
	}
	// It works again, and has said nothing about the job that it lost.
	for i := range 20 {
		k, err := c.Submit(ctx, "demo.sleep", json.RawMessage(`{"seconds":0.1,"steps":1}`), ackwire.Key(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		if s, err := k.Wait(ctx); err != nil || s.State != job.Completed {
			t.Errorf("%s, %v", s.State, err)
		}
	}
	if after, err := c.Job(j.ID).Get(ctx); err != nil || after.Version != s.Version {
		t.Errorf("the zombie changed the job: version %d to %d, %v", s.Version, after.Version, err)
	}
}

// TestTenRollingRestarts restarts two workers in turn, with SIGTERM, under load: nothing is lost, and no
// attempt is spent.
func TestTenRollingRestarts(t *testing.T) {
	a := addrs(t, 6)
	start(t, "ackwire", a[1], append(serveArgs(t.TempDir(), a), "--no-processor")...)
	var workers []*proc
	for _, ops := range a[4:] {
		workers = append(workers, start(t, "processor", ops, "--kafka", a[3], "--lanes", "default,reports", "--demo",
			"--ops", ops, "--grace", "500ms"))
	}
	ctx, c := dial(t, "http://"+a[0])
	var jobs []*ackwire.Job
	for i := range 10 {
		for range 20 {
			j, err := c.Submit(ctx, "demo.sleep", json.RawMessage(`{"seconds":2,"steps":4}`))
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, j)
		}
		w := workers[i%2]
		_ = w.cmd.Process.Signal(syscall.SIGTERM)
		if err := w.cmd.Wait(); err != nil {
			t.Errorf("restart %d: the worker ended with %v", i, err)
		}
		w.start()
		w.waitReady()
	}
	released := 0
	for _, j := range jobs {
		s, err := j.Wait(ctx)
		if err != nil || s.State != job.Completed || s.Attempt != 1 {
			t.Errorf("job %s: %s in attempt %d, %v", j.ID, s.State, s.Attempt, err)
		}
		released += len(s.Attempts) - 1
	}
	if released == 0 {
		t.Error("nothing was released: the test proves nothing")
	}
	t.Logf("%d jobs through 10 restarts, %d releases", len(jobs), released)
}
