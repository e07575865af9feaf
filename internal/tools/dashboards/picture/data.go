package main

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// dashboard has the parts of a dashboard's file that are drawn.
type dashboard struct {
	Title  string
	Panels []panel
}

type panel struct {
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ Expr, LegendFormat string }
	FieldConfig struct {
		Defaults  field
		Overrides []struct {
			Matcher    struct{ Options string }
			Properties []struct {
				ID    string
				Value any
			}
		}
	}
	Transformations []struct {
		ID      string
		Options struct{ ByField string }
	}
}

type field struct {
	Unit       string
	Decimals   *float64
	NoValue    string
	Thresholds struct{ Steps []step }
	Custom     struct{ Stacking struct{ Mode string } }
}

type step struct {
	Value *float64
	Color string
}

// source is a Prometheus server and the time range to show.
type source struct {
	api      v1.API
	from, to time.Time
	step     time.Duration
	fill     *strings.Replacer
}

// line is one series with its name in the legend; missing values are NaN.
type line struct {
	name   string
	values []float64
}

var legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)

// lines runs a panel's queries over the time range.
func (s source) lines(ctx context.Context, p panel) ([]line, error) {
	var found []line
	for _, q := range p.Targets {
		answer, _, err := s.queryRange(ctx, q.Expr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Title, err)
		}
		for _, series := range answer {
			l := line{name: legendLabel.ReplaceAllStringFunc(q.LegendFormat, func(m string) string {
				return string(series.Metric[model.LabelName(legendLabel.FindStringSubmatch(m)[1])])
			}), values: make([]float64, int(s.to.Sub(s.from)/s.step)+1)}
			for i := range l.values {
				l.values[i] = math.NaN()
			}
			for _, v := range series.Values {
				if i := int(math.Round(float64(v.Timestamp.Time().Sub(s.from)) / float64(s.step))); i >= 0 && i < len(l.values) {
					l.values[i] = float64(v.Value)
				}
			}
			found = append(found, l)
		}
	}
	slices.SortStableFunc(found, func(a, b line) int { return strings.Compare(a.name, b.name) })
	return found, nil
}

func (s source) queryRange(ctx context.Context, expr string) (model.Matrix, v1.Warnings, error) {
	answer, _, _, err := s.api.QueryRange(ctx, s.fill.Replace(expr), v1.Range{Start: s.from, End: s.to, Step: s.step})
	if err != nil {
		return nil, nil, err
	}
	matrix, ok := answer.(model.Matrix)
	if !ok {
		return nil, nil, fmt.Errorf("a %s", answer.Type())
	}
	return matrix, nil, nil
}

// cells runs a table's queries for the end of the time range: a row for each value of the table's label, a column
// for each query.
func (s source) cells(
	ctx context.Context, p panel,
) (label string, rows []string, cells map[string][]float64, err error) {
	label = p.Transformations[0].Options.ByField
	cells = map[string][]float64{}
	for column, q := range p.Targets {
		answer, _, _, err := s.api.Query(ctx, s.fill.Replace(q.Expr), s.to)
		if err != nil {
			return "", nil, nil, fmt.Errorf("%s: %w", p.Title, err)
		}
		vector, ok := answer.(model.Vector)
		if !ok {
			return "", nil, nil, fmt.Errorf("%s: a %s", p.Title, answer.Type())
		}
		for _, sample := range vector {
			row := string(sample.Metric[model.LabelName(label)])
			if cells[row] == nil {
				rows = append(rows, row)
				cells[row] = slices.Repeat([]float64{math.NaN()}, len(p.Targets))
			}
			cells[row][column] = float64(sample.Value)
		}
	}
	slices.Sort(rows)
	return label, rows, cells, nil
}

// column returns the format of a table's column.
func (p panel) column(name string) field {
	f := field{Unit: p.FieldConfig.Defaults.Unit}
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.Options != name {
			continue
		}
		for _, property := range o.Properties {
			switch property.ID {
			case "unit":
				f.Unit, _ = property.Value.(string)
			case "thresholds":
				f.Thresholds.Steps = steps(property.Value)
			}
		}
	}
	return f
}

func steps(value any) (found []step) {
	thresholds, _ := value.(map[string]any)
	list, _ := thresholds["steps"].([]any)
	for _, one := range list {
		fields, _ := one.(map[string]any)
		s := step{}
		s.Color, _ = fields["color"].(string)
		if v, ok := fields["value"].(float64); ok {
			s.Value = &v
		}
		found = append(found, s)
	}
	return found
}
