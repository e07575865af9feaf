package main

import (
	"fmt"
	"strings"
)

// selector is what a query takes of a metric: the dashboards' variables, and more.
type selector string

// Selectors by the variables that a dashboard has.
const (
	byJob      selector = `job=~"$job"`
	byInstance selector = `job=~"$job", instance=~"$instance"`
	byLane     selector = `job=~"$job", lane=~"$lane"`
)

// and narrows a selector.
func (s selector) and(more string) selector { return selector(string(s) + ", " + more) }

// of is the metric under the selector.
func (s selector) of(metric string) string { return metric + "{" + string(s) + "}" }

// rate is a counter's rate per second.
func (s selector) rate(metric string) string { return "rate(" + s.of(metric) + "[$__rate_interval])" }

// sum adds a counter's rates up, by labels.
func (s selector) sum(metric string, by ...string) string {
	return "sum" + grouped(by) + " (" + s.rate(metric) + ")"
}

// quantile is a quantile of a histogram, by labels. A Prometheus that keeps native histograms has
// no series by le, one that does not has nothing but them: the query asks for both.
func (s selector) quantile(q float64, histogram string, by ...string) string {
	return fmt.Sprintf("histogram_quantile(%[1]g, %[2]s) or histogram_quantile(%[1]g, %[3]s)",
		q, s.sum(histogram, by...), s.sum(histogram+"_bucket", append(by[:len(by):len(by)], "le")...))
}

// observed is how often a histogram was observed per second, by labels; of either kind.
func (s selector) observed(histogram string, by ...string) string {
	return "histogram_count(" + s.sum(histogram, by...) + ") or " + s.sum(histogram+"_count", by...)
}

// grouped is a by-clause, empty without labels.
func grouped(by []string) string {
	if len(by) == 0 {
		return ""
	}
	return " by (" + strings.Join(by, ", ") + ")"
}

// share is a part of a whole; there is none where the whole is nothing.
func share(part, whole string) string { return part + " / (" + whole + " > 0)" }

// orZero is 0 where nothing was ever counted.
func orZero(expr string) string { return "(" + expr + " or vector(0))" }

// known drops what is not a number: quantiles of nothing.
func known(expr string) string { return "(" + expr + ") >= 0" }
