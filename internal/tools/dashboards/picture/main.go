// Command picture draws Ackwire's dashboards as PNG files for the documentation: the files of deploy/grafana with
// the data of a Prometheus server, in the dashboards' layout. The pictures look different from Grafana's but show
// what the queries return.
//
//	go run ./dashboards/picture -prometheus http://127.0.0.1:9090 -for 5m
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

func main() {
	log.SetFlags(0)
	var (
		server     = flag.String("prometheus", "http://127.0.0.1:9090", "URL of Prometheus")
		dashboards = flag.String("dashboards", "../../deploy/grafana/dashboards", "folder of the dashboards")
		out        = flag.String("out", "../../docs/dashboards", "folder that the pictures are written to")
		span       = flag.Duration("for", 5*time.Minute, "how long before now the pictures begin")
		rate       = flag.Duration("rate", 10*time.Second, "interval of rates: at least four scrapes")
	)
	flag.Parse()
	if err := run(*server, *dashboards, *out, *span, *rate); err != nil {
		log.Fatal(err)
	}
}

func run(server, dashboards, out string, span, rate time.Duration) error {
	client, err := api.NewClient(api.Config{Address: server})
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dashboards, "*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no dashboards in %s: %w", dashboards, err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	now := time.Now()
	s := source{api: v1.NewAPI(client), from: now.Add(-span), to: now, step: max(span/300, time.Second),
		fill: strings.NewReplacer(
			"$job", ".+", "$instance", ".+", "$lane", ".+",
			"$__rate_interval", rate.String(), "$__range", fmt.Sprintf("%ds", int(span.Seconds())))}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var d dashboard
		if err := json.Unmarshal(b, &d); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json") + ".png"
		size, err := drawBoard(ctx, s, d, filepath.Join(out, name))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		fmt.Printf("%s: %d KB\n", name, size/1024)
	}
	return nil
}
