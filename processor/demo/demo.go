package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
)

// Job types.
const (
	Echo   = "demo.echo"
	Sleep  = "demo.sleep"
	Flaky  = "demo.flaky"
	Fail   = "demo.fail"
	Panic  = "demo.panic"
	Write  = "demo.write"
	Report = "report.generate"
)

// Types lists the demo job types.
var Types = []string{Echo, Sleep, Flaky, Fail, Panic, Write, Report}

// Register adds the handlers of all demo job types to p.
func Register(p *processor.Processor) {
	processor.HandleRaw(p, Echo, echo)
	processor.Handle(p, Sleep, sleep)
	processor.Handle(p, Flaky, flaky)
	processor.Handle(p, Fail, fail)
	processor.HandleRaw(p, Panic, doPanic)
	processor.Handle(p, Write, write)
	processor.Handle(p, Report, generate)
}

// echo returns its payload as the result.
func echo(_ context.Context, _ *processor.Job, payload []byte) (json.RawMessage, error) {
	return payload, nil
}

// Bounds of demo.sleep.
const (
	maxSleep = 24 * time.Hour
	maxSteps = 10_000
)

type sleepPayload struct {
	// Seconds is how long the job takes; Steps is the number of parts, each of which reports progress. 0 means 1.
	Seconds float64 `json:"seconds"`
	Steps   int     `json:"steps"`
}

type sleepResult struct {
	Slept float64 `json:"slept"`
	Steps int     `json:"steps"`
}

// sleep reports progress after each step and ends early when its context does.
func sleep(ctx context.Context, j *processor.Job, in sleepPayload) (sleepResult, error) {
	total, err := job.SecondsOf(in.Seconds)
	switch {
	case err != nil:
		return sleepResult{}, invalid(err)
	case total.Duration() > maxSleep:
		return sleepResult{}, invalid(fmt.Errorf("seconds is above %v", maxSleep.Seconds()))
	case in.Steps < 0 || in.Steps > maxSteps:
		return sleepResult{}, invalid(fmt.Errorf("steps is not between 0 and %d", maxSteps))
	}
	steps := max(in.Steps, 1)
	for i := range steps {
		if !pause.For(ctx, total.Duration()/time.Duration(steps)) {
			return sleepResult{}, context.Cause(ctx)
		}
		j.Progress(100*float64(i+1)/float64(steps), fmt.Sprintf("step %d of %d", i+1, steps))
	}
	return sleepResult{Slept: in.Seconds, Steps: steps}, nil
}

type flakyPayload struct {
	// Failures is the number of attempts that fail before one succeeds.
	Failures int `json:"failures"`
}

type flakyResult struct {
	Attempts int `json:"attempts"`
}

// flaky fails with a retryable error in the first in.Failures attempts.
func flaky(_ context.Context, j *processor.Job, in flakyPayload) (flakyResult, error) {
	if j.Attempt <= in.Failures {
		j.Log.Warn("this attempt fails", "attempt", j.Attempt, "failures", in.Failures)
		return flakyResult{}, fmt.Errorf("attempt %d of a job that fails %d times", j.Attempt, in.Failures)
	}
	return flakyResult{Attempts: j.Attempt}, nil
}

type failPayload struct {
	Message string `json:"message"`
}

// fail fails permanently.
func fail(_ context.Context, _ *processor.Job, in failPayload) (struct{}, error) {
	if in.Message == "" {
		in.Message = "told to fail"
	}
	return struct{}{}, processor.WithCode("demo_failed", processor.Permanent(errors.New(in.Message)))
}

func doPanic(context.Context, *processor.Job, []byte) (json.RawMessage, error) {
	panic("demo.panic was asked to")
}

// invalid returns the failure of a payload that can be decoded but has values out of range.
func invalid(err error) error {
	return processor.WithCode(job.CodeInvalidPayload, processor.Permanent(err))
}
