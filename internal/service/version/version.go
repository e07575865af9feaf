// Package version tells which build a process is: by the linker's stamp, or else by the build information that
// the go command records.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Stamped with -ldflags "-X …/internal/service/version.version=1.2.3 -X ….revision=abc".
var version, revision string

// Values for builds of which nothing is known, as in tests and of sources without git.
const (
	unknownVersion  = "dev"
	unknownRevision = "unknown"
)

// Info is one build. Its fields are never empty and never change while a process runs.
type Info struct {
	Version  string // of the release: 1.2.3, or dev
	Revision string // of the source: a commit, with -dirty when files were changed after it
	Go       string // of the toolchain: go1.26.0
}

// Get returns this process's build.
func Get() Info {
	build, _ := debug.ReadBuildInfo()
	return info(version, revision, build)
}

func info(version, revision string, build *debug.BuildInfo) Info {
	i := Info{Version: version, Revision: revision, Go: runtime.Version()}
	if i.Revision == "" && build != nil {
		noted := map[string]string{}
		for _, s := range build.Settings {
			noted[s.Key] = s.Value
		}
		i.Revision = noted["vcs.revision"]
		if i.Revision != "" && noted["vcs.modified"] == "true" {
			i.Revision += "-dirty"
		}
	}
	if i.Version == "" {
		i.Version = unknownVersion
	}
	if i.Revision == "" {
		i.Revision = unknownRevision
	}
	return i
}

// String is what --version prints.
func (i Info) String() string {
	return fmt.Sprintf("%s (revision %s, %s)", i.Version, i.Revision, i.Go)
}
