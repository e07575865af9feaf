// Command metricsdoc prints docs/metrics.md: every metric that the services define when they are made.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/cmd/flags"
	"github.com/ackwire/ackwire/processor/webhook"
	"github.com/ackwire/ackwire/tracker"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "metricsdoc:", err)
		os.Exit(1)
	}
}

const head = `# Metrics

<!-- Made by ` + "`make generate`" + ` from the services' registries: change the code. -->

Each service serves its metrics at ` + "`/metrics`" +
	` of its operations listener, as text, OpenMetrics or protobuf; the services of one process
share one registry. Durations are in seconds. Every histogram has classic buckets and, for a Prometheus with
` + "`--enable-feature=native-histograms`" +
	`, native ones. The number of label values is bounded: of lanes and job types,
which come from records, a tracker labels the first 32 and 64 that it reads, and all others as ` + "`other`" +
	`. In addition there are the usual
` + "`go_*`, `process_*` and `promhttp_*`" + `.
`

// parts are the sections of the page, by the prefix of the metrics' names. A metric is in the first section that fits.
var parts = []struct{ title, prefix string }{
	{"Gateway", "ackwire_gateway_"},
	{"Tracker", "ackwire_tracker_"},
	{"Processor", "ackwire_processor_"},
	{"Embedded broker", "ackwire_broker_"},
	{"Kafka clients, all of a process together", "ackwire_kafka_"},
	{"Every process", "ackwire_"},
}

// definitions is a registry that records the definitions of metrics.
type definitions struct {
	*prometheus.Registry
	all []meter.Definition
}

// Define implements meter.Definer.
func (d *definitions) Define(def meter.Definition) {
	// Services of one process share some metrics, and each defines them.
	if !slices.ContainsFunc(d.all, func(have meter.Definition) bool { return have.Name == def.Name }) {
		d.all = append(d.all, def)
	}
}

func run(w io.Writer) error {
	defs := &definitions{Registry: prometheus.NewRegistry()}
	if err := makeAll(defs); err != nil {
		return err
	}
	if err := defs.kafkaClients(); err != nil {
		return err
	}
	slices.SortFunc(defs.all, func(a, b meter.Definition) int { return strings.Compare(a.Name, b.Name) })
	_, err := fmt.Fprint(w, head)
	rest := defs.all
	for _, p := range parts {
		var others []meter.Definition
		if _, err := fmt.Fprintf(w, "\n## %s\n\n| metric | type | labels | what it tells |\n|---|---|---|---|\n",
			p.title); err != nil {
			return err
		}
		for _, d := range rest {
			if !strings.HasPrefix(d.Name, p.prefix) {
				others = append(others, d)
				continue
			}
			if _, err := fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", d.Name, d.Type, labels(d), strings.ReplaceAll(d.Help, "|",
				`\|`)); err != nil {
				return err
			}
		}
		rest = others
	}
	return err
}

// kafkaClients adds the metrics of Kafka clients, which no meter makes: the first client of a process registers them,
// and they have values from then on.
func (d *definitions) kafkaClients() error {
	families, err := d.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "ackwire_kafka_") {
			continue
		}
		def := meter.Definition{Name: f.GetName(), Type: strings.ToLower(f.GetType().String()), Help: f.GetHelp()}
		for _, l := range f.GetMetric()[0].GetLabel() {
			def.Labels = append(def.Labels, l.GetName())
		}
		d.all = append(d.all, def)
	}
	return nil
}

func labels(d meter.Definition) string {
	quoted := make([]string, len(d.Labels))
	for i, l := range d.Labels {
		quoted[i] = "`" + l + "`"
	}
	return strings.Join(quoted, " ")
}

// makeAll makes each service once, without running any.
func makeAll(defs *definitions) (err error) {
	data, err := os.MkdirTemp("", "metricsdoc")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(data) }()
	env := service.OS(slog.New(slog.DiscardHandler))
	env.Metrics = defs
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the broker ends at once

	b, err := broker.Start(context.Background(), broker.Config{Data: data, Listen: "127.0.0.1:0"}, env)
	if err != nil {
		return err
	}
	if err := b.Run(ctx); err != nil {
		return err
	}
	brokers := kafka.Config{Brokers: []string{"127.0.0.1:9092"}}
	cl, err := brokers.NewClient(env, "metricsdoc")
	if err != nil {
		return err
	}
	cl.Close()
	gw := gateway.Defaults()
	gw.Kafka, gw.Auth.Key = brokers, []byte(strings.Repeat("k", 32))
	if _, err := gateway.New(gw, env); err != nil {
		return err
	}
	_, err = tracker.New(tracker.Config{Kafka: brokers, TopicPrefix: gw.TopicPrefix, Partitions: 1, Data: data,
		Settings: tracker.Settings{Listen: "127.0.0.1:0", SessionTimeout: 10e9}}, env)
	if err != nil {
		return err
	}
	p, err := processor.New(processor.Config{Brokers: brokers.Brokers, TopicPrefix: gw.TopicPrefix, Partitions: 1,
		Lanes: []string{"default"}, Slots: 1}, flags.Options(env)...)
	if err != nil {
		return err
	}
	if err := webhook.Register(p, webhook.Config{Keys: [][]byte{gw.Auth.Key}}); err != nil {
		return err
	}
	ops, err := service.NewOps(context.Background(), env, "127.0.0.1:0", service.OpsConfig{}, nil)
	if err != nil {
		return err
	}
	return ops.Close()
}
