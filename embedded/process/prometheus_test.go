package process

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/ackwire/ackwire/embedded/observe"
)

const (
	scrapeEvery = time.Second
	rateOver    = 10 * time.Second // what Grafana would put for $__rate_interval, or a bit more
	shown       = time.Minute      // the dashboard's time
)

// raw is a payload as it is.
func raw(payload string) json.RawMessage { return json.RawMessage(payload) }

// prometheus is a server of its own that scrapes targets, given by job.
type prometheus struct {
	v1.API
	url string
}

// needPrometheus skips the test where there is none, unless it is required.
func needPrometheus(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		if os.Getenv("ACKWIRE_REQUIRE_PROMETHEUS") == "1" {
			t.Fatal("prometheus is required, and not there: ", err)
		}
		t.Skip("there is no prometheus (Debian: apt-get install prometheus)")
	}
}

func startPrometheus(t *testing.T, targets map[string][]string, options ...string) *prometheus {
	t.Helper()
	needPrometheus(t)
	rules, err := filepath.Abs(filepath.Join("..", "..", "deploy", "prometheus", "rules"))
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: %s, evaluation_interval: %s}\nrule_files: ['%s/*.yml']\nscrape_configs:\n", scrapeEvery, scrapeEvery, rules)
	for job, addresses := range targets {
		config += fmt.Sprintf("  - {job_name: %s, static_configs: [{targets: ['%s']}]}\n", job, strings.Join(addresses, "', '"))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	at := addrs(t, 1)[0]
	p := &proc{t: t, name: "prometheus", log: &tail{}}
	p.cmd = exec.Command("prometheus", append([]string{"--config.file", file, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", at, "--log.level", "warn"}, options...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("prometheus printed at last:\n%s", p.log)
		}
	})
	url := "http://" + at
	within(t, startWithin, "prometheus is ready", func() bool {
		resp, err := http.Get(url + "/-/ready")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	client, err := api.NewClient(api.Config{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	return &prometheus{API: v1.NewAPI(client), url: url}
}

// values are those of a dashboard's variables, each one's query asked with the ones before it,
// all values chosen. It is nil as long as one has none.
func (p *prometheus) values(ctx context.Context, d observe.Dashboard) (map[string][]string, error) {
	values := map[string][]string{
		"datasource": {"prometheus"}, "__rate_interval": {rateOver.String()}, "__interval": {scrapeEvery.String()}, "__range": {"1m"},
	}
	for _, v := range d.Templating.List {
		if v.Type == "datasource" {
			continue
		}
		selector, label, ok := observe.LabelValues(v.Definition)
		if !ok {
			return nil, fmt.Errorf("variable %s: %s", v.Name, v.Definition)
		}
		now := time.Now()
		found, _, _, err := p.LabelValues(ctx, label, []string{observe.Fill(selector, values)}, now.Add(-shown), now)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.Name, err)
		}
		if len(found) == 0 {
			return nil, nil
		}
		for _, one := range found {
			values[v.Name] = append(values[v.Name], string(one))
		}
		slices.Sort(values[v.Name])
	}
	return values, nil
}

// ask runs a panel's query and counts the series that have a number.
func (p *prometheus) ask(ctx context.Context, q observe.Target, values map[string][]string) (series []model.Metric, err error) {
	expr, now := observe.Fill(q.Expr, values), time.Now()
	var answer model.Value
	if q.Instant {
		answer, _, _, err = p.Query(ctx, expr, now)
	} else {
		answer, _, _, err = p.QueryRange(ctx, expr, v1.Range{Start: now.Add(-shown), End: now, Step: scrapeEvery})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	number := func(v model.SampleValue) bool { return !math.IsNaN(float64(v)) }
	switch answer := answer.(type) {
	case model.Matrix:
		for _, s := range answer {
			if slices.ContainsFunc(s.Values, func(v model.SamplePair) bool { return number(v.Value) }) {
				series = append(series, s.Metric)
			}
		}
	case model.Vector:
		for _, s := range answer {
			if number(s.Value) {
				series = append(series, s.Metric)
			}
		}
	default:
		return nil, fmt.Errorf("%s: a %s", expr, answer.Type())
	}
	return series, nil
}
