package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/embedded/observe"
)

const (
	observedWithin = time.Minute // all of it: several scrapes and an evaluation of the rules
	scrapeEvery    = 5 * time.Second
	traced         = "0af7651916cd43dd8448eb211c80319c" // the trace that a client says is its own
)

// ofTheMachine are alerts on how fast acks are: on two cores that run eighteen containers they
// may be right.
var ofTheMachine = []string{"AckwireAckLatencyBudgetBurn", "AckwireAckP99High"}

// isObserved: Prometheus scrapes all there is and evaluates all its rules, no alert fired, the
// rows of the dashboards show something, and a job's trace comes through the collector.
func isObserved(t *testing.T, c compose, url, token string, u *upstream) {
	ctx, cancel := context.WithTimeout(t.Context(), observedWithin)
	defer cancel()
	p := c.prometheus(t)
	client, err := ackwire.Dial(ctx, url, ackwire.WithToken(token))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i, payload := range []string{`{"n":1}`, `{"n":2}`, `{"n":3}`} {
		j, err := client.Submit(ctx, "demo.echo", json.RawMessage(payload), ackwire.NoKey(),
			ackwire.Trace("00-"+traced+"-b7ad6b7169203331-01", ""))
		if err != nil {
			t.Fatalf("job %d: %v", i, err)
		}
		if _, err := j.Wait(ctx); err != nil {
			t.Fatalf("job %d: %v", i, err)
		}
	}

	await(t, "every target is up", observedWithin, func() string { return c.targets(ctx, t, p) })
	await(t, "every rule is evaluated", observedWithin, func() string { return rules(ctx, t, p) })
	await(t, "a trace with spans of all three", observedWithin, func() string {
		if of := u.of(traced); !slices.Equal(of, []string{"gateway", "processor", "tracker"}) {
			return fmt.Sprintf("spans of %v", of)
		}
		return ""
	})
	await(t, "each row of the dashboards shows something", observedWithin, func() string { return emptyRow(ctx, t, p) })
	until(t, "the collector counts spans", observedWithin, func() bool {
		return len(query(ctx, t, p, `sum(otelcol_receiver_accepted_spans_total{job="otel"}) > 0`)) == 1
	})
	for _, fired := range query(ctx, t, p, `max_over_time(ALERTS{alertstate="firing"}[1h])`) {
		if !slices.Contains(ofTheMachine, string(fired.Metric["alertname"])) {
			t.Errorf("it fired though nothing was wrong: %v", fired.Metric)
		}
	}
}

// tellsOfTheDead: who was killed, and is scraped by its name, is about to raise an alert.
func tellsOfTheDead(t *testing.T, c compose) {
	ctx, cancel := context.WithTimeout(t.Context(), observedWithin)
	defer cancel()
	p := c.prometheus(t)
	until(t, "AckwireDown for the tracker", observedWithin, func() bool {
		return len(query(ctx, t, p, `ALERTS{alertname="AckwireDown", job="tracker", instance="tracker-1:8091"}`)) == 1
	})
}

// prometheus is that of the compose file.
func (c compose) prometheus(t *testing.T) *observe.Prometheus {
	t.Helper()
	p, err := observe.NewPrometheus("http://"+c.port(t, "prometheus", "9090"), 5*time.Minute, scrapeEvery, 4*scrapeEvery)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// targets tells what is not scraped as it should be: there is a target for each container of
// the services that have metrics, and each is up.
func (c compose) targets(ctx context.Context, t *testing.T, p *observe.Prometheus) (missing string) {
	t.Helper()
	answer, err := p.Targets(ctx)
	if err != nil {
		t.Fatal(err)
	}
	up := map[string]int{}
	for _, target := range answer.Active {
		if target.Health != v1.HealthGood {
			return fmt.Sprintf("%s: %s %s", target.ScrapeURL, target.Health, target.LastError)
		}
		up[string(target.Labels["job"])]++
	}
	if want := map[string]int{"gateway": 2, "tracker": 2, "processor": 6, "haproxy": 1, "otel": 1,
		"prometheus": 1}; !maps.Equal(up, want) {
		return fmt.Sprintf("%v, want %v", up, want)
	}
	return ""
}

// rules tells what is not evaluated, or not loaded, of the rules.
func rules(ctx context.Context, t *testing.T, p *observe.Prometheus) (missing string) {
	t.Helper()
	_, problems, err := p.EveryRule(ctx)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := p.Rules(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	loaded := map[string]bool{}
	for _, g := range answer.Groups {
		loaded[filepath.Base(g.File)] = true
	}
	there, err := filepath.Glob(filepath.Join(root(t), "deploy/prometheus/rules/*.yml"))
	if err != nil || len(there) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	for _, name := range there {
		if !loaded[filepath.Base(name)] {
			problems = append(problems, name+" is not loaded")
		}
	}
	return strings.Join(problems, "\n")
}

// emptyRow tells of a row of the dashboards none of whose panels shows anything.
func emptyRow(ctx context.Context, t *testing.T, p *observe.Prometheus) (empty string) {
	t.Helper()
	all, err := observe.Read(filepath.Join(root(t), "deploy/grafana/dashboards"))
	if err != nil || len(all) == 0 {
		t.Fatalf("%d dashboards, %v", len(all), err)
	}
	for file, d := range all {
		values, err := p.Values(ctx, d)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if values == nil {
			return file + ": a variable has no values"
		}
		row, shows := "", true
		for _, panel := range append(d.Panels, observe.Panel{Type: "row"}) {
			if panel.Type == "row" {
				if !shows {
					return file + ": " + row
				}
				row, shows = panel.Title, false
				continue
			}
			for _, q := range panel.Targets {
				series, err := p.Ask(ctx, q, values)
				if err != nil {
					t.Fatalf("%s/%s: %v", file, panel.Title, err)
				}
				shows = shows || len(series) > 0
			}
		}
	}
	return ""
}

// query asks for what is now.
func query(ctx context.Context, t *testing.T, p *observe.Prometheus, expr string) model.Vector {
	t.Helper()
	answer, _, _, err := p.Query(ctx, expr, time.Now())
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return answer.(model.Vector)
}

// collectorStarts: the collector takes its file with what the compose file sets by default, too:
// then spans go no further than to its log.
func collectorStarts(t *testing.T, c compose) {
	t.Helper()
	c.env = slices.DeleteFunc(slices.Clone(c.env), func(v string) bool { return strings.HasPrefix(v, "OTEL_") })
	c.must(t, "run", "--rm", "-T", "--no-deps", "otel", "validate", "--config=/etc/otel/collector.yaml")
}
