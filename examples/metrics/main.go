// Metrics is a worker with its own logger, metrics registry and middleware.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ackwire/ackwire/processor"
)

func main() {
	broker := flag.String("kafka", "127.0.0.1:9092", "address of a Kafka broker")
	listen := flag.String("listen", "127.0.0.1:9100", "address of /metrics and /readyz")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(ctx, l, processor.Config{Brokers: []string{*broker}}, logger); err != nil {
		log.Fatal(err)
	}
}

// run works on jobs, and serves metrics at l, until ctx ends.
func run(ctx context.Context, l net.Listener, cfg processor.Config, logger *slog.Logger) error {
	reg := prometheus.NewRegistry()
	w, err := processor.New(cfg, processor.WithLogger(logger), processor.WithMetrics(reg))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	register(w, reg)

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) {
		if err := w.Ready(); err != nil {
			http.Error(rw, err.Error(), http.StatusServiceUnavailable)
		}
	})
	srv := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	err = w.Run(ctx)
	err = errors.Join(err, srv.Shutdown(context.WithoutCancel(ctx)))
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func register(w *processor.Processor, reg prometheus.Registerer) {
	w.Use(measure(reg))
	processor.Handle(w, "demo.echo", func(_ context.Context, job *processor.Job, in any) (any, error) {
		job.Log.Info("an echo is made") // the line has the attributes job, run and attempt
		return in, nil
	})
}

// measure is a middleware that wraps every handler of the worker. Ackwire's own metrics count jobs by their outcome;
// this one also measures each job type of this program.
func measure(reg prometheus.Registerer) processor.Middleware {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "shop_handler_seconds",
		Help:    "How long handlers ran, by job type and by whether they returned an error.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
	}, []string{"type", "ok"})
	reg.MustRegister(seconds)
	return func(next processor.RawHandler) processor.RawHandler {
		return func(ctx context.Context, job *processor.Job, payload []byte) (json.RawMessage, error) {
			began, ok := time.Now(), "false" // also when it panics
			defer func() { seconds.WithLabelValues(job.Type, ok).Observe(time.Since(began).Seconds()) }()
			result, err := next(ctx, job, payload)
			if err == nil {
				ok = "true"
			}
			return result, err
		}
	}
}
