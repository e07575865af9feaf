package ackwire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
)

// mail is a payload of the examples.
type mail struct {
	To string `json:"to"`
}

// mailer stands for a running Ackwire, with a worker for mail.send. A program has a URL alone.
func mailer() *ackwiretest.Server {
	server := ackwiretest.Start()
	server.Handle("mail.send", func(_ context.Context, j *ackwiretest.Job) (any, error) {
		var m mail
		if err := j.Decode(&m); err != nil || m.To == "" {
			return nil, &ackwiretest.Failure{Code: "no_address", Message: "nobody to send it to"}
		}
		return "sent to " + m.To, nil
	})
	return server
}

// Submit a job and wait for its end.
func Example() {
	server := mailer()
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	client, err := ackwire.Dial(ctx, server.URL(), server.Option()) // "wss://jobs.example", ackwire.WithToken(token)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	// The job is durable when Submit returns. With a key it is safe to submit again.
	job, err := client.Submit(ctx, "mail.send", mail{To: "ada@example.com"}, ackwire.Key("welcome-ada"))
	if err != nil {
		fmt.Println(err)
		return
	}
	status, err := job.Wait(ctx)
	fmt.Println(status.State, string(status.Result), err)
	// Output: completed "sent to ada@example.com" <nil>
}

// Follow a job by an ID that was kept, after a restart or in another program.
func ExampleClient_Job() {
	server := mailer()
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	before, err := ackwire.Dial(ctx, server.URL(), server.Option())
	if err != nil {
		fmt.Println(err)
		return
	}
	submitted, err := before.Submit(ctx, "mail.send", mail{To: "ada@example.com"}, ackwire.NoWatch())
	if err != nil {
		fmt.Println(err)
		return
	}
	id := submitted.ID // kept in a database
	_ = before.Close()

	client, err := ackwire.Dial(ctx, server.URL(), server.Option())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	var last ackwire.Status
	for status, err := range client.Job(id).Watch(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		last = status // pending, processing with its progress, and so on
	}
	fmt.Println(last.State)
	// Output: completed
}

// Print what a job writes while it runs.
func ExampleJob_Stream() {
	server := ackwiretest.Start() // stands for a running Ackwire and a worker
	defer server.Close()
	server.Handle("chat.answer", func(_ context.Context, j *ackwiretest.Job) (any, error) {
		for _, word := range []string{"Forty", "-", "two", "."} {
			if _, err := j.Stream("tokens").WriteString(word); err != nil {
				return nil, err
			}
		}
		return 42, nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	client, err := ackwire.Dial(ctx, server.URL(), server.Option()) // "wss://jobs.example", ackwire.WithToken(token)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	job, err := client.Submit(ctx, "chat.answer", "?", ackwire.WithStreams("tokens"))
	if err != nil {
		fmt.Println(err)
		return
	}
	text := ""
	for chunk, err := range job.Stream(ctx, "tokens") {
		if err != nil {
			fmt.Println(err)
			return
		}
		if chunk.Reset { // another run counts: what came before is void
			text = ""
		}
		text += chunk.Text
	}
	fmt.Println(text)
	// Output: Forty-two.
}

// A backend that keeps no socket open.
func ExampleNewHTTP() {
	server := mailer()
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	client, err := ackwire.NewHTTP(server.URL(), server.Option()) // "https://jobs.example", ackwire.WithToken(token)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	job, err := client.Submit(ctx, "mail.send", mail{To: "ada@example.com"})
	if err != nil {
		fmt.Println(err)
		return
	}
	status, err := job.Wait(ctx)
	fmt.Println(status.State, err)
	// Output: completed <nil>
}

// A job type that is declared once, in a package of its own, for the program that submits and for the worker.
func ExampleType() {
	type invoice struct {
		Number int `json:"number"`
	}
	type rendered struct {
		Pages int `json:"pages"`
	}
	renderInvoice := ackwire.Type[invoice, rendered]("invoice.render")

	server := ackwiretest.Start() // stands for a running Ackwire and a worker
	defer server.Close()
	ackwiretest.Handle(server, renderInvoice, func(_ context.Context, _ *ackwiretest.Job, in invoice) (rendered, error) {
		if in.Number == 0 {
			return rendered{}, &ackwiretest.Failure{Code: "no_invoice", Message: "there is no invoice 0"}
		}
		return rendered{Pages: 3}, nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := ackwire.Dial(ctx, server.URL(), server.Option())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	for _, number := range []int{7, 0} {
		job, err := renderInvoice.Submit(ctx, client, invoice{Number: number})
		if err != nil {
			fmt.Println(err)
			return
		}
		result, err := job.Result(ctx)
		if failed, ok := errors.AsType[*ackwire.JobError](err); ok {
			fmt.Println(failed.State, failed.Code)
			continue
		}
		fmt.Println(result.Pages, err)
	}
	// Output:
	// 3 <nil>
	// failed no_invoice
}

// What the server refused, and whether to try again.
func ExampleError() {
	server := mailer()
	defer server.Close()
	server.Refuse(1, code.RateLimited)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := ackwire.Dial(ctx, server.URL(), server.Option())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	_, err = client.Submit(ctx, "mail.send", mail{To: "ada@example.com"})
	switch refused, ok := errors.AsType[*ackwire.Error](err); {
	case ok:
		fmt.Println(refused.Code, refused.Retryable)
	case errors.Is(err, ackwire.ErrIndeterminate):
		fmt.Println("the job may be there: with a Key the submit could be repeated")
	}
	// Output: rate_limited true
}

// A file that a worker attached is read as a stream.
func ExampleJob_Result() {
	server := ackwiretest.Start() // stands for a running Ackwire
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := ackwire.NewHTTP(server.URL(), server.Option())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	server.Handle("report", func(_ context.Context, j *ackwiretest.Job) (any, error) {
		j.CompleteFile("sales.csv", "text/csv", []byte("day,sales\n"))
		return nil, nil
	})
	report, err := client.Submit(ctx, "report", struct{}{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if status, err := report.Wait(ctx); err != nil || status.State != job.Completed {
		fmt.Println(status.State, err)
		return
	}
	content, err := report.Result(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer content.Close()
	text, err := io.ReadAll(content)
	fmt.Printf("%s, %s: %s%v\n", content.Name, content.ContentType, text, err)
	// Output:
	// sales.csv, text/csv: day,sales
	// <nil>
}
