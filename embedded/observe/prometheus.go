package observe

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Prometheus is a server on which panels' queries are run, for the time range that a dashboard shows.
type Prometheus struct {
	v1.API
	Shown time.Duration // length of the time range, which ends now
	Step  time.Duration // between two points: the interval of scrapes
	Rate  time.Duration // for $__rate_interval: at least four scrapes, as in Grafana
}

// NewPrometheus returns a Prometheus for the server at a URL.
func NewPrometheus(url string, shown, step, rate time.Duration) (*Prometheus, error) {
	client, err := api.NewClient(api.Config{Address: url})
	if err != nil {
		return nil, err
	}
	return &Prometheus{API: v1.NewAPI(client), Shown: shown, Step: step, Rate: rate}, nil
}

// Values returns all values of a dashboard's variables. Each variable's query is run with the values of the variables
// before it. It returns nil while a variable has no value.
func (p *Prometheus) Values(ctx context.Context, d Dashboard) (map[string][]string, error) {
	values := map[string][]string{
		"datasource": {"prometheus"}, "__rate_interval": {p.Rate.String()}, "__interval": {p.Step.String()}, "__range": {
			p.Shown.String()},
	}
	for _, v := range d.Templating.List {
		if v.Type == "datasource" {
			continue
		}
		selector, label, ok := LabelValues(v.Definition)
		if !ok {
			return nil, fmt.Errorf("variable %s: %s", v.Name, v.Definition)
		}
		now := time.Now()
		found, _, _, err := p.LabelValues(ctx, label, []string{Fill(selector, values)}, now.Add(-p.Shown), now)
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

// Ask runs a panel's query and returns the series that have a value other than NaN.
func (p *Prometheus) Ask(ctx context.Context, q Target, values map[string][]string) (series []model.Metric, err error) {
	expr, now := Fill(q.Expr, values), time.Now()
	var answer model.Value
	if q.Instant {
		answer, _, _, err = p.Query(ctx, expr, now)
	} else {
		answer, _, _, err = p.QueryRange(ctx, expr, v1.Range{Start: now.Add(-p.Shown), End: now, Step: p.Step})
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

// EveryRule returns the number of rules, and a problem for each that was not evaluated or had an error.
func (p *Prometheus) EveryRule(ctx context.Context) (count int, problems []string, err error) {
	answer, err := p.Rules(ctx, nil)
	if err != nil {
		return 0, nil, err
	}
	check := func(name string, health v1.RuleHealth, lastError string) {
		count++
		if health != v1.RuleHealthGood {
			problems = append(problems, fmt.Sprintf("rule %s: %s %s", name, health, lastError))
		}
	}
	for _, g := range answer.Groups {
		for _, r := range g.Rules {
			switch r := r.(type) {
			case v1.RecordingRule:
				check(r.Name, r.Health, r.LastError)
			case v1.AlertingRule:
				check(r.Name, r.Health, r.LastError)
			}
		}
	}
	return count, problems, nil
}
