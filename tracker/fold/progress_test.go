package fold

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// says makes a progress event say p, which is JSON.
func says(t *testing.T, p string) mod {
	t.Helper()
	var said job.Progress
	if err := json.Unmarshal([]byte(p), &said); err != nil {
		t.Fatal(err)
	}
	return func(e *event.Event) { e.Progress = &said }
}

func (l *log) wantProgress(why, want string) {
	l.t.Helper()
	got, err := plainjson.Marshal(l.job.Doc.Progress)
	if err != nil || string(got) != want {
		l.t.Fatalf("%s: progress %.300s, %v, want %.300s", why, got, err, want)
	}
}

func running(t *testing.T) *log {
	l := newLog(t)
	l.took("", event.Accepted)
	l.took("", event.Claimed)
	return l
}

// TestProgressIsReplaced: each progress replaces the one before as a whole, so that a stage or data which a later one
// does not have is gone, as a message and counts are; only the percent does not fall.
func TestProgressIsReplaced(t *testing.T) {
	l := running(t)
	l.took("", event.Progress, says(t, `{"percent":40,"message":"rows","current":4,"total":10,"stage":"collect","data":{"day":3}}`))
	l.wantProgress("all of it", `{"percent":40,"message":"rows","current":4,"total":10,"stage":"collect","data":{"day":3}}`)
	l.took("", event.Progress, says(t, `{"percent":30,"stage":"render","data":[1,2]}`))
	l.wantProgress("another stage, with other data", `{"percent":40,"stage":"render","data":[1,2]}`)
	l.took("", event.Progress, says(t, `{"percent":0,"stage":"upload"}`))
	l.wantProgress("a stage alone", `{"percent":40,"stage":"upload"}`)
	l.took("", event.Progress, says(t, `{"percent":50,"data":null}`))
	l.wantProgress("null is data", `{"percent":50,"data":null}`)
	l.took("", event.Progress, says(t, `{"percent":60,"stage":"check","data":7}`))
	l.took("a beat says nothing of it", event.Beat)
	l.wantProgress("after a beat", `{"percent":60,"stage":"check","data":7}`)
	l.took("", event.Progress, says(t, `{"percent":70,"message":"done"}`))
	l.wantProgress("an old worker, which knows neither", `{"percent":70,"message":"done"}`)
	l.took("", event.Progress, says(t, `{"percent":80,"stage":"done"}`))
	l.took("", event.Completed)
	l.wantProgress("the last one stays", `{"percent":80,"stage":"done"}`)
}

// TestProgressThatBreaksItsBounds: it renews the lease all the same, and what is not valid is left out as a whole and
// named. What a writer says was left out does not count.
func TestProgressThatBreaksItsBounds(t *testing.T) {
	long := strings.Repeat("a", job.MaxStageChars)
	full := `"` + strings.Repeat("x", job.MaxProgressData-2) + `"`
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for _, c := range []struct{ what, stage, data, want string }{
		{"at the bounds", long, full, `{"percent":5,"stage":"` + long + `","data":` + full + `}`},
		{"a stage of 65 characters", long + "a", `1`, `{"percent":5,"data":1,"omitted":["stage"]}`},
		{"a stage for people", "Collecting rows", `1`, `{"percent":5,"data":1,"omitted":["stage"]}`},
		{"data of 4097 bytes", "a", full[:1] + "x" + full[1:], `{"percent":5,"stage":"a","omitted":["data"]}`},
		{"white space", "a", ` [ 1 ] `, `{"percent":5,"stage":"a","data":[1]}`},
		{"deep data", "a", deep, `{"percent":5,"stage":"a","data":` + deep + `}`},
		{"deeper data", "a", "[" + deep + "]", `{"percent":5,"stage":"a","omitted":["data"]}`},
		{"a key twice", "a", `{"a":1,"a":2}`, `{"percent":5,"stage":"a","omitted":["data"]}`},
		{"a lone surrogate", "a", `"\ud800"`, `{"percent":5,"stage":"a","omitted":["data"]}`},
		{"both", "A", `1e400`, `{"percent":5,"omitted":["stage","data"]}`},
	} {
		l := running(t)
		l.took(c.what, event.Progress, func(e *event.Event) {
			e.Progress = &job.Progress{
				Percent: 5, Stage: c.stage, Data: json.RawMessage(c.data), Omitted: []string{"message"},
			}
		})
		l.wantProgress(c.what, c.want)
		if l.job.Renewal != l.next-1 {
			t.Errorf("%s: the lease was not renewed", c.what)
		}
		l.took("the next one is sound", event.Progress, says(t, `{"percent":6,"stage":"b","data":{}}`))
		l.wantProgress("nothing is left out any more", `{"percent":6,"stage":"b","data":{}}`)
	}
}

// TestRecordsOfOtherPrograms folds progress as it was read from a record: what the event's codec takes the fold bounds.
func TestRecordsOfOtherPrograms(t *testing.T) {
	for record, want := range map[string]string{
		`{"percent":5}`: `{"percent":5}`,
		`{"percent":5,"stage":"","data":{ "\u0061" : 9007199254740993 }}`:   `{"percent":5,"data":{"\u0061":9007199254740993}}`,
		`{"percent":5,"stage":null,"data":null,"omitted":["data"],"x":[1]}`: `{"percent":5,"data":null}`,
		"{\"percent\":5,\"stage\":\"\xff\",\"data\":\"\xff\"}":              `{"percent":5,"omitted":["stage","data"]}`,
	} {
		e, err := event.Decode([]byte(`{"v":1,"type":"progress","jobId":"` + jobID +
			`","dispatch":1,"run":"r1","progress":` + record + `}`))
		if err != nil {
			t.Fatalf("%s: %v", record, err)
		}
		l := running(t)
		r := Fold(l.job, &e, Meta{Offset: l.next, Time: l.now})
		l.job = r.Job
		l.wantProgress(record, want)
	}
}
