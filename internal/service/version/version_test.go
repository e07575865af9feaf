package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestStampThenSourceThenNothing(t *testing.T) {
	source := func(settings ...debug.BuildSetting) *debug.BuildInfo { return &debug.BuildInfo{Settings: settings} }
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "c0ffee"}
	for _, c := range []struct {
		name              string
		version, revision string
		build             *debug.BuildInfo
		want              string
	}{
		{"stamped", "1.2.3", "abc", source(commit), "1.2.3 (revision abc, "},
		{
			"built from a clone", "", "", source(commit, debug.BuildSetting{Key: "vcs.modified", Value: "false"}),
			"dev (revision c0ffee, ",
		},
		{
			"built from a clone with changes", "", "",
			source(commit, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "dev (revision c0ffee-dirty, ",
		},
		{
			"changes to nothing known", "", "", source(debug.BuildSetting{Key: "vcs.modified", Value: "true"}),
			"dev (revision unknown, ",
		},
		{"no build information", "", "", nil, "dev (revision unknown, "},
	} {
		if got := info(c.version, c.revision, c.build).String(); got != c.want+runtime.Version()+")" {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}
