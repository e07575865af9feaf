package observe

import (
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Compose has the parts of a compose file that tests need.
type Compose struct{ Services map[string]Service }

// Service is a service of a compose file.
type Service struct {
	Image       string
	Profiles    []string
	Command     any
	Environment map[string]string
	Ports       []string
	Volumes     []string // source:target, perhaps with :ro
}

// ReadCompose reads a compose file. It does not replace variables.
func ReadCompose(name string) (c Compose, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return c, err
	}
	return c, yaml.Unmarshal(b, &c)
}

// Of returns the names of the services that have one of the profiles.
func (c Compose) Of(profiles ...string) (names []string) {
	for name, s := range c.Services {
		if slices.ContainsFunc(s.Profiles, func(p string) bool { return slices.Contains(profiles, p) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Outside returns the name on this machine of a file in a container: in the folder that is mounted at the longest path
// above the file. The name is relative to the compose file. ok is false for a file that is in no mounted folder.
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
