package processor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// heard returns a job that notes what is reported.
func heard() (*Job, *[]job.Progress) {
	all := &[]job.Progress{}
	return &Job{report: func(p job.Progress) { *all = append(*all, p) }}, all
}

type rowsRead struct {
	Rows int    `json:"rows"`
	File string `json:"file,omitempty"`
}

func TestAdvance(t *testing.T) {
	nested := func(depth int) json.RawMessage {
		return json.RawMessage(strings.Repeat("[", depth) + strings.Repeat("]", depth))
	}
	stage, full := strings.Repeat("a", job.MaxStageChars), strings.Repeat("x", job.MaxProgressData-2)
	for _, c := range []struct {
		what string
		say  Progress
		want string // as JSON; "" for an error
		err  string
	}{
		{"counts", Progress{Current: 1, Total: 4}, `{"percent":25,"current":1,"total":4}`, ""},
		{"a stage alone", Progress{Stage: "collect"}, `{"percent":0,"stage":"collect"}`, ""},
		{"a struct", Progress{Percent: 5, Data: rowsRead{Rows: 3, File: "<a>"}},
			`{"percent":5,"data":{"rows":3,"file":"<a>"}}`, ""},
		{"a map", Progress{Data: map[string]any{"b": nil, "a": 1.5}}, `{"percent":0,"data":{"a":1.5,"b":null}}`, ""},
		{"JSON", Progress{Data: json.RawMessage(" { \"n\" : 9007199254740993 } ")},
			`{"percent":0,"data":{"n":9007199254740993}}`, ""},
		{"null", Progress{Data: json.RawMessage("null")}, `{"percent":0,"data":null}`, ""},
		{"JSON of no bytes", Progress{Data: json.RawMessage{}}, `{"percent":0}`, ""},
		{"no JSON", Progress{Data: json.RawMessage(nil)}, `{"percent":0}`, ""},
		{"64 characters", Progress{Stage: stage}, `{"percent":0,"stage":"` + stage + `"}`, ""},
		{"65 characters", Progress{Percent: 5, Stage: stage + "a"}, "", "the stage"},
		{"a stage for people", Progress{Percent: 5, Stage: "Collecting rows", Data: 1}, "", `the stage "Collecting rows" is not`},
		{"4096 bytes", Progress{Data: full}, `{"percent":0,"data":"` + full + `"}`, ""},
		{"4097 bytes", Progress{Percent: 5, Data: full + "x", Stage: "a"}, "",
			"the data has 4097 bytes, above the limit of 4096"},
		{"100 deep", Progress{Data: nested(100)}, `{"percent":0,"data":` + string(nested(100)) + `}`, ""},
		{"101 deep", Progress{Data: nested(101)}, "", "the data is nested deeper than 100"},
		{"what is not JSON", Progress{Data: json.RawMessage("{")}, "", "the data is not JSON"},
		{"what JSON has no form for", Progress{Data: math.NaN()}, "", "the data cannot be encoded"},
		{"a key twice", Progress{Data: json.RawMessage(`{"a":1,"a":2}`)}, "", `the data has the key "a" twice`},
	} {
		j, all := heard()
		err := j.Advance(c.say)
		if c.want == "" {
			f := &event.Failure{}
			if err != nil {
				f = failureOf(fmt.Errorf("of the handler: %w", err), nil)
			}
			if err == nil || !strings.Contains(err.Error(), c.err) || len(*all) != 0 {
				t.Errorf("%s: %v, and reported %+v", c.what, err, *all)
			} else if f.Code != "invalid_progress" || f.Retryable {
				t.Errorf("%s: it fails the job with %+v", c.what, f)
			}
			continue
		}
		if err != nil || len(*all) != 1 {
			t.Errorf("%s: %v, and reported %+v", c.what, err, *all)
			continue
		}
		if got, err := plainjson.Marshal((*all)[0]); err != nil || string(got) != c.want {
			t.Errorf("%s: %.200s, %v, want %.200s", c.what, got, err, c.want)
		}
	}
}

// TestAdvanceCopies: what a handler does with its data afterwards does not change what it has reported.
func TestAdvanceCopies(t *testing.T) {
	j, all := heard()
	data := json.RawMessage(`{"n":1}`)
	if err := j.Advance(Progress{Data: data}); err != nil {
		t.Fatal(err)
	}
	data[5] = '2'
	if got := string((*all)[0].Data); got != `{"n":1}` {
		t.Errorf("reported %s", got)
	}
}

// TestConflatedProgressIsTheLatest: of calls in quick succession the latest is sent, with its stage and its data and
// without those of the ones before it.
func TestConflatedProgressIsTheLatest(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start(Config{}, handlers(map[string]RawHandler{"work": func(_ context.Context, j *Job, _ []byte) (json.RawMessage,
			error) {
			var errs error
			say := func(p Progress) { errs = errors.Join(errs, j.Advance(p)) }
			say(Progress{Percent: 1, Stage: "first"}) // is sent at once
			for i := range 50 {
				say(Progress{Percent: 50, Stage: "collect", Data: i})
			}
			if j.Advance(Progress{Percent: 99, Stage: "No", Data: "no"}) == nil {
				return nil, errors.New("a stage for people was taken")
			}
			time.Sleep(time.Second)
			say(Progress{Percent: 10, Stage: "render", Data: map[string]int{"page": 1}})
			j.Progress(60, "the end")
			return nil, errs
		}}))
		w.submit(request("a", "work"), `1`)
		w.last("a")
		var got []job.Progress
		for _, e := range w.events("a") {
			switch e.Type {
			case event.Progress:
				got = append(got, *e.Progress)
			case event.Failed:
				t.Fatalf("%+v", e.Error)
			}
		}
		want := []job.Progress{
			{Percent: 1, Stage: "first"}, {Percent: 50, Stage: "collect", Data: json.RawMessage(`49`)},
			{Percent: 50, Stage: "render", Data: json.RawMessage(`{"page":1}`)}, {Percent: 60, Message: "the end"},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("sent %+v, want %+v", got, want)
		}
	})
}
