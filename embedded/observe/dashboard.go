// Package observe reads the dashboards of deploy/grafana and the compose file, for tests. It fills in a dashboard's
// variables as Grafana does. Its own tests check the form of dashboards, alerts, runbooks and Grafana's provisioning;
// tests of embedded/process and embedded/docker run the queries against a Prometheus.
package observe

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Dashboard has the parts of a dashboard's file that tests need.
type Dashboard struct {
	UID, Title, Description string
	SchemaVersion           int
	Templating              struct{ List []Variable }
	Panels                  []Panel
}

// Variable is a variable of a dashboard, to which queries refer by its name.
type Variable struct {
	Name, Type, Definition string
	Query                  any // for a variable of type datasource: the type of data source
}

// Panel is a panel, or a row's title.
type Panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []Target
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Datasource               struct{ UID string }
}

// Target is a query of a panel, over a time range or, if Instant, for now.
type Target struct {
	Expr, RefID string
	Instant     bool
}

// Read reads all dashboards of a folder, by file name.
func Read(dir string) (map[string]Dashboard, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	found := map[string]Dashboard{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var d Dashboard
		if err := json.Unmarshal(b, &d); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		found[filepath.Base(name)] = d
	}
	return found, nil
}

var (
	variable    = regexp.MustCompile(`\$\{?(\w+)\}?`)
	labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
)

// Used lists the variables of a query.
func Used(query string) []string {
	var names []string
	for _, m := range variable.FindAllStringSubmatch(query, -1) {
		names = append(names, m[1])
	}
	return names
}

// Fill replaces variables by their values, several as alternatives of a regular expression, as Grafana does. A variable
// without a value is not replaced.
func Fill(query string, values map[string][]string) string {
	return variable.ReplaceAllStringFunc(query, func(used string) string {
		chosen, ok := values[variable.FindStringSubmatch(used)[1]]
		switch {
		case !ok:
			return used
		case len(chosen) == 1 && strings.HasPrefix(used, "$__"): // a duration
			return chosen[0]
		}
		escaped := make([]string, len(chosen))
		for i, v := range chosen {
			escaped[i] = strings.ReplaceAll(regexp.QuoteMeta(v), `\`, `\\`)
		}
		if len(escaped) == 1 {
			return escaped[0]
		}
		return "(" + strings.Join(escaped, "|") + ")"
	})
}

// LabelValues returns the parts of a variable's query label_values(selector, label).
func LabelValues(query string) (selector, label string, ok bool) {
	m := labelValues.FindStringSubmatch(query)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}
