// Package profile tells which packages the CPU time of a Go process was spent in, from a CPU profile of net/http/pprof
// or runtime/pprof.
package profile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// Package has the CPU time of one package, as shares of that of the process.
type Package struct {
	Name string `json:"name"`
	// Self is the share of the time in which a function of the package ran.
	Self float64 `json:"self"`
	// Total is the share of the time in which a function of the package ran, or one that such a function had called,
	// directly or not.
	Total float64 `json:"total"`
}

// Parts of package runtime that are listed as packages of their own.
const (
	garbage   = "runtime (garbage collection)"
	scheduler = "runtime (scheduler)"
	memory    = "runtime (allocation)"
)

// parts are functions of the runtime: what they call within it belongs to the part. The first that a stack has counts.
var parts = []struct {
	part      string
	functions []string
}{
	{garbage, []string{"runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.bgscavenge",
		"runtime.gcStart", "runtime.gcMarkDone", "runtime.gcMarkTermination", "runtime.deductSweepCredit"}},
	{memory, []string{"runtime.mallocgc", "runtime.growslice", "runtime.makeslice", "runtime.newobject"}},
	{scheduler, []string{"runtime.schedule", "runtime.findRunnable", "runtime.mcall", "runtime.sysmon", "runtime.ready",
		"runtime.goready", "runtime.wakep"}},
}

// ByPackage reads a CPU profile and returns the packages in the order of Self, highest first.
func ByPackage(r io.Reader) ([]Package, error) {
	p, err := profile.Parse(r)
	if err != nil {
		return nil, fmt.Errorf("read the profile: %w", err)
	}
	value := slices.IndexFunc(p.SampleType, func(t *profile.ValueType) bool { return t.Type == "cpu" })
	if value < 0 {
		return nil, errors.New("the profile is not one of CPU time")
	}
	self, total, all := map[string]int64{}, map[string]int64{}, int64(0)
	for _, s := range p.Sample {
		v := s.Value[value]
		all += v
		names := stack(s)
		leaf := leafPackage(names)
		self[leaf] += v
		seen := map[string]bool{leaf: true}
		for _, name := range names {
			seen[packageOf(name)] = true
		}
		for pkg := range seen {
			total[pkg] += v
		}
	}
	if all == 0 {
		return nil, errors.New("the profile has no samples: the process used no CPU time")
	}
	var out []Package
	for name, v := range total {
		out = append(out, Package{name, float64(self[name]) / float64(all), float64(v) / float64(all)})
	}
	slices.SortFunc(out, func(a, b Package) int {
		return cmp.Or(cmp.Compare(b.Self, a.Self), cmp.Compare(b.Total, a.Total), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// stack returns the names of a sample's functions, from the innermost on.
func stack(s *profile.Sample) []string {
	var names []string
	for _, l := range s.Location {
		for _, line := range l.Line { // inlined functions come before those that they are inlined into
			if line.Function != nil {
				names = append(names, line.Function.Name)
			}
		}
	}
	return names
}

// leafPackage returns the package of the innermost function. For the runtime it is the part, which the functions tell
// that called it within the runtime.
func leafPackage(names []string) string {
	if len(names) == 0 {
		return "unknown"
	}
	leaf := packageOf(names[0])
	if !ofRuntime(leaf) {
		return leaf
	}
	within := names
	if i := slices.IndexFunc(names, func(name string) bool { return !ofRuntime(packageOf(name)) }); i >= 0 {
		within = names[:i]
	}
	for _, p := range parts {
		if slices.ContainsFunc(within, func(name string) bool {
			return slices.ContainsFunc(p.functions, func(f string) bool {
				return name == f || strings.HasPrefix(name, f+".func") // a closure
			})
		}) {
			return p.part
		}
	}
	return leaf
}

func ofRuntime(pkg string) bool {
	return pkg == "runtime" || strings.HasPrefix(pkg, "internal/runtime/")
}

// packageOf returns the import path of a function's package: "a.b/c.(*T).Method" and "a.b/c.F[d/e.G]" are of "a.b/c".
// Names without a package are of routines of the runtime in assembly, such as memeqbody.
func packageOf(function string) string {
	path, _, _ := strings.Cut(function, "[") // type arguments have paths, too
	slash := strings.LastIndexByte(path, '/') + 1
	name, _, dotted := strings.Cut(path[slash:], ".")
	if slash == 0 && !dotted {
		return "runtime"
	}
	path = path[:slash] + name
	// The linker escapes dots in the last element.
	if plain, err := url.PathUnescape(path); err == nil {
		return plain
	}
	return path
}
