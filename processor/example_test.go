package processor_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/processortest"
)

type order struct {
	Item  string `json:"item"`
	Count int    `json:"count"`
}

type receipt struct {
	Shipped int `json:"shipped"`
}

var errShopClosed = errors.New("the shop is closed")

func ship(_ context.Context, job *processor.Job, in order) (receipt, error) {
	if in.Count < 1 {
		return receipt{}, processor.WithCode("nothing_ordered", processor.Permanent(errors.New("count is below 1")))
	}
	if in.Item == "tea" {
		return receipt{}, processor.RetryAfter(time.Hour, errShopClosed)
	}
	for i := range in.Count {
		job.Progress(100*float64(i+1)/float64(in.Count), fmt.Sprintf("packed %d", i+1))
	}
	return receipt{Shipped: in.Count}, nil
}

// A handler is a function from its payload to its result; how it fails decides whether the
// job is tried again.
func ExampleHandle() {
	for _, in := range []order{{"coffee", 2}, {"coffee", 0}, {"tea", 1}} {
		outcome, err := processortest.Run(context.Background(),
			func(p *processor.Processor) { processor.Handle(p, "shop.ship", ship) },
			processortest.Job{Type: "shop.ship", Payload: in})
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, p := range outcome.Progress {
			fmt.Printf("%.0f %% %s\n", p.Percent, p.Message)
		}
		if f := outcome.Failure; f != nil {
			fmt.Printf("%s: %s, retryable: %t: %s\n", outcome.Event, f.Code, f.Retryable, f.Message)
		} else {
			fmt.Printf("%s: %s\n", outcome.Event, outcome.Result)
		}
	}
	// Output:
	// 50 % packed 1
	// 100 % packed 2
	// completed: {"shipped":2}
	// failed: nothing_ordered, retryable: false: count is below 1
	// failed: handler_error, retryable: true: the shop is closed
}
