package main

import (
	"errors"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

const (
	tag       = "ackwire" // of all dashboards: the links between them find them by it
	gridWidth = 24
)

// source is the data source that the variable of the same name chooses.
var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

// board is a dashboard under construction. It has Grafana's classic schema and not v2, for every version of
// Grafana can provision the classic one from files. Panels are placed from left to right in lines of gridWidth
// columns.
type board struct {
	name    string // of the file; the dashboard's uid is the tag and the name
	builder *dashboard.DashboardBuilder
	nextID  uint32
	width   uint32 // columns that are taken in the current line
	errs    []error
}

func newBoard(name, title, description string, variables ...cog.Builder[dashboard.VariableModel]) *board {
	b := &board{name: name, nextID: 1}
	b.builder = dashboard.NewDashboardBuilder("Ackwire / "+title).
		Uid(tag+"-"+name).
		Description(description).
		Tags([]string{tag}).
		Refresh("30s").
		Time("now-1h", "now").
		Timezone("browser").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("Ackwire").
			Type(dashboard.DashboardLinkTypeDashboards).
			Tags([]string{tag}).
			KeepTime(true).
			IncludeVars(true)).
		Annotation(dashboard.NewAnnotationQueryBuilder().
			Name("Alerts").
			Datasource(source).
			Enable(true).
			IconColor("red").
			Expr(`ALERTS{alertname=~"Ackwire.+", alertstate="firing"}`).
			Step("30s").
			TitleFormat("{{alertname}}").
			TextFormat("{{severity}} {{lane}}{{instance}}")).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus"))
	for _, v := range variables {
		b.builder = b.builder.WithVariable(v)
	}
	return b
}

// variable returns a dashboard variable for several values of a label of a metric; at first all are chosen.
// Grafana replaces "all" by all values that the metric has, so all jobs means all jobs that are Ackwire's.
func variable(name, label, metric string) *dashboard.QueryVariableBuilder {
	query := fmt.Sprintf("label_values(%s, %s)", metric, name)
	return dashboard.NewQueryVariableBuilder(name).
		Label(label).
		Datasource(source).
		Definition(query).
		Query(dashboard.StringOrMap{Map: map[string]any{"query": query, "refId": "Variable-" + name}}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortAlphabeticalAsc).
		Multi(true).
		IncludeAll(true).
		Current(dashboard.VariableOption{
			Text:  dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
			Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
		})
}

// row begins a row of panels with a title.
func (b *board) row(title string) {
	b.endLine()
	b.builder = b.builder.WithRow(dashboard.NewRowBuilder(title).Id(b.id()))
}

// panel has the methods that the builders of all kinds of panels share.
type panel[T any] interface {
	cog.Builder[dashboard.Panel]
	Id(uint32) T
	Span(uint32) T
}

// add places a panel, width columns wide, to the right of the last one.
func add[T panel[T]](b *board, width uint32, p T) {
	p.Id(b.id()) // changes p itself
	p.Span(width)
	if b.width+width > gridWidth {
		b.errs = append(b.errs, errors.New("a line of panels is wider than the grid"))
	}
	b.width = (b.width + width) % gridWidth
	b.builder = b.builder.WithPanel(p)
}

func (b *board) endLine() {
	if b.width != 0 {
		b.errs = append(b.errs, fmt.Errorf("a line ends after %d columns", b.width))
	}
}

func (b *board) id() uint32 {
	id := b.nextID
	b.nextID++
	return id
}

func (b *board) build() (dashboard.Dashboard, error) {
	b.endLine()
	if err := errors.Join(b.errs...); err != nil {
		return dashboard.Dashboard{}, err
	}
	return b.builder.Build()
}

// query is one target of a panel.
type query struct {
	expr   string
	legend string // with {{label}}; the name of a column in a table
}

func target(i int, q query) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().
		RefId(string(rune('A' + i))).
		Datasource(source).
		EditorMode(prometheus.QueryEditorModeCode).
		Expr(q.expr).
		LegendFormat(q.legend)
}
