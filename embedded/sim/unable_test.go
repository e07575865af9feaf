package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// able has a handler for demo.echo; unable has one for something else only, as a worker of the
// former release, or one of a neighbour's that joined the same lane.
func able(p *processor.Processor) {
	processor.HandleRaw(p, "demo.echo", func(_ context.Context, _ *processor.Job, payload []byte) (json.RawMessage,
		error) {
		return payload, nil
	})
}

func unable(p *processor.Processor) {
	processor.HandleRaw(p, "demo.other", func(context.Context, *processor.Job, []byte) (json.RawMessage, error) {
		return nil, nil
	})
}

// TestARollingDeploymentBurnsNoAttempt: half of the lane's workers know nothing of the type, and
// every job completes in its first attempt.
func TestARollingDeploymentBurnsNoAttempt(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(unable)
		w.StartWorker(able)
		c := w.Dial()
		var jobs []*ackwire.Job
		for i := range 60 {
			jobs = append(jobs, w.Submit(c, "demo.echo", fmt.Sprint(i)))
		}
		handedBack := 0
		for _, j := range jobs {
			doc := w.WantEnd("with half of the workers able", c, j.ID, job.Completed, 1)
			for _, a := range doc.Attempts {
				if a.Outcome == job.OutcomeReleased {
					handedBack++
				}
			}
		}
		if handedBack == 0 {
			t.Error("no job was handed back: the test proves nothing")
		}
	})
}

// TestAJobThatNobodyCanRun: a job that no worker can run says why it waits and takes no worker's time.
// It runs when a worker comes that can run it.
func TestAJobThatNobodyCanRun(t *testing.T) {
	Run(t, func(w *World) {
		p := w.StartWorker(unable)
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `1`)
		time.Sleep(20 * time.Second)
		if n := p.Count("ackwire_processor_unable_total", "no_handler"); n < 3 || n > 8 {
			t.Errorf("handed back %v times in 20 s, want a pause that grows", n)
		}
		status, _, body := w.HTTP(http.MethodGet, "/v1/jobs/"+j.ID+"/why", nil, nil)
		var why frame.Why
		if err := json.Unmarshal(body, &why); err != nil || status != http.StatusOK || why.Reason != frame.Unserved ||
			!strings.Contains(why.Detail, "no_handler") {
			t.Errorf("why: %d %s", status, body)
		}
		w.StartWorker(able)
		w.WantEnd("an able worker came", c, j.ID, job.Completed, 1)
	})
}
