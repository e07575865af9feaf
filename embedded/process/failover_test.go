package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/kafkatest"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/job"
)

// fleet is a gateway, workers and several trackers beside a broker.
type fleet struct {
	url      string
	trackers []*proc
}

func startFleet(t *testing.T, brokers string, trackers int) *fleet {
	t.Helper()
	a := addrs(t, 3+2*trackers)
	f := &fleet{url: "http://" + a[0]}
	for i := range trackers {
		api, ops := a[3+2*i], a[4+2*i]
		f.trackers = append(f.trackers, start(t, "tracker", ops, "--kafka", brokers, "--data", t.TempDir(),
			"--tracker-listen", api, "--ops-listen", ops, "--tracker-session-timeout", "6s"))
	}
	start(t, "gateway", a[1], "--kafka", brokers, "--listen", a[0], "--ops-listen", a[1], "--anonymous-tenant", "local")
	start(t, "processor", a[2], "--kafka", brokers, "--lanes", "default,reports", "--demo", "--ops", a[2], "--slots",
		"2000")
	return f
}

// seen is what one watcher saw of one job.
type seen struct {
	id    string
	at    time.Time // when it was seen last
	last  ackwire.Status
	ends  int
	wrong []string
}

// crowd is many watchers.
type crowd struct {
	t     *testing.T
	wg    sync.WaitGroup
	mu    sync.Mutex // guards all below
	jobs  []*seen
	gap   time.Duration // the longest time that a job's watcher saw nothing
	since time.Time     // gaps count from then on; zero: they do not
}

// join submits n jobs through a client of their own and watches them.
func (w *crowd) join(ctx context.Context, url string, n int, payload func(i int) (jobType, payload string)) {
	w.t.Helper()
	c, err := ackwire.Dial(ctx, url)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	for i := range n {
		jobType, payload := payload(i)
		var j *ackwire.Job
		for {
			var e *ackwire.Error
			if j, err = c.Submit(ctx, jobType, json.RawMessage(payload), ackwire.Key(fmt.Sprintf("%p %d", c, i))); !errors.As(
				err, &e) || !e.Retryable {
				break
			}
			pause.For(ctx, e.RetryDelay())
		}
		if err != nil {
			w.t.Fatalf("submit: %v", err)
		}
		s := &seen{id: j.ID}
		w.mu.Lock()
		w.jobs = append(w.jobs, s)
		w.mu.Unlock()
		w.wg.Go(func() { w.watch(ctx, j, s) })
	}
}

func (w *crowd) watch(ctx context.Context, j *ackwire.Job, s *seen) {
	for status, err := range j.Watch(ctx) {
		w.mu.Lock()
		now := time.Now()
		if !w.since.IsZero() && !s.at.IsZero() && now.After(w.since) {
			w.gap = max(w.gap, now.Sub(s.at))
		}
		s.at = now
		switch {
		case err != nil:
			s.wrong = append(s.wrong, err.Error())
		case status.Version <= s.last.Version:
			s.wrong = append(s.wrong, fmt.Sprintf("version %d after %d", status.Version, s.last.Version))
		case s.last.State.Terminal():
			s.wrong = append(s.wrong, fmt.Sprintf("%s after %s", status.State, s.last.State))
		}
		if err == nil {
			s.last = status
			if status.State.Terminal() {
				s.ends++
			}
		}
		w.mu.Unlock()
	}
}

// check waits for all jobs and compares what was seen with what the system says in the end.
func (w *crowd) check(ctx context.Context, url string) {
	w.t.Helper()
	w.wg.Wait()
	for _, s := range w.jobs {
		if len(s.wrong) > 0 || s.ends != 1 || s.last.State != job.Completed {
			w.t.Errorf("job %s: %d ends, the last is %s (%+v), wrong: %v", s.id, s.ends, s.last.State, s.last.Error, s.wrong)
			continue
		}
		got, err := getJob(ctx, url, s.id)
		if err != nil || got.Version != s.last.Version || string(got.Raw) != string(s.last.Raw) {
			w.t.Errorf("job %s was seen as\n%s\nand is\n%s\n%v", s.id, s.last.Raw, got.Raw, err)
		}
	}
}

func (p *proc) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// TestTrackersDieInTurn: a thousand watched jobs, three trackers of which one is killed every
// few seconds, three brokers of which one restarts. Versions rise for every watcher, and the
// last it sees is the job's one end.
func TestTrackersDieInTurn(t *testing.T) {
	c := kafkatest.Start(t, 3)
	f := startFleet(t, strings.Join(c.Brokers(), ","), 3)
	ctx, cancel := context.WithTimeout(t.Context(), testWithin)
	defer cancel()
	w, began := &crowd{t: t}, time.Now()
	const clients, each = 4, 250
	var joining sync.WaitGroup
	for n := range clients {
		joining.Go(func() {
			w.join(ctx, f.url, each, func(i int) (string, string) {
				switch i % 10 {
				case 0:
					return "demo.flaky", `{"failures":2}`
				case 1:
					return "demo.echo", fmt.Sprint(i)
				}
				return "demo.sleep", fmt.Sprintf(`{"seconds":%d,"steps":%d}`, 1+(n*each+i)%8, 2+i%4)
			})
		})
	}
	for round := range 4 {
		pause.For(ctx, 3*time.Second)
		victim := f.trackers[round%len(f.trackers)]
		victim.kill()
		if round == 1 {
			c.Kill(t, 1)
		}
		pause.For(ctx, 4*time.Second)
		victim.start()
		if round == 1 {
			c.Restart(t, 1)
		}
	}
	joining.Wait()
	t.Logf("all submitted after %s", time.Since(began).Round(time.Second))
	w.check(ctx, f.url)
	t.Logf("%d jobs watched, all seen to their end", len(w.jobs))
}

// steady keeps jobs going that report progress several times a second.
func steady(i int) (string, string) {
	return "demo.sleep", fmt.Sprintf(`{"seconds":%d,"steps":%d}`, 20, 100)
}

// TestAPlannedHandOver: a tracker is told to stop. It writes its checkpoint and leaves the
// group, and the other takes over. Clients that watch see no more than a pause. In the end
// a tracker starts on a copy of its store that was made while it ran.
func TestAPlannedHandOver(t *testing.T) {
	c := kafkatest.Start(t, 1)
	f := startFleet(t, strings.Join(c.Brokers(), ","), 2)
	ctx, cancel := context.WithTimeout(t.Context(), testWithin)
	defer cancel()
	w := &crowd{t: t}
	w.join(ctx, f.url, 40, steady)
	pause.For(ctx, 3*time.Second)
	w.mu.Lock()
	w.since = time.Now()
	w.mu.Unlock()
	leaver := f.trackers[0]
	data := slices.Index(leaver.args, "--data") + 1
	snapshot := filepath.Join(t.TempDir(), "copy")
	for _, want := range []struct {
		code int
		says string
	}{{0, "snapshot made: " + snapshot}, {1, "must not exist"}} {
		if code, out := one(t, "tracker", "snapshot", "--data", leaver.args[data], snapshot); code != want.code ||
			!strings.Contains(out, want.says) {
			t.Fatalf("tracker snapshot: %d %s", code, out)
		}
	}
	leaver.signal(syscall.SIGTERM)
	if err := leaver.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	pause.For(ctx, 3*time.Second)
	w.mu.Lock()
	left := w.gap
	w.gap, w.since = 0, time.Now()
	w.mu.Unlock()
	leaver.start()
	leaver.waitReady()
	w.check(ctx, f.url)
	t.Logf("the longest time that a watcher saw nothing: %s when the tracker left, %s when it came back",
		left.Round(time.Millisecond), w.gap.Round(time.Millisecond))

	// Alone, on the copy, which has what it owned first.
	for _, p := range f.trackers {
		p.signal(syscall.SIGTERM)
		_ = p.cmd.Wait()
	}
	leaver.args[data] = snapshot
	leaver.start()
	leaver.waitReady()
	w.check(ctx, f.url)
	if !regexp.MustCompile(`ackwire_tracker_restores_total{from="local",outcome="used"} [1-9]`).MatchString(
		metrics(t, leaver)) {
		t.Error("nothing was restored from the copy")
	}
}

// TestAPausedTrackerIsAZombie: it is stopped beyond its session, and goes on as if nothing had
// happened. Gateways listen to the new owner by then, and what its timers and its open
// transactions still write changes nothing.
func TestAPausedTrackerIsAZombie(t *testing.T) {
	stopped := 15 * time.Second
	if os.Getenv("ACKWIRE_LONG") != "" {
		stopped = time.Minute
	}
	c := kafkatest.Start(t, 1)
	f := startFleet(t, strings.Join(c.Brokers(), ","), 2)
	ctx, cancel := context.WithTimeout(t.Context(), testWithin)
	defer cancel()
	w := &crowd{t: t}
	length := int(stopped.Seconds()) + 10
	w.join(ctx, f.url, 100, func(i int) (string, string) {
		return "demo.sleep", fmt.Sprintf(`{"seconds":%d,"steps":%d}`, length, 2*length)
	})
	pause.For(ctx, 3*time.Second) // the view has them
	zombie := f.trackers[0]
	zombie.signal(syscall.SIGSTOP)
	w.mu.Lock()
	w.since = time.Now()
	w.mu.Unlock()
	pause.For(ctx, stopped)
	// The other owns all partitions by now, and answers.
	for _, s := range w.jobs {
		got, err := getJob(ctx, f.url, s.id)
		if err != nil || got.State != job.Processing && got.State != job.Completed || got.Attempt != 1 {
			t.Errorf("job %s during the pause: %s in attempt %d, %v", s.id, got.State, got.Attempt, err)
		}
	}
	zombie.signal(syscall.SIGCONT)
	w.check(ctx, f.url)
	zombie.waitReady()
	for _, s := range w.jobs {
		if s.last.Attempt != 1 || len(s.last.Attempts) != 1 {
			t.Errorf("job %s: %+v: a late timer cost it an attempt", s.id, s.last.Attempts)
		}
	}
	if !strings.Contains(metrics(t, f.trackers[0])+metrics(t, f.trackers[1]),
		`ackwire_tracker_view_transactions_total{outcome="committed"}`) {
		t.Error("no view was written")
	}
	t.Logf("the longest time that a watcher saw nothing: %s", w.gap.Round(time.Millisecond))
}

func metrics(t *testing.T, p *proc) string {
	t.Helper()
	resp, err := http.Get(strings.TrimSuffix(p.ready, "/readyz") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
