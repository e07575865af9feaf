package process

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/embedded/observe"
)

const (
	scrapeEvery = time.Second
	rateOver    = 10 * time.Second // what Grafana would put for $__rate_interval, or a bit more
	shown       = time.Minute      // the dashboard's time
)

// raw is a payload as it is.
func raw(payload string) json.RawMessage { return json.RawMessage(payload) }

// prometheus is a server of its own that scrapes targets, given by job.
type prometheus struct {
	*observe.Prometheus
	url string
}

// needPrometheus skips the test where there is none, unless it is required.
func needPrometheus(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		if os.Getenv("ACKWIRE_REQUIRE_PROMETHEUS") == "1" {
			t.Fatal("prometheus is required, and not there: ", err)
		}
		t.Skip("there is no prometheus (Debian: apt-get install prometheus)")
	}
}

func startPrometheus(t *testing.T, targets map[string][]string, options ...string) *prometheus {
	t.Helper()
	needPrometheus(t)
	rules, err := filepath.Abs(filepath.Join("..", "..", "deploy", "prometheus", "rules"))
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: %s, evaluation_interval: %s}\nrule_files: "+
		"['%s/*.yml']\nscrape_configs:\n", scrapeEvery, scrapeEvery, rules)
	for job, addresses := range targets {
		config += fmt.Sprintf("  - {job_name: %s, static_configs: [{targets: ['%s']}]}\n", job,
			strings.Join(addresses, "', '"))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	at := addrs(t, 1)[0]
	p := &proc{t: t, name: "prometheus", log: &tail{}}
	p.cmd = exec.Command("prometheus",
		append([]string{"--config.file", file, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", at,
			"--log.level", "warn"}, options...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("prometheus printed at last:\n%s", p.log)
		}
	})
	url := "http://" + at
	within(t, startWithin, "prometheus is ready", func() bool {
		resp, err := http.Get(url + "/-/ready")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	client, err := observe.NewPrometheus(url, shown, scrapeEvery, rateOver)
	if err != nil {
		t.Fatal(err)
	}
	return &prometheus{Prometheus: client, url: url}
}
