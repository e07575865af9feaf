package shard

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fold"
)

// series are a registry's, "name value value …" without the prefix; a histogram is two, of
// which one is its sum in seconds.
func series(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		name := strings.TrimPrefix(f.GetName(), "ackwire_tracker_")
		for _, m := range f.GetMetric() {
			labels := ""
			for _, l := range m.GetLabel() {
				labels += " " + l.GetValue()
			}
			if h := m.GetHistogram(); h != nil {
				all[name+"_sum"+labels], all[name+"_count"+labels] = h.GetSampleSum(), float64(h.GetSampleCount())
				continue
			}
			all[name+labels] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}

// wantLane compares what is not 0 of the metrics of lanes and types.
func (w *world) wantLane(why string, want map[string]float64) {
	w.t.Helper()
	got := series(w.t, w.shown)
	maps.DeleteFunc(got, func(name string, value float64) bool {
		name, _, _ = strings.Cut(name, " ")
		return value == 0 || !slices.Contains([]string{"job_seconds_sum", "job_seconds_count", "attempts_total",
			"job_failures_total", "leases_expired_total", "jobs"}, name)
	})
	if !maps.Equal(got, want) {
		w.t.Errorf("%s: got %v, want %v", why, got, want)
	}
}

// TestWhatIsToldOfALane: each story leaves exactly these traces.
func TestWhatIsToldOfALane(t *testing.T) {

	seconds := func(stage string, sum float64) map[string]float64 {
		return map[string]float64{
			"job_seconds_sum default " + stage + " demo.echo":   sum,
			"job_seconds_count default " + stage + " demo.echo": 1,
		}
	}
	merged := func(parts ...map[string]float64) map[string]float64 {
		all := map[string]float64{}
		for _, p := range parts {
			maps.Copy(all, p)
		}
		return all
	}
	for _, c := range []struct {
		name  string
		story func(w *world, id string)
		want  map[string]float64
	}{
		{"a job that completes", func(w *world, id string) {
			w.submit(id)
			w.pass(2 * time.Second)
			w.claim(id, "r1")
			w.pass(3 * time.Second)
			w.append(id, event.Completed)
		}, merged(seconds("wait", 2), seconds("run", 3), seconds("total", 5), map[string]float64{
			"attempts_total default completed": 1})},
		{"one that waits", func(w *world, id string) { w.submit(id) }, map[string]float64{"jobs default pending": 1}},
		{"one that runs", func(w *world, id string) {
			w.submit(id)
			w.claim(id, "r1")
		}, merged(map[string]float64{"job_seconds_count default wait demo.echo": 1, "jobs default processing": 1})},
		{"one that is cancelled before it runs", func(w *world, id string) {
			w.submit(id)
			w.pass(time.Second)
			w.append(id, event.CancelRequested)
		}, seconds("total", 1)},
		{"one whose handler gives up", func(w *world, id string) {
			w.submit(id)
			w.claim(id, "r1")
			w.append(id, event.Failed, func(e *event.Event) { e.Error.Retryable = false })
		}, map[string]float64{"job_seconds_count default wait demo.echo": 1, "job_seconds_count default run demo.echo": 1,
			"job_seconds_count default total demo.echo": 1,
			"attempts_total default failed":             1, "job_failures_total handler default": 1}},
		{"one that is tried again", func(w *world, id string) {
			w.submit(id)
			w.pass(time.Second)
			w.claim(id, "r1")
			w.append(id, event.Failed)
		}, merged(seconds("wait", 1), map[string]float64{"attempts_total default retried": 1, "jobs default retrying": 1})},
		{"one whose worker stops", func(w *world, id string) {
			w.submit(id)
			w.claim(id, "r1")
			w.append(id, event.Released)
		}, map[string]float64{
			"job_seconds_count default wait demo.echo": 1, "attempts_total default released": 1,
			"jobs default pending": 1,
		}},
		{"one whose worker cannot run it", func(w *world, id string) {
			w.submit(id)
			w.claim(id, "r1")
			w.append(id, event.Released, func(e *event.Event) {
				e.Error = &event.Failure{Error: job.Error{Code: "no_handler", Retryable: true}}
			})
		}, map[string]float64{
			"job_seconds_count default wait demo.echo": 1, "attempts_total default unserved": 1,
			"jobs default retrying": 1,
		}},
		{"one whose only worker is lost", func(w *world, id string) {
			w.submit(id, with(func(p *job.Policy) { p.Attempts = 1 }))
			w.claim(id, "r1")
			w.pass(lease)
		}, merged(map[string]float64{"job_seconds_count default wait demo.echo": 1}, seconds("run", 30), seconds("total", 30),
			map[string]float64{
				"attempts_total default lost": 1, "leases_expired_total default": 1,
				"job_failures_total worker_lost default": 1,
			})},
		{"one that begins later", func(w *world, id string) {
			start := time.Now().Add(10 * time.Second)
			w.append(id, event.Accepted, at(w.request(names.Deferred(), id)), func(e *event.Event) { e.RunAt = &start })
			w.pass(11 * time.Second)
			w.claim(id, "r1")
			w.pass(2 * time.Second)
			w.append(id, event.Completed, dispatch(2))
		}, merged(seconds("wait", 1), seconds("run", 2), seconds("total", 3), map[string]float64{
			"attempts_total default completed": 1})},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				c.story(w, jobIDs(1)[0])
				w.wantLane(c.name, c.want)
			})
		})
	}
}

// TestOpenJobsAreCountedOnce: the gauge is the same after a crash, and gone with the shard.
func TestOpenJobsAreCountedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(3)
		for _, id := range ids {
			w.submit(id)
		}
		w.claim(ids[0], "r1")
		open := func(why string, pending, processing float64) {
			t.Helper()
			all := series(t, w.shown)
			if all["jobs default pending"] != pending || all["jobs default processing"] != processing {
				t.Errorf("%s: %v are pending and %v processing", why, all["jobs default pending"], all["jobs default processing"])
			}
		}
		open("before", 2, 1)
		w.pass(time.Second)
		w.crash(50, rand.New(rand.NewPCG(1, 2)))
		w.pass(time.Second)
		open("after a crash", 2, 1)
		w.stop()
		w.pass(time.Second)
		open("once the shard has left", 0, 0)
	})
}

// TestUnwrittenIsTheAgeOfWhatTheStoreLacks: it is 0 while the store has all.
func TestUnwrittenIsTheAgeOfWhatTheStoreLacks(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.submit(jobIDs(1)[0])
		w.pass(checkpointInterval / 2)
		if age := w.shard.Unwritten(); age != checkpointInterval/2 {
			t.Errorf("between two checkpoints: %v", age)
		}
		w.pass(checkpointInterval)
		if age := w.shard.Unwritten(); age != 0 {
			t.Errorf("after one: %v", age)
		}
	})
}

// TestLabelsOfLanesAreBounded: whatever records say, series end at a bound, and nothing is
// lost of what they count.
func TestLabelsOfLanesAreBounded(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	lanes := newLanes(meter.New(registry, "tracker"))
	random := rand.New(rand.NewPCG(3, 4))
	odd := []string{
		"", other, "\x00", "\x1b[31m", strings.Repeat("x", 1<<20), "a\nb", "\xff\xfe", `"}`, "ünïcödé",
		"ackwire.webhook",
	}
	word := func() string {
		if random.IntN(3) == 0 {
			return odd[random.IntN(len(odd))]
		}
		return fmt.Sprintf("w%d", random.IntN(500))
	}
	const jobs = 20_000
	now := time.Unix(1e9, 0)
	for range jobs {
		j := &fold.Job{
			Doc: job.Document{
				Lane: word(), Type: word(), State: job.Failed, CreatedAt: now, FinishedAt: &now, Error: &job.Error{Code: word()},
			},
		}
		lanes.kind(j.Doc.Lane, j.Doc.Type).measure(nil, j, &event.Event{Type: event.Failed})
		lanes.Learn(word())
	}
	all := series(t, registry)
	perLane := len(attemptOutcomes) + len(job.Codes) + 1 + 1 + len(openStates)
	bound := (maxLanes+1)*perLane + (maxKinds+maxLanes+1)*3*2
	if len(all) > bound || len(lanes.Names()) > maxLanes {
		t.Errorf("%d series, at most %d are wanted; lanes %q", len(all), bound, lanes.Names())
	}
	var failed, ended float64
	for name, value := range all {
		if len(name) > 200 {
			t.Errorf("a label of %d bytes", len(name))
		}
		if strings.HasPrefix(name, "job_failures_total ") {
			failed += value
		}
		if strings.HasPrefix(name, "job_seconds_count ") && strings.Contains(name, " total ") {
			ended += value
		}
	}
	if failed != jobs || ended != jobs {
		t.Errorf("%d jobs failed, and %v failures and %v durations are told", jobs, failed, ended)
	}
	if k := lanes.kind(topic.WebhookLane, topic.WebhookType); k == lanes.kind(other, other) {
		t.Error("the lane of webhooks has lost its metrics")
	}
	t.Logf("%d series, the bound is %d", len(all), bound)
}

// TestQueuesOfLanes: who waits is counted across crashes, and starts are counted as they happen.
func TestQueuesOfLanes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(4)
		want := func(why string, waiting, started int64) {
			t.Helper()
			queues, others := w.shard.metrics.Lanes.Queues()
			for _, q := range queues {
				if q.Name == "default" && (q.Waiting != waiting || q.Started != started) || others {
					t.Errorf("%s: %d wait and %d have started, want %d and %d", why, q.Waiting, q.Started, waiting, started)
				}
			}
		}
		for _, id := range ids[:3] {
			w.submit(id)
		}
		start := time.Now().Add(time.Hour)
		w.append(ids[3], event.Accepted, at(w.request(names.Deferred(), ids[3])), func(e *event.Event) { e.RunAt = &start })
		want("three wait, and one is scheduled", 3, 0)
		w.claim(ids[0], "r1")
		w.claim(ids[1], "r1")
		want("two run", 1, 2)
		w.append(ids[0], event.Failed)
		want("one is to be tried again", 1, 2)
		w.append(ids[1], event.Released)
		want("one was given back", 2, 2)
		w.append(ids[2], event.CancelRequested)
		want("one was cancelled", 1, 2)
		w.stop()
		w.pass(time.Second)
		want("the shard has left", 0, 2)
	})
}

// TestCountedIsTheEndOfTheLog: counts are as old as the last end of the log that they reach.
func TestCountedIsTheEndOfTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.submit(jobIDs(1)[0])
		began := time.Now()
		w.shard.Ended(t.Context(), w.shard.Position(), began)
		w.pass(time.Second)
		if got := w.shard.Counted(); !got.Equal(began) {
			t.Errorf("counted as of %s, want %s", got, began)
		}
		w.shard.Ended(t.Context(), w.shard.Position()+1, time.Now())
		w.pass(time.Second)
		if got := w.shard.Counted(); !got.Equal(began) {
			t.Errorf("behind the log it is counted as of %s, want %s", got, began)
		}
		w.stop()
		w.pass(time.Second)
		if got := w.shard.Counted(); !got.IsZero() {
			t.Errorf("counted as of %s by a shard that has left", got)
		}
	})
}
