package sim

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// stages reports three stages, 40 s apart, the last two with a percent below the first one's.
func stages(p *processor.Processor) {
	processor.HandleRaw(p, "demo.echo", func(ctx context.Context, j *processor.Job, payload []byte) (json.RawMessage,
		error) {
		for _, p := range []processor.Progress{
			{Percent: 40, Message: "rows", Stage: "collect", Data: json.RawMessage(`{ "sum" : 9007199254740993 }`)},
			{Stage: "render", Data: []string{"<page 1>"}},
			{Stage: "upload"},
		} {
			if err := j.Advance(p); err != nil {
				return nil, err
			}
			if !pause.For(ctx, 40*time.Second) {
				return nil, context.Cause(ctx)
			}
		}
		return payload, nil
	})
}

// said returns progress as its client got it.
func said(t *testing.T, s ackwire.Status) string {
	t.Helper()
	var raw struct{ Progress json.RawMessage }
	if err := json.Unmarshal(s.Raw, &raw); err != nil {
		t.Fatal(err)
	}
	if b, err := plainjson.Marshal(s.Progress); err != nil || string(b) != string(raw.Progress) {
		t.Errorf("progress is %s, %v, and was sent as %s", b, err, raw.Progress)
	}
	return string(raw.Progress)
}

// TestAClientSeesStageAndData: over a socket, over HTTP, in a stream of events and in a list, also after the tracker
// has crashed and has read the job from its store and its log.
func TestAClientSeesStageAndData(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(stages)
		c, api := w.Dial(), w.NewHTTP()
		want := []string{
			`{"percent":40,"message":"rows","stage":"collect","data":{"sum":9007199254740993}}`,
			`{"percent":40,"stage":"render","data":["<page 1>"]}`, `{"percent":40,"stage":"upload"}`,
		}
		j := w.Submit(c, "demo.echo", `1`)
		watch := func(j *ackwire.Job) <-chan []string {
			out := make(chan []string, 1)
			ctx := w.ctx()
			go func() {
				var seen []string
				for s, err := range j.Watch(ctx) {
					if err != nil {
						seen = append(seen, err.Error())
					} else if s.Progress != nil {
						seen = append(seen, said(t, s))
					}
				}
				out <- slices.Compact(seen)
			}()
			return out
		}
		bySocket, byStream := watch(j), watch(api.Job(j.ID))
		w.eventually("the second stage", func() bool {
			s := w.get(c, j.ID)
			return s.Progress != nil && s.Progress.Stage == "render"
		})
		w.CrashTracker()
		w.StartTracker()
		if got := said(t, w.get(c, j.ID)); got != want[1] {
			t.Errorf("after a crash: %s", got)
		}
		list, err := api.List(w.ctx(), ackwire.ListOptions{Limit: 1})
		if err != nil || len(list.Jobs) != 1 || said(t, list.Jobs[0]) != want[1] {
			t.Errorf("listed: %+v, %v", list, err)
		}
		for what, seen := range map[string]<-chan []string{"socket": bySocket, "stream": byStream} {
			if got := <-seen; !reflect.DeepEqual(got, want) {
				t.Errorf("by the %s: %q, want %q", what, got, want)
			}
		}
	})
}

// TestProgressOfAnotherProgram: a program that appends its events itself, and says what breaks the bounds, keeps its
// job, whose document names what it leaves out.
func TestProgressOfAnotherProgram(t *testing.T) {
	Run(t, func(w *World) {
		c := w.Dial()
		h := w.handWrite()
		request := h.request()
		h.accepted(request)
		const fence = `"dispatch":1,"run":"by-hand","worker":"hand"`
		w.Event(&event.Event{Type: event.Claimed, JobID: h.id, Job: "demo.echo", Lane: "default", Tenant: Tenant,
			PayloadHash: "sha256:00", Policy: &policy, Request: &request, Dispatch: 1, Run: "by-hand", Worker: "hand"})
		for progress, want := range map[string]string{
			`{"percent":10,"stage":"read","data":{"a":1}}`: `{"percent":10,"stage":"read","data":{"a":1}}`,
			`{"percent":10,"stage":"Read it","data":"` + strings.Repeat("x", job.MaxProgressData) + `"}`: `{"percent":10,` +
				`"omitted":["stage","data"]}`,
			`{"percent":10,"data":{"a":1,"a":2}}`: `{"percent":10,"omitted":["data"]}`,
		} {
			w.Produce(&kgo.Record{Topic: w.Names.Status(), Key: []byte(h.id), Value: []byte(
				`{"v":1,"type":"progress","jobId":"` + h.id + `",` + fence + `,"progress":` + progress + `}`)})
			time.Sleep(Lease * 3 / 4) // each renews the lease
			if got := said(t, w.get(c, h.id)); got != want {
				t.Errorf("%.100s is %s, want %s", progress, got, want)
			}
		}
		w.Event(&event.Event{Type: event.Completed, JobID: h.id, Dispatch: 1, Run: "by-hand", Worker: "hand"})
		w.WantEnd("it kept its lease", c, h.id, job.Completed, 1)
	})
}
