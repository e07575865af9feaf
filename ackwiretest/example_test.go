package ackwiretest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
)

// welcome is the program under test: it submits a mail and returns its outcome.
func welcome(ctx context.Context, client *ackwire.Client, address string) string {
	job, err := client.Submit(ctx, "mail.send", address, ackwire.Key("welcome "+address))
	if err != nil {
		return err.Error()
	}
	status, err := job.Wait(ctx)
	if err != nil {
		return err.Error()
	}
	return string(status.State)
}

// A test can take the jobs itself and break connections, and spends no real time on waits.
func TestWelcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		srv.LoseAcks(1) // the program does not notice: its submit has a key
		client := srv.Dial(t)
		done := make(chan string)
		go func() { done <- welcome(t.Context(), client, "ada@example.com") }()

		mail := srv.Next(t, "mail.send")
		srv.Down()
		time.Sleep(time.Hour)
		srv.Up()
		mail.Complete(nil)
		if got := <-done; got != "completed" {
			t.Errorf("the mail is %s", got)
		}
	})
}

func Example() {
	srv := ackwiretest.Start() // in a test: ackwiretest.New(t)
	defer srv.Close()
	srv.Handle("mail.send", func(_ context.Context, j *ackwiretest.Job) (any, error) {
		j.Progress(50, "connected")
		return "sent", nil
	})
	ctx := context.Background()
	client, err := ackwire.Dial(ctx, srv.URL(), srv.Option())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Println(welcome(ctx, client, "ada@example.com"))
	// Output: completed
}
