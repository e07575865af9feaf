package ackwire

import (
	"context"
	"errors"
	"fmt"
	"time"
)

func Example() {
	server := newAutoServer(0) // stands for a running Ackwire
	defer server.stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	// The job is durable when Submit returns. With a key it is safe to submit again.
	job, err := client.Submit(ctx, "report.generate", map[string]string{"reportType": "sales"}, Key("sales-2026-01"))
	if err != nil {
		fmt.Println(err)
		return
	}
	status, err := job.Wait(ctx)
	fmt.Println(status.State, err)
	// Output: completed <nil>
}

func ExampleJob_Watch() {
	server := newAutoServer(3)
	defer server.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	job, err := client.Submit(ctx, "demo.sleep", map[string]int{"seconds": 1}, NoWatch())
	if err != nil {
		fmt.Println(err)
		return
	}

	// Any client of the tenant can follow the job; a slow one sees fewer documents.
	var last Status
	for status, err := range client.Job(job.ID).Watch(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		last = status
	}
	fmt.Println(last.State)
	// Output: completed
}

func ExampleError() {
	err := error(newError("validation_failed", "payload does not fit"))

	if e, ok := errors.AsType[*Error](err); ok {
		fmt.Println(e.Code, e.Retryable)
		for _, f := range e.Errors {
			fmt.Println(f.Pointer, f.Detail)
		}
	}
	// Output: validation_failed false
}
