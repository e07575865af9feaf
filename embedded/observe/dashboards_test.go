package observe

import (
	"path/filepath"
	"regexp"
	"testing"
)

var (
	alertName = regexp.MustCompile(`\bAckwire[A-Z]\w+`)
	// Names that Grafana itself fills in.
	builtIn = map[string]bool{"__rate_interval": true, "__interval": true, "__range": true, "__all": true}
	// franz-go's buffered records are gauges in spite of their names.
	rateOfGauge = regexp.MustCompile(`(rate|increase)\(\w*buffered_\w+_total`)
)

func TestDashboardsAreWhole(t *testing.T) {
	all, err := Read(filepath.Join(root, "deploy/grafana/dashboards"))
	if err != nil || len(all) != 5 {
		t.Fatalf("%d dashboards, %v", len(all), err)
	}
	uids := map[string]string{}
	for name, d := range all {
		t.Run(name, func(t *testing.T) {
			if d.SchemaVersion < 42 || d.UID == "" || d.Title == "" || d.Description == "" {
				t.Errorf("schema %d, uid %q, title %q, description %q", d.SchemaVersion, d.UID, d.Title, d.Description)
			}
			if other := uids[d.UID]; other != "" {
				t.Errorf("%s has this uid, too", other)
			}
			uids[d.UID] = name
			known := map[string]bool{}
			for _, v := range d.Templating.List {
				wantVariables(t, "variable "+v.Name, v.Definition, known)
				known[v.Name] = true
			}
			if !known["datasource"] || !known["job"] {
				t.Errorf("variables %v", known)
			}
			ids, cells := map[int]string{}, map[[2]int]string{}
			for _, p := range d.Panels {
				if other := ids[p.ID]; p.ID == 0 || other != "" {
					t.Errorf("%s: id %d, as %q", p.Title, p.ID, other)
				}
				ids[p.ID] = p.Title
				for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
					for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
						if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
							t.Fatalf("%s overlaps %q at %d, %d", p.Title, other, x, y)
						}
						cells[[2]int{x, y}] = p.Title
					}
				}
				if p.Type == "row" {
					continue
				}
				if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" ||
					p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
					t.Errorf("%s: description %q, unit %q, data source %q, %d queries", p.Title, p.Description,
						p.FieldConfig.Defaults.Unit, p.Datasource.UID, len(p.Targets))
				}
				for _, q := range p.Targets {
					wantVariables(t, p.Title, q.Expr, known)
					if rateOfGauge.MatchString(q.Expr) {
						t.Errorf("%s: the rate of a gauge: %s", p.Title, q.Expr)
					}
				}
			}
		})
	}
}

// wantVariables wants every variable of a query to be known.
func wantVariables(t *testing.T, where, query string, known map[string]bool) {
	t.Helper()
	for _, name := range Used(query) {
		if !known[name] && !builtIn[name] {
			t.Errorf("%s: no variable %s: %s", where, name, query)
		}
	}
}

func TestFill(t *testing.T) {
	for _, row := range []struct {
		query string
		with  map[string][]string
		want  string
	}{
		{`x{job=~"$job"}`, map[string][]string{"job": {"a"}}, `x{job=~"a"}`},
		{
			`x{job=~"$job", lane=~"${lane}"}`, map[string][]string{"job": {"a", "b"}, "lane": {"c"}},
			`x{job=~"(a|b)", lane=~"c"}`,
		},
		{`x{instance=~"$instance"}`, map[string][]string{"instance": {"127.0.0.1:1"}}, `x{instance=~"127\\.0\\.0\\.1:1"}`},
		{`rate(x[$__rate_interval])`, map[string][]string{"__rate_interval": {"10s"}}, `rate(x[10s])`},
		{`x{a=~"$a"}`, nil, `x{a=~"$a"}`},
	} {
		if got := Fill(row.query, row.with); got != row.want {
			t.Errorf("%s with %v is %s, want %s", row.query, row.with, got, row.want)
		}
	}
}
