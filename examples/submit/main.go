// Submit submits a job, shows each change of its state, and prints its result.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/ackwire/ackwire"
)

// Message is the payload of an echo, and its result.
type Message struct {
	Text string `json:"text"`
}

// Echo is a job type of `make run`. A program and its worker would share this declaration.
var Echo = ackwire.Type[Message, Message]("demo.echo")

func main() {
	url := flag.String("url", "http://127.0.0.1:8080", "Ackwire's URL")
	token := flag.String("token", os.Getenv("ACKWIRE_TOKEN"), "bearer token; not needed on the same machine")
	text := flag.String("text", "hello", "text to echo")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *text, *url, ackwire.WithToken(*token)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, text, url string, opts ...ackwire.Option) error {
	client, err := ackwire.Dial(ctx, url, opts...)
	if err != nil {
		return err
	}
	defer client.Close()

	job, err := Echo.Submit(ctx, client, Message{Text: text})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "durable:", job.ID)

	// The loop ends with the job. A program that needs only the result calls Result at once.
	for status, err := range job.Watch(ctx) {
		if err != nil {
			return err
		}
		fmt.Fprintln(out, status.State)
	}

	result, err := job.Result(ctx)
	if failed, ok := errors.AsType[*ackwire.JobError](err); ok {
		return fmt.Errorf("no echo: %s", failed.Message)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(out, result.Text)
	return nil
}
