package docs

import (
	"os"
	"regexp"
	"testing"
)

// TestLicencesOfOtherImages: docs/deploy.md names the licence of each image of another project that the compose file
// runs, in the version that it runs, and of no other.
func TestLicencesOfOtherImages(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	runs := map[string]bool{}
	lines := regexp.MustCompile(`(?m)^\s+image: (.*)$`).FindAllStringSubmatch(read("docker-compose.yml"), -1)
	ours := regexp.MustCompile(`^\$\{ACKWIRE_IMAGE_PREFIX:-ackwire/\}`)
	theirs := regexp.MustCompile(`^\$\{[A-Z]+_IMAGE:-(\S+)\}$`)
	for _, line := range lines {
		m := theirs.FindStringSubmatch(line[1])
		switch {
		case m != nil:
			runs[m[1]] = true
		case !ours.MatchString(line[1]):
			t.Errorf("image: %s is neither ours nor named by a variable", line[1])
		}
	}
	if len(runs) < 5 {
		t.Fatalf("the compose file runs %d images of others: they are not found", len(runs))
	}
	told := map[string]bool{}
	row := regexp.MustCompile("(?m)^\\| `([a-z/-]+:[a-z0-9.-]+)` \\| [^|]+ \\| \\[[A-Za-z]+-[0-9.]+\\S*\\]\\(https://[^)]+\\)")
	for _, m := range row.FindAllStringSubmatch(read("docs/deploy.md"), -1) {
		told[m[1]] = true
		if !runs[m[1]] {
			t.Errorf("docs/deploy.md tells the licence of %s, which the compose file does not run", m[1])
		}
	}
	for image := range runs {
		if !told[image] {
			t.Errorf("docs/deploy.md does not tell the licence of %s", image)
		}
	}
}
