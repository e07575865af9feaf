package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/embedded/observe"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/job"
)

// Bounds of what a deployment may take on two cores.
const (
	upTimeout   = 4 * time.Minute
	jobsTimeout = 3 * time.Minute
	downTimeout = time.Minute
)

// compose is the project of one test.
type compose struct {
	argv []string // docker compose, or docker-compose
	command
}

// findCompose prefers Compose v2, as the documentation says; Debian's 1.29 does as well.
func findCompose(t *testing.T) compose {
	t.Helper()
	c := compose{argv: []string{"docker", "compose"}}
	if exec.CommandContext(t.Context(), "docker", "compose", "version").Run() != nil {
		c.argv = []string{"docker-compose"}
	}
	c.env = []string{
		"COMPOSE_PROJECT_NAME=ackwire-test-" + strconv.Itoa(os.Getpid()),
		"KAFKA_HEAP_OPTS=-Xms128m -Xmx320m",
		"ACKWIRE_PORT=", // one that is free
		"PROMETHEUS_PORT=",
		"ACKWIRE_TRACE_ENDPOINT=http://otel:4318", "ACKWIRE_TRACE_RATIO=1",
	}
	return c
}

func (c compose) args(args ...string) (string, []string) {
	return c.argv[0], slices.Concat(c.argv[1:], []string{"--profile", "core", "--profile", "observe"}, args)
}

func (c compose) must(t *testing.T, args ...string) string {
	t.Helper()
	name, all := c.args(args...)
	return c.command.must(t, name, all...)
}

// told is must for commands that also have to print something.
func (c compose) told(t *testing.T, args ...string) string {
	t.Helper()
	name, all := c.args(args...)
	return c.command.told(t, name, all...)
}

// up starts the profiles core and observe, but for Grafana, whose image is only there where one
// can be pulled; and takes them down at the test's end, with all they kept, whatever became of
// the test.
func (c compose) up(t *testing.T) {
	t.Helper()
	dir := root(t)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if t.Failed() {
			name, all := c.args("logs", "--no-color", "--tail=40")
			logs, _, _, _ := c.run(ctx, dir, name, all...)
			name, all = c.args("ps", "-a")
			list, _, _, _ := c.run(ctx, dir, name, all...)
			t.Logf("%s\n%s", list, logs)
		}
		c.down(ctx, t)
	})
	began := time.Now()
	up := c
	up.timeout = upTimeout
	file, err := observe.ReadCompose(filepath.Join(dir, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	services := slices.DeleteFunc(file.Of("core", "observe"), func(s string) bool { return s == "grafana" })
	up.must(t, append([]string{"up", "-d"}, services...)...)
	until(t, "the load balancer is healthy", time.Minute, func() bool {
		return command{}.told(t, "docker", "inspect", "-f", "{{.State.Health.Status}}", c.containers(t, "lb")[0]) == "healthy"
	})
	t.Logf("up after %s", time.Since(began).Round(time.Second))
}

// down removes what was started, with all it kept.
func (c compose) down(ctx context.Context, t *testing.T) {
	t.Helper()
	down := command{env: c.env, timeout: downTimeout}
	name, all := c.args("down", "--volumes", "--remove-orphans", "--timeout=1")
	if _, stderr, code, err := down.run(ctx, root(t), name, all...); code != 0 || err != nil {
		t.Errorf("down: exit code %d, %v\n%s", code, err, stderr)
	}
}

// containers are those of a service that run. There is one at least.
func (c compose) containers(t *testing.T, service string) []string {
	t.Helper()
	return strings.Fields(c.told(t, "ps", "-q", service))
}

// port is this machine's address, host:port, of a service's port.
func (c compose) port(t *testing.T, service, port string) string {
	t.Helper()
	address := c.told(t, "port", service, port)
	if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" || port == "0" {
		t.Fatalf("port %s of %s: %q is no address, %v", port, service, address, err)
	}
	return address
}

// work is what the test submits: all lanes of the demo, quick and slow, some that fail at first.
var work = []struct {
	jobType, payload string
	count            int
}{
	{"demo.sleep", `{"seconds":6,"steps":6}`, 80},
	{"demo.echo", `{"a":1}`, 50},
	{"demo.flaky", `{"failures":1}`, 40},
	{"report.generate", `{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"}`, 30},
}

// TestCompose starts the compose file's services once, all but Grafana, sees that they are
// observed, kills some of them under load, and sees that this is noticed.
func TestCompose(t *testing.T) {
	require(t)
	c, u := findCompose(t), newUpstream(t)
	c.env = append(c.env, "OTEL_EXPORTERS=[debug, otlphttp]", "OTEL_UPSTREAM="+u.url)
	c.up(t)
	token := func(tenant string) string { return c.told(t, "run", "--rm", "-T", "cli", "token", "--tenant="+tenant) }
	url := "http://" + c.port(t, "lb", "8080")
	for _, step := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"is secured", func(t *testing.T) { isSecured(t, c) }},
		{"is observed", func(t *testing.T) { isObserved(t, c, url, token("bob"), u) }},
		{"loses nothing", func(t *testing.T) { losesNothing(t, c, url, token("alice")) }},
		{"tells of the dead", func(t *testing.T) { tellsOfTheDead(t, c) }},
		{"the collector starts by default", func(t *testing.T) { collectorStarts(t, c) }},
	} {
		began := time.Now()
		t.Run(step.name, step.run)
		t.Logf("%s: %s", step.name, time.Since(began).Round(time.Second))
	}
}

// losesNothing submits 200 jobs through the load balancer while a gateway, a tracker and a broker are
// killed; the broker is the coordinator of the trackers' group. All jobs complete, and all can be read
// afterwards.
func losesNothing(t *testing.T, c compose, url, token string) {
	ctx, cancel := context.WithTimeout(t.Context(), jobsTimeout)
	defer cancel()
	gateways, trackers, broker := c.containers(t, "gateway"), c.containers(t, "tracker-1"), c.coordinator(ctx, t)
	if len(gateways) != 2 || len(trackers) != 1 {
		t.Fatalf("%d gateways, trackers-1 %d", len(gateways), len(trackers))
	}

	var clients []*ackwire.Client
	for range 4 { // the least connections: two at each gateway
		client, err := ackwire.Dial(ctx, url, ackwire.WithToken(token), ackwire.WithRetryDial())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		clients = append(clients, client)
	}
	var all []string
	for _, w := range work {
		for range w.count {
			all = append(all, w.jobType+" "+w.payload)
		}
	}
	acked := make(chan string, len(all))
	began := time.Now()
	var wg sync.WaitGroup
	for i, what := range all {
		wg.Go(func() {
			jobType, payload, _ := strings.Cut(what, " ")
			id, err := toEnd(ctx, clients[i%len(clients)], jobType, payload, fmt.Sprint("job-", i), acked)
			if err != nil {
				t.Errorf("job %d, %s %s: %v", i, jobType, id, err)
			}
		})
	}
	ids := map[string]bool{}
	take := func(n int) {
		for len(ids) < n {
			select {
			case id := <-acked:
				ids[id] = true
			case <-ctx.Done():
				t.Fatalf("%d of %d jobs acked", len(ids), len(all))
			}
		}
	}
	take(60)
	killed := []string{gateways[0], trackers[0], broker}
	for _, id := range killed {
		command{}.must(t, "docker", "kill", id)
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	take(len(all))
	t.Logf("%d jobs completed %s after the first was submitted", len(all), time.Since(began).Round(time.Second))

	for _, id := range killed {
		if (command{}).told(t, "docker", "inspect", "-f", "{{.State.Running}}", id) != "false" {
			t.Errorf("%s runs again: the others were not alone", id)
		}
	}
	// The tracker that is left may take partitions over once more, and says so.
	var listed []ackwire.Status
	until(t, "the list of what is completed", time.Minute, func() bool {
		var err error
		listed, err = completed(ctx, clients[0])
		if e, refused := errors.AsType[*ackwire.Error](err); err != nil && !(refused && e.Retryable) {
			t.Fatal(err)
		}
		return err == nil
	})
	for _, s := range listed {
		if !ids[s.JobID] {
			t.Errorf("job %s was never acked", s.JobID)
		}
	}
	if len(listed) != len(all) {
		t.Errorf("%d of %d jobs are in the list of what is completed", len(listed), len(all))
	}
}

// completed lists the tenant's jobs that are.
func completed(ctx context.Context, c *ackwire.Client) (jobs []ackwire.Status, err error) {
	for s, err := range c.All(ctx, ackwire.ListOptions{States: []job.State{job.Completed}}) {
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, s)
	}
	return jobs, nil
}

// toEnd submits one job, again for as long as it is told to try again, says its ID once it is
// acked, and waits for its end.
func toEnd(
	ctx context.Context, c *ackwire.Client, jobType, payload, key string, acked chan<- string,
) (id string, err error) {
	var j *ackwire.Job
	for {
		j, err = c.Submit(ctx, jobType, json.RawMessage(payload), ackwire.Key(key))
		e, refused := errors.AsType[*ackwire.Error](err)
		if err == nil || !refused || !e.Retryable {
			break
		}
		if !pause.For(ctx, max(e.RetryDelay(), 100*time.Millisecond)) {
			return "", ctx.Err()
		}
	}
	if err != nil {
		return "", fmt.Errorf("submit: %w", err)
	}
	acked <- j.ID
	end, err := j.Wait(ctx)
	switch {
	case err != nil:
		return j.ID, fmt.Errorf("wait: %w", err)
	case end.State != job.Completed:
		return j.ID, fmt.Errorf("ended %s: %+v", end.State, end.Error)
	}
	return j.ID, nil
}
