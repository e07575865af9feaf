package observe

import (
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Compose is what matters of a compose file.
type Compose struct{ Services map[string]Service }

// Service is a service of it.
type Service struct {
	Image       string
	Profiles    []string
	Command     any
	Environment map[string]string
	Ports       []string
	Volumes     []string // source:target, perhaps with :ro
}

// ReadCompose reads a compose file; variables stay as they are written.
func ReadCompose(name string) (c Compose, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return c, err
	}
	return c, yaml.Unmarshal(b, &c)
}

// Of are the names of the services of some profiles.
func (c Compose) Of(profiles ...string) (names []string) {
	for name, s := range c.Services {
		if slices.ContainsFunc(s.Profiles, func(p string) bool { return slices.Contains(profiles, p) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Outside is where a file of a container lies: in the folder of this machine that is mounted at
// the longest of the paths above it; relative, as the compose file has it.
func (s Service) Outside(file string) (name string, ok bool) {
	longest := 0
	for _, v := range s.Volumes {
		parts := strings.Split(v, ":")
		if len(parts) < 2 {
			continue
		}
		rest, below := strings.CutPrefix(file, parts[1])
		if !below || (rest != "" && rest[0] != '/') || len(parts[1]) <= longest {
			continue
		}
		longest = len(parts[1])
		name, ok = parts[0]+rest, strings.HasPrefix(parts[0], ".") // else it is a volume's
	}
	return name, ok
}
