package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/embedded"
)

// A program that runs Ackwire and is its client.
func Example() {
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: completed
}

func run(ctx context.Context) (err error) {
	data, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	srv, err := embedded.Start(ctx, embedded.Config{Data: data, Listen: "127.0.0.1:0", Partitions: 1},
		embedded.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Stop()) }()
	client, err := ackwire.Dial(ctx, srv.URL())
	if err != nil {
		return err
	}
	defer client.Close()
	job, err := client.Submit(ctx, "demo.echo", "hello")
	if err != nil {
		return err
	}
	status, err := job.Wait(ctx)
	fmt.Println(status.State)
	return err
}

// Settings that have no field of their own.
func ExampleConfig_settings() {
	cfg := embedded.Config{
		Data: "shop-data",
		Settings: []string{
			"jwks-url=https://id.example/keys", "permissions-claim=roles", "permission-map=clerk=submit+read",
			"allowed-origins=shop.example,*.shop.example",
			"tenant-jobs=1000", "submit-timeout=3s", "compression=true",
		},
	}
	fmt.Println(cfg.Validate())
	cfg.Settings = []string{"tenant-job=1000", "slots=many"}
	fmt.Println(cfg.Validate())
	// Output:
	// <nil>
	// unknown setting "tenant-job"
	// setting slots: expected a valid 64 bit int but got "many"
}
