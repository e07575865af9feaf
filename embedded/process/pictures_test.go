package process

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// How long the system works before its dashboards are drawn, and when something happens to it.
const (
	pictured       = 3 * time.Minute
	workerDies     = 50 * time.Second
	trackerRestart = 100 * time.Second
)

// TestPicturesOfTheDashboards draws the dashboards for the documentation, into the folder that
// ACKWIRE_PICTURES names: `make dashboard-pictures`. A worker dies and comes back, and then one
// of two trackers, so that there is something to see.
func TestPicturesOfTheDashboards(t *testing.T) {
	out := os.Getenv("ACKWIRE_PICTURES")
	if out == "" {
		t.Skip("ACKWIRE_PICTURES names no folder")
	}
	s := newServices(t)
	p := startPrometheus(t, s.targets)
	tr := newTraffic(t)
	s.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), pictured)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); tr.run(ctx, s.url) }()
	for _, fault := range []struct {
		after time.Duration
		who   *proc
	}{{workerDies, s.processor}, {trackerRestart - workerDies, s.trackers[1]}} {
		<-time.After(fault.after)
		fault.who.kill()
		<-time.After(15 * time.Second)
		fault.who.start()
	}
	<-done
	cmd := exec.CommandContext(t.Context(), "go", "run", "./dashboards/picture", "-prometheus", p.url, "-out", out,
		"-for", pictured.String())
	cmd.Dir = filepath.Join("..", "..", "internal", "tools")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	printed, err := cmd.CombinedOutput()
	t.Logf("%s", printed)
	if err != nil {
		t.Fatal(err)
	}
}
