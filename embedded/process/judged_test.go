package process

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// judged is a load in which half of the jobs write a text that three clients follow.
const judged = `name: judged
sockets: 12
endsWithin: 2m
deliverWithin: 30s
jobs:
  - {name: writing, job: demo.write, payload: {words: 150, rate: 30}, key: true, watchers: 2, output: 100%,
     ends: completed}
  - {name: running, job: demo.sleep, payload: {seconds: 2, steps: 4}, key: true, ends: completed}
phases:
  - {name: killed, duration: 20s, rate: 4}
`

// buildLoadtest builds the command loadtest beside the others.
func buildLoadtest(t *testing.T) {
	t.Helper()
	build := exec.Command("go", "build", "-o", filepath.Join(binaries, "loadtest"), "./loadtest/cmd/loadtest")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build loadtest: %v\n%s", err, out)
	}
}

// TestTheCheckerJudgesKills puts load on an Ackwire that is killed (SIGKILL) and started again while jobs write: the
// checker of loadtest finds that all promises were kept, also those about what jobs write (I9).
func TestTheCheckerJudgesKills(t *testing.T) {
	buildLoadtest(t)
	a, dir := addrs(t, 4), t.TempDir()
	p := start(t, "ackwire", a[1], serveArgs(filepath.Join(dir, "data"), a)...)
	scenario, out := filepath.Join(dir, "judged.yaml"), filepath.Join(dir, "out")
	if err := os.WriteFile(scenario, []byte(judged), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), filepath.Join(binaries, "loadtest"), "run", scenario, "--url", "http://"+a[0],
		"--out", out, "--plain")
	printed := &tail{}
	run.Stdout, run.Stderr = printed, printed
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	tick := time.NewTicker(7 * time.Second)
	defer tick.Stop()
	for range 2 {
		select {
		case <-tick.C:
		case err := <-ended:
			t.Fatalf("the load ended early: %v\n%s", err, printed)
		}
		p.kill()
		p.start()
		p.waitReady()
	}
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	var report struct {
		Verdict struct {
			Complete bool
			Acked    int
			Outputs  int
			Parts    int
			Faults   int
		}
	}
	b, err := os.ReadFile(filepath.Join(out, "report.json"))
	if err == nil {
		err = json.Unmarshal(b, &report)
	}
	v := report.Verdict
	if err != nil || !v.Complete || v.Faults == 0 || v.Outputs < v.Acked || v.Parts < 10*v.Outputs {
		t.Errorf("%+v, %v\n%s", v, err, printed)
	}
	t.Logf("%+v", v)
}
