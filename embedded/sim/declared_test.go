package sim

import (
	"context"
	"errors"
	"testing"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
)

type words struct {
	Text string `json:"text"`
}

type count struct {
	Words int `json:"words"`
}

// echoCount is what both programs import: the one that submits and the one that works.
var echoCount = ackwire.Type[words, count]("demo.echo")

// TestADeclaredTypeBindsBothSides: one declaration is what a job is submitted with and what its handler
// is registered with.
func TestADeclaredTypeBindsBothSides(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(func(p *processor.Processor) {
			processor.HandleType(p, echoCount, func(_ context.Context, _ *processor.Job, in words) (count, error) {
				if in.Text == "" {
					return count{}, processor.WithCode("no_text", processor.Permanent(errors.New("there is nothing to count")))
				}
				return count{Words: len(in.Text)}, nil
			})
		})
		c := w.Dial()
		j, err := echoCount.Submit(w.ctx(), c, words{Text: "four"})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := j.Result(w.ctx()); err != nil || got.Words != 4 {
			t.Errorf("got %+v, %v", got, err)
		}
		j, err = echoCount.Submit(w.ctx(), c, words{})
		if err != nil {
			t.Fatal(err)
		}
		var failed *ackwire.JobError
		if _, err := j.Result(w.ctx()); !errors.As(err, &failed) || failed.State != job.Failed || failed.Code != "no_text" {
			t.Errorf("got %v", err)
		}
	})
}
