package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// Heights of panels on the grid.
const (
	statHeight  = 4
	graphHeight = 8
)

// graph returns a panel with time series.
func graph(title, description, unit string, queries ...query) *timeseries.PanelBuilder {
	p := timeseries.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(source).
		Unit(unit).
		Min(0).
		LineWidth(1).
		FillOpacity(8).
		ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().
			DisplayMode(common.LegendDisplayModeList).
			Placement(common.LegendPlacementBottom).
			ShowLegend(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().
			Mode(common.TooltipDisplayModeMulti).
			Sort(common.SortOrderDescending)).
		Height(graphHeight)
	for i, q := range queries {
		p = p.WithTarget(target(i, q).Range())
	}
	return p
}

// stacked returns a graph whose series are stacked, for parts of a whole.
func stacked(title, description, unit string, queries ...query) *timeseries.PanelBuilder {
	return graph(title, description, unit, queries...).
		FillOpacity(40).
		Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
}

// warnAt has the values at which a figure turns orange and red. falls is for figures for which lower is worse.
type warnAt struct {
	orange, red float64
	falls       bool
}

func (w warnAt) steps() cog.Builder[dashboard.ThresholdsConfig] {
	steps := []dashboard.Threshold{{Color: "green"}, {Value: &w.orange, Color: "orange"}, {Value: &w.red, Color: "red"}}
	if w.falls {
		steps = []dashboard.Threshold{{Color: "red"}, {Value: &w.red, Color: "orange"}, {Value: &w.orange, Color: "green"}}
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}

// figure returns a panel with the current value as one number, coloured by thresholds, and its recent course.
func figure(title, description, unit string, warn warnAt, q query) *stat.PanelBuilder {
	return stat.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(source).
		Unit(unit).
		NoValue("–").
		Thresholds(warn.steps()).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)).
		ColorMode(common.BigValueColorModeValue).
		GraphMode(common.BigValueGraphModeArea).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		Height(statHeight).
		WithTarget(target(0, q).Range())
}

// column is a column of a table: a query, and the format of its values.
type column struct {
	query
	unit string
	warn *warnAt
}

// rows returns a table with one row for each value of label, and one column for each query.
func rows(title, description, label string, columns ...column) *table.PanelBuilder {
	p := table.NewPanelBuilder().
		Title(title).
		Description(description).
		Datasource(source).
		Unit(units.Short).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)).
		Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps([]dashboard.Threshold{
			{Color: "text"}})).
		Height(graphHeight)
	rename := map[string]string{}
	for i, c := range columns {
		p = p.WithTarget(target(i, c.query).Instant().Format(prometheus.PromQueryFormatTable))
		rename["Value #"+string(rune('A'+i))] = c.legend
		properties := []dashboard.DynamicConfigValue{{Id: "unit", Value: c.unit}}
		if c.warn != nil {
			steps, _ := c.warn.steps().Build() // has no errors
			properties = append(properties,
				dashboard.DynamicConfigValue{Id: "thresholds", Value: steps},
				dashboard.DynamicConfigValue{Id: "custom.cellOptions", Value: map[string]string{"type": "color-text"}})
		}
		p = p.OverrideByName(c.legend, properties)
	}
	if len(columns) == 1 { // Grafana does not number the value of a single query
		rename["Value"] = columns[0].legend
	}
	return p.
		WithTransformation(dashboard.DataTransformerConfig{Id: "joinByField", Options: map[string]any{"byField": label,
			"mode": "outer"}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "filterFieldsByName",
			Options: map[string]any{"include": map[string]any{"pattern": "^(" + label + "|Value.*)$"}}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{"renameByName": rename}})
}
