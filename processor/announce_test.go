package processor

import (
	"context"
	"encoding/json"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/processor/internal/bridge"
	"github.com/ackwire/ackwire/schemas/fleet"
)

// announcements returns what a worker has announced so far.
func (w *world) announcements(name string) (all []fleet.Announcement) {
	w.t.Helper()
	client, err := w.kafka().NewClient(w.env(), "announcements", kgo.ConsumeTopics(w.names.Streams()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(w.ctx(), 2*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
			if string(rec.Key) != name || len(rec.Headers) != 1 || rec.Headers[0].Key != fleet.Header {
				return
			}
			a, err := fleet.Decode(rec.Value)
			if err != nil {
				w.t.Errorf("announcement %s: %v", rec.Value, err)
			}
			all = append(all, a)
		})
	}
	return all
}

// TestAWorkerAnnouncesItself at its start, about every 30 seconds, when it has news, when it stops, and at its end.
func TestAWorkerAnnouncesItself(t *testing.T) {
	inWorld(t, func(w *world) {
		w.answers(grantAll)
		began := time.Now()
		wk := w.start(Config{WorkerID: "me", Slots: 3, Grace: time.Minute}, handlers(map[string]RawHandler{
			"sleeps": func(context.Context, *Job, []byte) (json.RawMessage, error) {
				time.Sleep(90 * time.Second)
				return json.RawMessage(`1`), nil
			},
		}))
		first := w.announcements("me")
		if len(first) != 1 || first[0].Running != 0 || first[0].StartedAt.Before(began) || first[0].Version == "" ||
			len(first[0].Lanes) != 1 || first[0].Lanes[0] != (fleet.Lane{Lane: "default", Slots: 3}) {
			t.Fatalf("at the start: %+v", first)
		}
		time.Sleep(5 * time.Minute)
		if n := len(w.announcements("me")); n < 8 || n > 14 {
			t.Errorf("%d announcements in five minutes", n)
		}
		w.submit(request("a", "sleeps"), `{}`)
		time.Sleep(fleet.Every * 6 / 5)
		all := w.announcements("me")
		if last := all[len(all)-1]; last.Running != 1 || last.Draining || len(last.Paused) != 0 {
			t.Errorf("with a job: %+v", last)
		}
		paused := fleet.Paused{Tenant: "acme", Endpoint: "https://h.example/a", Until: time.Now().Add(time.Hour), Failures: 5}
		changed := bridge.Paused(wk.Processor, func() ([]fleet.Paused, bool) { return []fleet.Paused{paused}, true })
		for range 10 {
			changed()
		}
		time.Sleep(2 * newsPause)
		some := w.announcements("me")[len(all):]
		if len(some) == 0 || len(some) > 3 || len(some[len(some)-1].Paused) != 1 || !some[len(some)-1].PausedMore {
			t.Errorf("with news: %+v", some)
		}
		go func() { _ = wk.halt() }()
		time.Sleep(5 * time.Second)
		all = w.announcements("me")
		if last := all[len(all)-1]; !last.Draining || last.Gone || last.Running != 1 {
			t.Errorf("while it stops: %+v", last)
		}
		<-wk.done
		all = w.announcements("me")
		if last := all[len(all)-1]; !last.Gone || len(last.Paused) > 0 {
			t.Errorf("at its end: %+v", last)
		}
	})
}

// TestAnnouncementsThatAreNotWrittenChangeNothing: the worker is ready and runs jobs, says so once, and stops in time.
func TestAnnouncementsThatAreNotWrittenChangeNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.answers(grantAll)
		away := w.refuseStreams()
		defer away.Remove()
		wk := w.start(Config{}, handlers(map[string]RawHandler{
			"quick": func(context.Context, *Job, []byte) (json.RawMessage, error) { return json.RawMessage(`1`), nil },
		}))
		time.Sleep(3 * time.Minute)
		if err := wk.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		w.submit(request("a", "quick"), `{}`)
		time.Sleep(5 * time.Second)
		if e := w.last("a"); !strings.HasPrefix(string(e.Type), "completed") {
			t.Errorf("the job: %+v", e)
		}
		if n := counter(t, wk.metrics.produceFailures.WithLabelValues(announcementLabel)); n < 1 {
			t.Errorf("%v failures", n)
		}
		began := time.Now()
		if err := wk.halt(); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("it stopped after %s", d)
		}
	})
}

// TestVersionOf: what is told is a release, or "dev".
func TestVersionOf(t *testing.T) {
	const path = "github.com/ackwire/ackwire/processor"
	with := func(m debug.Module) *debug.BuildInfo {
		return &debug.BuildInfo{Deps: []*debug.Module{{Path: "example.com/processor", Version: "v9.0.0"}, &m}}
	}
	for _, tc := range []struct {
		stamped string
		build   *debug.BuildInfo
		want    string
	}{
		{"1.2.3", with(debug.Module{Path: path, Version: "v1.0.0"}), "1.2.3"},
		{"dev", with(debug.Module{Path: path, Version: "v1.0.0"}), "v1.0.0"},
		{"dev", with(debug.Module{Path: path, Version: "(devel)"}), "dev"},
		{"dev", with(debug.Module{Path: path, Version: "v0.0.0"}), "dev"},
		{"dev", with(debug.Module{Path: path, Version: "v1.0.0", Replace: &debug.Module{Path: "../processor"}}), "dev"},
		{"dev", with(debug.Module{Path: path}), "dev"},
		{"dev", nil, "dev"},
	} {
		if got := versionOf(tc.stamped, tc.build); got != tc.want {
			t.Errorf("stamped %s, %+v: %s, want %s", tc.stamped, tc.build, got, tc.want)
		}
	}
}
