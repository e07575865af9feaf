package process

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/embedded/observe"
	"github.com/ackwire/ackwire/internal/kafkatest"
)

// showWithin bounds how long panels may take to show something.
const showWithin = 50 * time.Second

// webhookFlags let webhooks go to this machine.
var webhookFlags = []string{"--webhook-schemes", "http", "--webhook-ports", "0", "--webhook-allow", "127.0.0.0/8"}

// TestEveryPanelShowsSomething: each query of each dashboard, and of its variables, is asked of a
// Prometheus that scrapes a running system, one that keeps classic histograms and one that keeps
// native ones; and every rule is evaluated.
func TestEveryPanelShowsSomething(t *testing.T) {
	needPrometheus(t)
	t.Run("in one process", func(t *testing.T) {
		a := addrs(t, 4)
		show(t, map[string][]string{"ackwire": {a[1]}}, func() string {
			start(t, "ackwire", a[1], append(serveArgs(t.TempDir(), a), webhookFlags...)...)
			return "http://" + a[0]
		}, map[string]string{
			"tracker.json/View transaction latency": "the embedded broker compacts no topics, so there is no view",
		})
	})
	t.Run("in several, on a real Kafka", func(t *testing.T) {
		s := newServices(t)
		show(t, s.targets, func() string { s.start(t); return s.url }, nil)
	})
}

// deployed is a gateway, two trackers and a processor on a real Kafka.
type deployed struct {
	url     string
	targets map[string][]string

	brokers   string
	addrs     []string
	trackers  []*proc
	processor *proc
}

func newServices(t *testing.T) *deployed {
	t.Helper()
	c, a := kafkatest.Start(t, 1), addrs(t, 7)
	return &deployed{
		url: "http://" + a[4], brokers: strings.Join(c.Brokers(), ","), addrs: a,
		targets: map[string][]string{"tracker": {a[0], a[1]}, "gateway": {a[2]}, "processor": {a[3]}},
	}
}

func (s *deployed) start(t *testing.T) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "webhook.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := s.addrs
	for i := range 2 {
		s.trackers = append(s.trackers, start(t, "tracker", a[i], "--kafka", s.brokers, "--data", t.TempDir(),
			"--tracker-listen", a[5+i], "--ops-listen", a[i], "--tracker-session-timeout", "6s"))
	}
	start(t, "gateway", a[2], "--kafka", s.brokers, "--listen", a[4], "--ops-listen", a[2], "--anonymous-tenant", "local")
	s.processor = start(t, "processor", a[3], append([]string{"--kafka", s.brokers, "--lanes", "default,reports", "--demo",
		"--ops-listen", a[3], "--webhooks", "--webhook-key-file", key}, webhookFlags...)...)
}

// show starts the system under two servers that scrape it, and wants every panel to show
// something but for those that may be empty, which say why.
func show(t *testing.T, targets map[string][]string, system func() (url string), mayBeEmpty map[string]string) {
	all, err := observe.Read(filepath.Join("..", "..", "deploy", "grafana", "dashboards"))
	if err != nil || len(all) == 0 {
		t.Fatalf("%d dashboards, %v", len(all), err)
	}
	servers := map[string]*prometheus{
		"classic histograms": startPrometheus(t, targets),
		"native histograms":  startPrometheus(t, targets, "--enable-feature=native-histograms"),
	}
	tr := newTraffic(t)
	url := system()
	ctx, cancel := context.WithTimeout(t.Context(), showWithin)
	done := make(chan struct{})
	go func() { defer close(done); tr.run(ctx, url) }()
	defer func() { cancel(); <-done }()

	t.Run("asked", func(t *testing.T) {
		for name, p := range servers {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				asked := everyPanel(ctx, t, p, all, mayBeEmpty)
				if t.Failed() {
					return
				}
				for file, d := range all {
					onlyWhatIsChosen(ctx, t, p, file, d)
				}
				t.Logf("%d queries returned data, %d rules were evaluated", asked, everyRule(ctx, t, p))
			})
		}
	})
}

// question is a query of a panel of a dashboard, in a file.
type question struct {
	file, panel string
	observe.Target
}

// everyPanel asks all queries, again and again, until each has returned something.
func everyPanel(
	ctx context.Context, t *testing.T, p *prometheus, all map[string]observe.Dashboard, mayBeEmpty map[string]string,
) (asked int) {
	t.Helper()
	var open []question
	for file, d := range all {
		for _, panel := range d.Panels {
			for _, q := range panel.Targets {
				if mayBeEmpty[file+"/"+panel.Title] == "" {
					open = append(open, question{file, panel.Title, q})
				}
			}
		}
	}
	asked = len(open)
	tick := time.NewTicker(scrapeEvery)
	defer tick.Stop()
	for {
		values := map[string]map[string][]string{}
		for file, d := range all {
			v, err := p.Values(ctx, d)
			if err != nil && ctx.Err() == nil {
				t.Fatalf("%s: %v", file, err)
			}
			values[file] = v
		}
		open = slices.DeleteFunc(open, func(q question) bool {
			if values[q.file] == nil {
				return false
			}
			series, err := p.Ask(ctx, q.Target, values[q.file])
			if err != nil && ctx.Err() == nil {
				t.Fatalf("%s/%s: %v", q.file, q.panel, err)
			}
			return len(series) > 0
		})
		if len(open) == 0 {
			return asked
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, q := range open {
				t.Errorf("%s/%s: no data within %s for %s", q.file, q.panel, showWithin, observe.Fill(q.Expr, values[q.file]))
			}
			return asked
		}
	}
}

// onlyWhatIsChosen: with one value chosen, series that have the variable's label have no other
// value.
func onlyWhatIsChosen(ctx context.Context, t *testing.T, p *prometheus, file string, d observe.Dashboard) {
	t.Helper()
	values, err := p.Values(ctx, d)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for name, all := range values {
		if name == "datasource" || strings.HasPrefix(name, "__") {
			continue
		}
		chosen := maps.Clone(values)
		chosen[name] = all[:1]
		seen := 0
		for _, panel := range d.Panels {
			for _, q := range panel.Targets {
				if !slices.Contains(observe.Used(q.Expr), name) {
					continue
				}
				series, err := p.Ask(ctx, q, chosen)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("%s/%s: %v", file, panel.Title, err)
					}
					continue
				}
				for _, s := range series {
					for label, value := range s {
						if string(label) == name {
							seen++
							if string(value) != all[0] {
								t.Errorf("%s/%s: %s %s though %s was chosen", file, panel.Title, name, value, all[0])
							}
						}
					}
				}
			}
		}
		if seen == 0 && name != "job" { // panels show whole jobs
			t.Errorf("%s: no panel shows %s", file, name)
		}
	}
}

// everyRule wants each rule to have been evaluated, without an error.
func everyRule(ctx context.Context, t *testing.T, p *prometheus) (evaluated int) {
	t.Helper()
	evaluated, problems, err := p.EveryRule(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
	if evaluated == 0 {
		t.Error("there are no rules")
	}
	return evaluated
}
