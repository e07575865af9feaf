// Embedded is a web service that runs Ackwire in its own process: long work is a job, which survives restarts.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/embedded"
	"github.com/ackwire/ackwire/processor"
)

// Order is the payload of a job, which the service submits to its own Ackwire.
type Order struct {
	Item string `json:"item"`
}

// Receipt is the job's result.
type Receipt struct {
	Shipped string `json:"shipped"`
}

// Ship is the service's job type; jobtypes.yaml configures it.
var Ship = ackwire.Type[Order, Receipt]("order.ship")

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "address of the service")
	cfg := embedded.Config{}
	flag.StringVar(&cfg.Data, "data", "shop-data", "folder in which Ackwire keeps its data")
	flag.StringVar(&cfg.JobTypes, "job-types", "examples/embedded/jobtypes.yaml", "file that declares the job types")
	flag.StringVar(&cfg.Listen, "ackwire", "127.0.0.1:8080", "address of Ackwire, at which clients may follow jobs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", *listen)
	if err == nil {
		err = run(ctx, l, cfg, slog.Default())
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends. Then each part stops before the parts that it needs: first the web server, then the
// worker, then Ackwire.
func run(ctx context.Context, l net.Listener, cfg embedded.Config, logger *slog.Logger) (err error) {
	defer func() { _ = l.Close() }() // unless it was served
	ackw, err := embedded.Start(ctx, cfg, embedded.WithLogger(logger))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ackw.Stop()) }()

	worker, err := processor.New(processor.Config{Brokers: []string{ackw.KafkaAddr()}}, processor.WithLogger(logger))
	if err != nil {
		return err
	}
	processor.HandleType(worker, Ship, ship)
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	ctx, end := context.WithCancel(ctx) // the service ends with its worker
	worked := make(chan error, 1)
	go func() {
		defer end()
		worked <- worker.Run(working)
	}()
	defer func() {
		stopWorking()
		err = errors.Join(err, <-worked)
	}()

	client, err := ackwire.Dial(ctx, ackw.URL())
	if err != nil {
		return err
	}
	defer client.Close()
	return serve(ctx, l, shop{client}, ackw.Done())
}

// serve answers requests until ctx ends, or Ackwire does.
func serve(ctx context.Context, l net.Listener, s shop, ended <-chan struct{}) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", s.order)
	mux.HandleFunc("GET /orders/{id}", s.receipt)
	srv := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	case <-ended: // Ackwire has ended; its Stop returns the reason
	}
	err := srv.Shutdown(context.WithoutCancel(ctx))
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func ship(_ context.Context, job *processor.Job, in Order) (Receipt, error) {
	job.Progress(50, "packed")
	return Receipt{Shipped: in.Item}, nil
}

type shop struct{ client *ackwire.Client }

// order answers with the job's ID once the job is durable: from then on the job will be done, even if this process
// crashes.
func (s shop) order(w http.ResponseWriter, r *http.Request) {
	var in Order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in); err != nil || in.Item == "" {
		http.Error(w, "which item?", http.StatusBadRequest)
		return
	}
	job, err := Ship.Submit(r.Context(), s.client, in, ackwire.NoWatch())
	if err != nil {
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintln(w, job.ID)
}

// receipt waits for the job's end and answers with its result.
func (s shop) receipt(w http.ResponseWriter, r *http.Request) {
	receipt, err := Ship.Job(s.client, r.PathValue("id")).Result(r.Context())
	if failed, ok := errors.AsType[*ackwire.JobError](err); ok {
		http.Error(w, failed.Message, http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, receipt.Shipped)
}
