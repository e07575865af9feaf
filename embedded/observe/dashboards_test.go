package observe

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var (
	alertName = regexp.MustCompile(`\bAckwire[A-Z]\w+`)
	used      = regexp.MustCompile(`\$\{?(\w+)`)
	// Names that Grafana itself fills in.
	builtIn = map[string]bool{"__rate_interval": true, "__interval": true, "__range": true, "__all": true}
	// franz-go's buffered records are gauges in spite of their names.
	rateOfGauge = regexp.MustCompile(`(rate|increase)\(\w*buffered_\w+_total`)
)

// dashboard is what these tests read of a dashboard.
type dashboard struct {
	UID, Title, Description string
	SchemaVersion           int
	Templating              struct {
		List []struct {
			Name, Type, Definition string
		}
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ Expr, RefID string }
		FieldConfig              struct{ Defaults struct{ Unit string } }
		Datasource               struct{ UID string }
	}
}

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	found := map[string]dashboard{}
	for _, name := range files(t, "deploy/grafana/dashboards/*.json") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		found[filepath.Base(name)] = d
	}
	return found
}

func TestDashboardsAreWhole(t *testing.T) {
	uids := map[string]string{}
	for name, d := range dashboards(t) {
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
				if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
					t.Errorf("%s: description %q, unit %q, data source %q, %d queries", p.Title, p.Description, p.FieldConfig.Defaults.Unit, p.Datasource.UID, len(p.Targets))
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
	for _, m := range used.FindAllStringSubmatch(query, -1) {
		if !known[m[1]] && !builtIn[m[1]] {
			t.Errorf("%s: no variable %s: %s", where, m[1], query)
		}
	}
}
