package process

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// judged is a load in which half of the jobs write a text that three clients follow.
const judged = `name: judged
sockets: 12
endsWithin: 2m
deliverWithin: 1m
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

// judge puts load on the Ackwire at url, and returns a channel that is closed when it has ended, and a function that
// waits for its end: loadtest's checker must have found that all promises were kept, also those about what jobs write
// (I9), and that there were faults. durations multiplies how long new jobs are submitted, 20 s.
func judge(t *testing.T, url string, durations int) (ended chan struct{}, verdict func()) {
	t.Helper()
	buildLoadtest(t)
	dir := t.TempDir()
	scenario, out := filepath.Join(dir, "judged.yaml"), filepath.Join(dir, "out")
	if err := os.WriteFile(scenario, []byte(judged), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), filepath.Join(binaries, "loadtest"), "run", scenario, "--url", url,
		"--out", out, "--plain", "--durations", strconv.Itoa(durations))
	printed := &tail{}
	run.Stdout, run.Stderr = printed, printed
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{})
	var failed error
	go func() {
		failed = run.Wait()
		close(ended)
	}()
	return ended, func() {
		t.Helper()
		<-ended
		var report struct {
			Verdict struct {
				Complete                      bool
				Acked, Outputs, Parts, Faults int
			}
		}
		b, err := os.ReadFile(filepath.Join(out, "report.json"))
		if err == nil {
			err = json.Unmarshal(b, &report)
		}
		v := report.Verdict
		if err := errors.Join(failed, err); err != nil || !v.Complete || v.Faults == 0 || v.Outputs < v.Acked ||
			v.Parts < 10*v.Outputs {
			t.Errorf("%+v, %v\n%s", v, err, printed)
		}
		t.Logf("%+v", v)
	}
}

// TestTheCheckerJudgesKills: an Ackwire in one process is killed (SIGKILL) and started again while jobs write, and the
// checker of loadtest judges it. TestStreamsSurviveKills does the same with services on a real Kafka.
func TestTheCheckerJudgesKills(t *testing.T) {
	a := addrs(t, 4)
	p := start(t, "ackwire", a[1], serveArgs(filepath.Join(t.TempDir(), "data"), a)...)
	ended, verdict := judge(t, "http://"+a[0], 1)
	tick := time.NewTicker(7 * time.Second)
	defer tick.Stop()
	for range 2 {
		select {
		case <-tick.C:
		case <-ended:
			verdict()
			t.Fatal("the load ended early")
		}
		p.kill()
		p.start()
		p.waitReady()
	}
	verdict()
}
