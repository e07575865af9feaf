// Resume submits a job and follows it to its end, across restarts of the program.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/signal"

	"github.com/ackwire/ackwire"
)

// jobType is a job type of `make run` that takes as long as its payload says. It stands for a long report.
const jobType = "demo.sleep"

var payload = map[string]any{"seconds": 30, "steps": 30}

func main() {
	url := flag.String("url", "http://127.0.0.1:8080", "Ackwire's URL")
	token := flag.String("token", os.Getenv("ACKWIRE_TOKEN"), "bearer token; not needed on the same machine")
	file := flag.String("file", "order.json", "file in which the order is kept")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *file, *url, ackwire.WithToken(*token)); err != nil {
		log.Fatal(err)
	}
}

// order is the state that the program keeps on disk.
type order struct {
	Key   string // the idempotency key; saved before the submit
	JobID string // saved after the ack
}

func run(ctx context.Context, out io.Writer, file, url string, opts ...ackwire.Option) error {
	client, err := ackwire.Dial(ctx, url, opts...)
	if err != nil {
		return err
	}
	defer client.Close()

	o, err := load(file)
	if errors.Is(err, fs.ErrNotExist) {
		o = order{Key: rand.Text()}
		err = o.save(file)
	}
	if err != nil {
		return err
	}
	job := client.Job(o.JobID)
	if o.JobID == "" {
		// After a crash between the submit and the save this submits again: the key makes it the same job.
		if job, err = client.Submit(ctx, jobType, payload, ackwire.Key(o.Key)); err != nil {
			return err
		}
		o.JobID = job.ID
		if err := o.save(file); err != nil {
			return err
		}
	}
	for status, err := range job.Watch(ctx) {
		if errors.Is(err, ackwire.ErrNotFound) { // it ended long ago: its type's retention is over
			return errors.Join(err, os.Remove(file))
		}
		if err != nil {
			return err
		}
		percent := 0.0
		if status.Progress != nil {
			percent = status.Progress.Percent
		}
		fmt.Fprintf(out, "%s %.0f%%\n", status.State, percent)
	}
	return os.Remove(file) // the next start submits a new job
}

func load(file string) (o order, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(b, &o)
}

// save writes the file atomically: it writes a new file and renames it.
func (o order) save(file string) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
