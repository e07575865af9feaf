package bulk

import (
	"context"
	"errors"
	"sync"

	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Item is one submit of a batch.
type Item struct {
	Request frame.SubmitRequest
	Bytes   int64
	Err     error // a frame.Problem: why it is refused before it begins; nil if it is not
}

// Result is what became of an item: an ack with the version of the job's first event, or an error.
type Result struct {
	Ack     frame.AckFrame
	Version int64
	Err     error
}

// AtOnce is how many items of one batch are submitted at a time: enough for their records to share requests to Kafka.
const AtOnce = 256

// Run submits the items, at most atOnce of them at a time, and returns their results in the same order. Items of one
// job type and key are submitted one after the other, as a client without batches would do.
//
// When ctx ends no further item begins: those that have not begun are refused as retryable. Those that have begun go on
// with a context that does not end with ctx, and Run waits for them: submit must bound their time.
func Run(ctx context.Context, items []Item, atOnce int, submit func(ctx context.Context, i int) Result) []Result {
	results := make([]Result, len(items))
	begun := context.WithoutCancel(ctx)
	places := make(chan struct{}, max(1, atOnce))
	var running sync.WaitGroup
	for _, turn := range turns(items) {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			refuse(ctx, results, turn)
			continue
		}
		running.Go(func() {
			defer func() { <-places }()
			for k, i := range turn {
				if ctx.Err() != nil {
					refuse(ctx, results, turn[k:])
					return
				}
				results[i] = submit(begun, i)
			}
		})
	}
	running.Wait()
	for i, item := range items {
		if item.Err != nil {
			results[i].Err = item.Err
		}
	}
	return results
}

// turns groups the items that are to be submitted: those of one group come one after the other.
func turns(items []Item) [][]int {
	type name struct{ job, key string }
	var all [][]int
	of := map[name]int{}
	for i, item := range items {
		if item.Err != nil {
			continue
		}
		n := name{item.Request.Job, item.Request.Key}
		if at, again := of[n]; again && n.key != "" {
			all[at] = append(all[at], i)
			continue
		}
		of[n] = len(all)
		all = append(all, []int{i})
	}
	return all
}

// refuse gives items that have not begun when ctx ended their results.
func refuse(ctx context.Context, results []Result, turn []int) {
	p := frame.NewProblem(code.Unavailable, "the batch ended before this submit began")
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		p = frame.NewProblem(code.Overloaded, "the batch took so long that this submit was not begun")
	}
	p.RetryAfter = problem.RetryAfter.Seconds()
	for _, i := range turn {
		results[i].Err = p
	}
}
