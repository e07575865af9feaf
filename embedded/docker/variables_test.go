package docker

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each variable of the compose file is in .env.example, with what it is for and with the
// default that the compose file has; and nothing else is.
func TestVariablesAreDocumented(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	defaults := map[string]string{}
	// A default may hold a colon, and begin with a dash.
	for _, m := range regexp.MustCompile(`\$\{([A-Za-z_]+)(:?-([^}]*))?\}`).FindAllStringSubmatch(
		read("docker-compose.yml"), -1) {
		if old, seen := defaults[m[1]]; seen && old != m[3] {
			t.Errorf("%s has the defaults %q and %q", m[1], old, m[3])
		}
		if m[2] == "" {
			t.Errorf("%s has no default", m[1])
		}
		defaults[m[1]] = m[3]
	}
	if len(defaults) < 10 {
		t.Fatalf("the compose file has %d variables: they are not found", len(defaults))
	}
	comment := false
	for line := range strings.Lines(read(".env.example")) {
		line = strings.TrimSpace(line)
		name, value, assigned := strings.Cut(strings.TrimPrefix(line, "#"), "=")
		switch {
		case strings.HasPrefix(line, "# "):
			comment = true
		case line == "":
			comment = false
		case !assigned:
			t.Errorf("%q is neither a comment nor a variable", line)
		default:
			if want, ok := defaults[name]; !ok || value != want {
				t.Errorf("%s=%s: the compose file has %q (known: %t)", name, value, want, ok)
			}
			if !comment {
				t.Errorf("%s: nothing says what it is for", name)
			}
			delete(defaults, name)
			comment = false
		}
	}
	for name := range defaults {
		t.Errorf("%s is not in .env.example", name)
	}
}
