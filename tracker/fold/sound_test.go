package fold

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestWhatCanFailToEncode: of all that a job is made of only these kinds of values can fail
// to become JSON. Times are looked at by writable, percents and factors where they are decoded,
// and a result and a progress's data are canonical. A field of another kind needs a look, too.
func TestWhatCanFailToEncode(t *testing.T) {
	looked := []string{
		"CreatedAt", "UpdatedAt", "StartedAt", "FinishedAt", "RetryAt", "RunAt", "EndedAt", "RoundAt", "RenewedAt",
		"CancelAt", "Since", "Percent", "Factor", "Result", "Data",
	}
	harmless := []reflect.Kind{reflect.String, reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64}
	var walk func(typ reflect.Type, field string)
	walk = func(typ reflect.Type, field string) {
		switch {
		case slices.Contains(looked, field):
		case typ == reflect.TypeFor[job.Seconds](), slices.Contains(harmless, typ.Kind()):
		case typ.Kind() == reflect.Pointer, typ.Kind() == reflect.Slice && typ != reflect.TypeFor[json.RawMessage]():
			walk(typ.Elem(), field)
		case typ.Kind() == reflect.Map && typ.Key().Kind() == reflect.String:
			walk(typ.Elem(), field)
		case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[time.Time]():
			for i := range typ.NumField() {
				walk(typ.Field(i).Type, typ.Field(i).Name)
			}
		default:
			t.Errorf("a %s in %s may fail to encode: see Job.writable", typ, field)
		}
	}
	walk(reflect.TypeFor[Job](), "Job")
}

// TestEveryTimeIsLookedAt: with any of its times out of bounds a job is not writable, and it is
// that time that cannot be encoded.
func TestEveryTimeIsLookedAt(t *testing.T) {
	l := newLog(t)
	l.took("in order", event.Accepted, runAt(t0.Add(time.Hour)))
	l.took("in order", event.Claimed, dispatch(2))
	l.took("in order", event.CancelRequested)
	l.job.Doc.RetryAt, l.job.Doc.FinishedAt = &t0, &t0
	l.job.Unserved = &Unserved{Count: 1, Since: t0}
	l.job.Doc.Attempts[0].EndedAt = &t0
	if !l.job.writable() {
		t.Fatal("a good job")
	}
	for _, year := range []int{-1, 10000} {
		bad := time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
		for name, spoil := range map[string]func(j *Job){
			"createdAt": func(j *Job) { j.Doc.CreatedAt = bad }, "updatedAt": func(j *Job) { j.Doc.UpdatedAt = bad },
			"startedAt": func(j *Job) { j.Doc.StartedAt = &bad }, "finishedAt": func(j *Job) { j.Doc.FinishedAt = &bad },
			"retryAt": func(j *Job) { j.Doc.RetryAt = &bad }, "runAt": func(j *Job) { j.Doc.RunAt = &bad },
			"roundAt": func(j *Job) {
				j.RoundAt = bad
			}, "renewedAt": func(j *Job) {
				j.RenewedAt = bad
			}, "cancelAt": func(j *Job) { j.CancelAt = &bad }, "unserved since": func(j *Job) { j.Unserved.Since = bad },
			"an attempt's start": func(j *Job) {
				j.Doc.Attempts[0].StartedAt = bad
			}, "an attempt's end": func(j *Job) { j.Doc.Attempts[0].EndedAt = &bad },
		} {
			j := clone(t, l.job)
			spoil(j)
			_, docErr := json.Marshal(&j.Doc)
			_, innerErr := json.Marshal(j)
			if j.writable() || docErr == nil && innerErr == nil {
				t.Errorf("%s in the year %d: writable %v, encoded %v %v", name, year, j.writable(), docErr, innerErr)
			}
			var doc job.Document
			if err := json.Unmarshal(j.Document(), &doc); err != nil || doc.JobID != jobID || doc.State != job.Processing {
				t.Errorf("%s in the year %d: the document is %s, %v", name, year, j.Document(), err)
			}
		}
	}
}

// TestAnEventThatWouldLeaveNoDocument changes nothing.
func TestAnEventThatWouldLeaveNoDocument(t *testing.T) {
	l := newLog(t)
	l.took("in order", event.Accepted)
	l.took("in order", event.Claimed)
	far := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	r := Fold(l.job, an(t, event.Failed, retryAfter(48*time.Hour)), Meta{Offset: l.next, Time: far})
	if r.Changed || r.Job != l.job || r.Reason != NoDocument || len(r.Orders) > 0 {
		t.Errorf("%+v", r)
	}
}

// TestResultsThatAreTooLarge fail their job for good: no attempt could do better.
func TestResultsThatAreTooLarge(t *testing.T) {
	for _, c := range []struct {
		what, result string
		state        job.State
	}{
		{"128 KiB that a worker escaped sixfold", `"` + strings.Repeat(`\u003c`, 128<<10-2) + `"`, job.Completed},
		{"just what fits", `"` + strings.Repeat("x", MaxResult-2) + `"`, job.Completed},
		{"a byte more", `"` + strings.Repeat("x", MaxResult-1) + `"`, job.Failed},
		{"what a broker takes", `"` + strings.Repeat("x", 1_000_000) + `"`, job.Failed},
		{"what HTML would escape", `"` + strings.Repeat("<", 200_000) + `"`, job.Completed},
	} {
		l := newLog(t)
		l.took("in order", event.Accepted)
		l.took("in order", event.Claimed)
		l.took("in order", event.Completed, result(c.result))
		if l.job.Doc.State != c.state {
			t.Errorf("%s: %s", c.what, l.job.Doc.State)
		}
		if n := len(l.job.Document()); n > MaxDocument {
			t.Errorf("%s: a document of %d bytes", c.what, n)
		}
		if e := l.job.Doc.Error; c.state == job.Failed && (e.Code != job.CodeResultTooLarge || e.Retryable ||
			l.job.Doc.Result != nil) {
			t.Errorf("%s: %+v, result of %d bytes", c.what, e, len(l.job.Doc.Result))
		}
	}
	// With a history of long errors, too.
	l := newLog(t)
	l.took("in order", event.Accepted, attempts(30))
	for i := range 25 {
		l.took("in order", event.Claimed, dispatch(i+1))
		l.took("in order", event.Failed, dispatch(i+1), func(e *event.Event) {
			e.Error.Message, e.Error.Code = strings.Repeat("\x01", 3000), strings.Repeat("&", 200)
		})
	}
	l.took("in order", event.Claimed, dispatch(26))
	l.took("in order", event.Completed, dispatch(26), result(`"`+strings.Repeat("x", MaxResult-2)+`"`))
	if n := len(l.job.Document()); l.job.Doc.State != job.Failed || n > MaxDocument {
		t.Errorf("%s with a document of %d bytes", l.job.Doc.State, n)
	}
}
