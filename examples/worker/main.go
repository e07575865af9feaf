// Worker works on jobs of the type report.generate, reports their progress, and attaches the report as a file.
package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/processor"
)

// Period is the payload: the days that the report covers.
type Period struct {
	ReportType string `json:"reportType"`
	From       string `json:"from"` // first day, YYYY-MM-DD
	To         string `json:"to"`   // last day
}

// Report is the result, which is stored in the job's document. The file is stored apart.
type Report struct {
	Rows int `json:"rows"`
}

// Generate is a job type of `make run`. The program that submits such jobs would share this declaration.
var Generate = ackwire.Type[Period, Report]("report.generate")

func main() {
	broker := flag.String("kafka", "127.0.0.1:9092", "address of a Kafka broker")
	dir := flag.String("blobs", "data/blobs", "directory for files; it must be the blob store of the gateway")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, processor.Config{Brokers: []string{*broker}, Lanes: []string{"reports"}}, *dir); err != nil {
		log.Fatal(err)
	}
}

// run works on jobs until ctx ends. Jobs that are running then have Config.Grace to end before they are handed back.
func run(ctx context.Context, cfg processor.Config, dir string) error {
	url, err := blobs.Dir(dir)
	if err != nil {
		return err
	}
	store, err := blobs.Open(ctx, url)
	if err != nil {
		return err
	}
	defer store.Close()
	w, err := processor.New(cfg, processor.WithBlobs(store))
	if err != nil {
		return err
	}
	register(w)
	return w.Run(ctx)
}

func register(w *processor.Processor) { processor.HandleType(w, Generate, generate) }

// dayTakes stands for the work on one day of the report.
const dayTakes = 200 * time.Millisecond

func generate(ctx context.Context, job *processor.Job, in Period) (Report, error) {
	from, errFrom := time.Parse(time.DateOnly, in.From)
	to, errTo := time.Parse(time.DateOnly, in.To)
	if errFrom != nil || errTo != nil || to.Before(from) {
		// The next attempt would fail in the same way, so there is none.
		err := fmt.Errorf("%q to %q is not a period", in.From, in.To)
		return Report{}, processor.WithCode("invalid_period", processor.Permanent(err))
	}
	days := int(to.Sub(from)/(24*time.Hour)) + 1
	var file bytes.Buffer
	rows := csv.NewWriter(&file)
	for i := range days {
		select {
		case <-time.After(dayTakes):
		case <-ctx.Done(): // the job was cancelled or timed out, or the worker stops: the cause says which
			return Report{}, context.Cause(ctx)
		}
		day := from.AddDate(0, 0, i)
		if err := rows.Write([]string{day.Format(time.DateOnly), strconv.Itoa(100 + day.YearDay())}); err != nil {
			return Report{}, err
		}
		err := job.Advance(processor.Progress{
			Current: int64(i + 1), Total: int64(days), Message: day.Format(time.DateOnly), Stage: "collect",
		})
		if err != nil { // of a stage that is not valid
			return Report{}, err
		}
	}
	rows.Flush()
	if err := job.Advance(processor.Progress{Percent: 100, Stage: "store", Data: Report{Rows: days}}); err != nil {
		return Report{}, err
	}
	err := job.Attach(ctx, processor.File{Name: in.ReportType + ".csv", ContentType: "text/csv", Content: &file})
	if err != nil {
		return Report{}, err
	}
	return Report{Rows: days}, nil
}
