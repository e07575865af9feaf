package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// services are the images that make images builds.
var services = []string{"gateway", "tracker", "processor", "ackwire", "loadtest"}

const (
	imageUser    = "65532:65532"
	buildTimeout = 8 * time.Minute
)

// prefix of the images that make images has built.
const prefix = "ackwire/"

// buildAgain builds the images once more, from another place and without what Docker
// remembers, under a prefix that it returns. They are removed at the test's end.
func buildAgain(t *testing.T) string {
	t.Helper()
	again := "ackwire-again-" + strconv.Itoa(os.Getpid()) + "/"
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, s := range services {
			_, _, _, _ = command{}.run(ctx, ".", "docker", "image", "rm", again+s+":latest")
		}
	})
	command{
		env:     []string{"ACKWIRE_IMAGE_PREFIX=" + again, "ACKWIRE_NO_CACHE=1", "TMPDIR=" + t.TempDir()},
		timeout: buildTimeout,
	}.must(t, "deploy/images/build.sh")
	return again
}

type inspected struct {
	Config struct {
		User        string
		Labels      map[string]string
		Healthcheck *struct{ Test []string }
	}
	RootFS struct{ Layers []string }
}

func inspect(t *testing.T, image string) inspected {
	t.Helper()
	var all []inspected
	if err := json.Unmarshal([]byte(command{}.must(t, "docker", "image", "inspect", image)), &all); err != nil ||
		len(all) != 1 {
		t.Fatalf("%s: %d images, %v", image, len(all), err)
	}
	return all[0]
}

// Two builds from two places make the same layers, and each image is what it should be.
func TestImages(t *testing.T) {
	require(t)
	again := buildAgain(t)
	for _, s := range services {
		image := prefix + s + ":latest"
		a, b := inspect(t, image), inspect(t, again+s+":latest")
		revision := a.Config.Labels["org.opencontainers.image.revision"]
		if other := b.Config.Labels["org.opencontainers.image.revision"]; other != revision {
			t.Fatalf("%s: the source changed from %s to %s: make images", s, revision, other)
		}
		if len(a.RootFS.Layers) != 1 || fmt.Sprint(a.RootFS.Layers) != fmt.Sprint(b.RootFS.Layers) {
			t.Errorf("%s: two builds, layers %s and %s", s, a.RootFS.Layers, b.RootFS.Layers)
		}
		if a.Config.User != imageUser {
			t.Errorf("%s runs as %q", s, a.Config.User)
		}
		if runs := s != "loadtest"; runs != (a.Config.Healthcheck != nil) {
			t.Errorf("%s: health check %v", s, a.Config.Healthcheck)
		}
		out := command{}.must(t, "docker", "run", "--rm", "--read-only", "--network=none", "--cap-drop=ALL", image,
			"--version")
		if revision == "" || !strings.HasPrefix(out, s+" "+a.Config.Labels["org.opencontainers.image.version"]+" (revision "+
			revision+", go") {
			t.Errorf("%s: --version says %q, the label's revision is %q", s, out, revision)
		}
		hasLicences(t, image)
	}
	allInOne(t, prefix+"ackwire:latest")
}

// hasLicences looks for the licences of all that an image holds.
func hasLicences(t *testing.T, image string) {
	t.Helper()
	id := command{}.told(t, "docker", "create", image)
	defer command{}.must(t, "docker", "rm", id)
	dir := t.TempDir()
	command{}.must(t, "docker", "cp", id+":/licenses", dir)
	for name, source := range map[string]string{"LICENSE": "LICENSE", "LICENSES.txt": "deploy/images/LICENSES.txt"} {
		want, err := os.ReadFile(filepath.Join(root(t), source))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "licenses", name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: /licenses/%s is not %s: %v", image, name, source, err)
		}
	}
}

// allInOne starts the whole system from its image on a read-only root, finds it healthy by
// the image's own check, and runs a job with the image's own client.
func allInOne(t *testing.T, image string) {
	t.Helper()
	id := command{}.told(t, "docker", "run", "-d", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges",
		"-v", "/data", image)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if t.Failed() {
			_, log, _, _ := command{}.run(ctx, ".", "docker", "logs", "--tail=50", id)
			t.Log(log)
		}
		if _, stderr, code, err := (command{}).run(ctx, ".", "docker", "rm", "-f", "-v", id); code != 0 || err != nil {
			t.Errorf("remove the container: %s, %v", stderr, err)
		}
	})
	until(t, "healthy", time.Minute, func() bool {
		return command{}.told(t, "docker", "inspect", "-f", "{{.State.Health.Status}}", id) == "healthy"
	})
	token := command{}.told(t, "docker", "exec", id, "/ackwire", "token", "--tenant=alice")
	out := command{}.must(t, "docker", "exec", "-e", "ACKWIRE_TOKEN="+token, id, "/ackwire", "submit", "report.generate",
		`{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"}`)
	var result struct{ Rows int }
	if err := json.Unmarshal([]byte(out), &result); err != nil || result.Rows != 31 {
		t.Errorf("the job's result: %s, %v", out, err)
	}
	if stdout, stderr, code, err := (command{}).run(t.Context(), ".", "docker", "exec", id, "/ackwire", "serve",
		"--health"); code != 0 || err != nil {
		t.Errorf("health from within: exit code %d, %s %s %v", code, stdout, stderr, err)
	}
}
