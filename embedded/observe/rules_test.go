package observe

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const (
	root     = "../.."
	runbooks = "https://github.com/ackwire/ackwire/blob/main/docs/runbooks/"
)

// files lists what a pattern finds under the workspace's root.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: nothing found, %v", pattern, err)
	}
	return found
}

// promtool runs Prometheus's own tool, which is required where ACKWIRE_REQUIRE_PROMETHEUS is 1.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("ACKWIRE_REQUIRE_PROMETHEUS") == "1" {
			t.Fatal("promtool is required, and not there: ", err)
		}
		t.Skip("there is no promtool (Debian: apt-get install prometheus)")
	}
	if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

func TestPromtoolTakesTheRules(t *testing.T) {
	promtool(t, append([]string{"check", "rules"}, files(t, "deploy/prometheus/rules/*.yml")...)...)
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	promtool(t, append([]string{"test", "rules"}, files(t, "deploy/prometheus/tests/*.yml")...)...)
}

// rule is a rule of Prometheus.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

// alerts reads all alerts.
func alerts(t *testing.T) []rule {
	t.Helper()
	var found []rule
	for _, name := range files(t, "deploy/prometheus/rules/*.yml") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Groups []struct{ Rules []rule } }
		if err := yaml.Unmarshal(b, &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, g := range file.Groups {
			for _, r := range g.Rules {
				if r.Alert != "" {
					found = append(found, r)
				}
			}
		}
	}
	return found
}

func TestAlertsSayWhomTheyWakeAndWhy(t *testing.T) {
	tests := map[string]bool{}
	for _, name := range files(t, "deploy/prometheus/tests/*.yml") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range alertName.FindAllString(string(b), -1) {
			tests[word] = true
		}
	}
	index, err := os.ReadFile(filepath.Join(root, "docs/runbooks/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages := files(t, "docs/runbooks/*.md")
	for _, a := range alerts(t) {
		if !alertName.MatchString(a.Alert) {
			t.Errorf("%s: not named Ackwire…", a.Alert)
		}
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		for _, what := range []string{"summary", "description", "runbook_url"} {
			if a.Annotations[what] == "" {
				t.Errorf("%s: no %s", a.Alert, what)
			}
		}
		page := a.Alert + ".md"
		if want := runbooks + page; a.Annotations["runbook_url"] != want {
			t.Errorf("%s: the runbook is %s, want %s", a.Alert, a.Annotations["runbook_url"], want)
		}
		if b, err := os.ReadFile(filepath.Join(root, "docs/runbooks", page)); err != nil ||
			!strings.HasPrefix(string(b), "# "+a.Alert+"\n") {
			t.Errorf("%s has no page: %v", a.Alert, err)
		}
		if _, row, _ := strings.Cut(string(index), "]("+page+") | "); !strings.Contains(strings.SplitN(row, "|", 2)[0],
			a.Labels["severity"]) {
			t.Errorf("%s, %s, is not in docs/runbooks/README.md", a.Alert, a.Labels["severity"])
		}
		pages = slices.DeleteFunc(pages, func(name string) bool { return filepath.Base(name) == page })
		if !tests[a.Alert] {
			t.Errorf("%s: no test in deploy/prometheus/tests", a.Alert)
		}
	}
	for _, name := range pages {
		if filepath.Base(name) != "README.md" {
			t.Errorf("%s: there is no such alert", name)
		}
	}
}
