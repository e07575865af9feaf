package processor_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// A worker takes jobs until it is told to stop, and then hands back the jobs that it could not finish.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	w, err := processor.New(processor.Config{Brokers: []string{"kafka:9092"}, Lanes: []string{"default"}},
		processor.WithLogger(slog.Default()), processor.WithMetrics(prometheus.DefaultRegisterer))
	if err != nil {
		log.Fatal(err)
	}
	processor.Handle(w, "shop.ship", ship)
	if err := w.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// shopShip stands for ackwire.Type[order, receipt]("shop.ship"), which the client's package makes.
type shopShip struct{}

func (shopShip) Name() string                   { return "shop.ship" }
func (shopShip) Types() (in order, out receipt) { return in, out }

// A job type is declared once, for the program that submits and for the worker.
func ExampleHandleType() {
	outcome, err := processortest.Run(context.Background(),
		func(w *processor.Processor) { processor.HandleType(w, shopShip{}, ship) },
		processortest.Job{Type: "shop.ship", Payload: order{"coffee", 1}})
	fmt.Printf("%s %s %v\n", outcome.Event, outcome.Result, err)
	// Output: completed {"shipped":1} <nil>
}

// A handler that fails decides whether and when the job is tried again, and which error code clients see.
func ExamplePermanent() {
	soldOut := func(context.Context, *processor.Job, order) (receipt, error) {
		return receipt{}, processor.WithCode("sold_out", processor.Permanent(errors.New("no coffee is left")))
	}
	outcome, err := processortest.Run(context.Background(),
		func(w *processor.Processor) { processor.Handle(w, "shop.ship", soldOut) },
		processortest.Job{Type: "shop.ship", Payload: order{"coffee", 1}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(outcome.Event, outcome.Failure.Code, "retryable:", outcome.Failure.Retryable)
	// Output: failed sold_out retryable: false
}

// A handler is a function from its payload to its result; the error that it returns decides whether the
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
