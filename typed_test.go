package ackwire_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/job"
)

type counted struct {
	Words int `json:"words"`
}

var count = ackwire.Type[string, counted]("words.count")

func TestTypedResults(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(j *ackwiretest.Job)
		want int
		err  string // in the error's text; empty for none
	}{
		"a result":       {func(j *ackwiretest.Job) { j.Complete(counted{7}) }, 7, ""},
		"a whole number": {func(j *ackwiretest.Job) { j.Complete(json.RawMessage(`{"words":7.0}`)) }, 7, ""},
		"a field more":   {func(j *ackwiretest.Job) { j.Complete(map[string]any{"words": 7, "lines": 1}) }, 7, ""},
		"none":           {func(j *ackwiretest.Job) { j.Complete(nil) }, 0, ""},
		"null":           {func(j *ackwiretest.Job) { j.Complete(json.RawMessage("null")) }, 0, ""},
		"kept beside": {
			func(j *ackwiretest.Job) { j.CompleteFile("", "application/json", []byte(`{"words":7}`)) }, 7, "",
		},
		"a file": {
			func(j *ackwiretest.Job) { j.CompleteFile("a.csv", "text/csv", []byte("7\n")) }, 0, `"text/csv"`,
		},
		"of another type":      {func(j *ackwiretest.Job) { j.Complete("seven") }, 0, "cannot unmarshal"},
		"a failure":            {func(j *ackwiretest.Job) { j.Fail("empty", "no words") }, 0, "failed: empty: no words"},
		"a failure, no reason": {func(j *ackwiretest.Job) { j.Fail("", "") }, 0, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := ackwiretest.New(t)
				for _, client := range []ackwire.Submitter{srv.Dial(t), srv.NewHTTP(t)} {
					j, err := count.Submit(t.Context(), client, "some words")
					if err != nil {
						t.Fatal(err)
					}
					tc.end(srv.Next(t, count.Name()))
					got, err := j.Result(t.Context())
					switch {
					case tc.err == "" && err != nil, tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
						t.Errorf("error %v", err)
					case got.Words != tc.want:
						t.Errorf("got %+v", got)
					}
					e, isJobError := errors.AsType[*ackwire.JobError](err)
					if isJobError != strings.HasPrefix(tc.err, "failed") || isJobError && (e.State != job.Failed || e.JobID != j.ID) {
						t.Errorf("a job error: %#v", e)
					}
				}
			})
		})
	}
}

// What a document means as an error.
func TestStatusErr(t *testing.T) {
	for state, want := range map[job.State]string{
		job.Completed: "", job.Processing: "", job.Retrying: "",
		job.Failed:    "ackwire: job j failed: spent: three times",
		job.Cancelled: "ackwire: job j was cancelled: spent: three times",
	} {
		err := ackwire.Status{Document: job.Document{
			JobID: "j", State: state, Attempt: 3, Error: &job.Error{Code: "spent", Message: "three times"},
		}}.Err()
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v", state, err)
		}
	}
}

// The end of the caller's context is not an error of the job.
func TestTypedResultOfAJobThatTakesLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		client := srv.Dial(t)
		j, err := count.Submit(t.Context(), client, "")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = j.Result(ctx)
		if _, ended := errors.AsType[*ackwire.JobError](err); ended || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		_ = client.Close()
		if _, err := j.Result(t.Context()); !errors.Is(err, ackwire.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestATypeNeedsAName(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a type without a name is taken")
		}
	}()
	ackwire.Type[int, int]("")
}
