package main

import (
	"fmt"
	"strings"
)

// selector is a list of label matchers, in which the dashboards' variables occur.
type selector string

// Selectors for the variables that dashboards have.
const (
	byJob      selector = `job=~"$job"`
	byInstance selector = `job=~"$job", instance=~"$instance"`
	byLane     selector = `job=~"$job", lane=~"$lane"`
)

// and adds matchers to a selector.
func (s selector) and(more string) selector { return selector(string(s) + ", " + more) }

// of returns the metric with the selector.
func (s selector) of(metric string) string { return metric + "{" + string(s) + "}" }

// rate returns a counter's rate per second.
func (s selector) rate(metric string) string { return "rate(" + s.of(metric) + "[$__rate_interval])" }

// sum returns the sum of a counter's rates, by labels.
func (s selector) sum(metric string, by ...string) string {
	return "sum" + grouped(by) + " (" + s.rate(metric) + ")"
}

// quantile returns a quantile of a histogram, by labels. A Prometheus that stores native histograms has no
// series with the label le, and one that does not has only these: so the query asks for both.
func (s selector) quantile(q float64, histogram string, by ...string) string {
	return fmt.Sprintf("histogram_quantile(%[1]g, %[2]s) or histogram_quantile(%[1]g, %[3]s)",
		q, s.sum(histogram, by...), s.sum(histogram+"_bucket", append(by[:len(by):len(by)], "le")...))
}

// observed returns the rate of a histogram's observations, by labels, for either kind of histogram.
func (s selector) observed(histogram string, by ...string) string {
	return "histogram_count(" + s.sum(histogram, by...) + ") or " + s.sum(histogram+"_count", by...)
}

// grouped returns a by clause, empty without labels.
func grouped(by []string) string {
	if len(by) == 0 {
		return ""
	}
	return " by (" + strings.Join(by, ", ") + ")"
}

// share returns part divided by whole; it has no value while the whole is 0.
func share(part, whole string) string { return part + " / (" + whole + " > 0)" }

// orZero returns expr, or 0 while expr has no value.
func orZero(expr string) string { return "(" + expr + " or vector(0))" }

// known drops NaN, which quantiles without observations are.
func known(expr string) string { return "(" + expr + ") >= 0" }
