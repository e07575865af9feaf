package processor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
)

func TestMiddlewareWrapsEveryHandler(t *testing.T) {
	var order []string
	around := func(name string) processor.Middleware {
		return func(next processor.RawHandler) processor.RawHandler {
			return func(ctx context.Context, j *processor.Job, payload []byte) (json.RawMessage, error) {
				order = append(order, name+" in")
				defer func() { order = append(order, name+" out") }()
				return next(ctx, j, payload)
			}
		}
	}
	got, err := processortest.Run(t.Context(), func(p *processor.Processor) {
		p.Use(around("outer"))
		processor.Handle(p, "sum", func(_ context.Context, _ *processor.Job, in []int) (int, error) { return len(in), nil })
		p.Use(around("inner"))
	}, processortest.Job{Type: "sum", Payload: []int{1, 2}})
	if err != nil || got.Event != event.Completed || string(got.Result) != "2" {
		t.Fatalf("%+v, %v", got, err)
	}
	if s := fmt.Sprint(order); s != "[outer in inner in inner out outer out]" {
		t.Error(s)
	}
}
