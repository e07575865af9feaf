package profile

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// made returns a CPU profile with a sample for each stack, innermost first, of which each weighs its number.
func made(t *testing.T, kind string, stacks map[string]int64) *bytes.Buffer {
	t.Helper()
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: kind, Unit: "nanoseconds"}},
	}
	functions := map[string]*profile.Location{}
	for stack, weight := range stacks {
		s := &profile.Sample{Value: []int64{1, weight}}
		for name := range strings.FieldsSeq(stack) {
			l := functions[name]
			if l == nil {
				f := &profile.Function{ID: uint64(len(functions) + 1), Name: name}
				l = &profile.Location{ID: f.ID, Line: []profile.Line{{Function: f}}}
				functions[name], p.Function, p.Location = l, append(p.Function, f), append(p.Location, l)
			}
			s.Location = append(s.Location, l)
		}
		p.Sample = append(p.Sample, s)
	}
	var out bytes.Buffer
	if err := p.Write(&out); err != nil {
		t.Fatal(err)
	}
	return &out
}

func TestTheTimeOfAPackage(t *testing.T) {
	got, err := ByPackage(made(t, "cpu", map[string]int64{
		"encoding/json.Marshal example.org/a/b.(*T).Run main.main":                                10,
		"example.org/a/b.F[go.shape.struct{example.org/c.G}] main.main":                           20,
		"internal/runtime/syscall.Syscall6 internal/poll.(*FD).Write main.main":                   30,
		"runtime.scanobject runtime.gcDrain runtime.gcBgMarkWorker.func2 runtime.gcBgMarkWorker":  15,
		"runtime.futex runtime.findRunnable runtime.schedule runtime.mcall":                       5,
		"runtime.nextFreeFast runtime.mallocgc runtime.newobject example.org/a/b.(*T).Run main.x": 12,
		"memeqbody main.main": 0,
		"runtime.memmove gopkg.in/yaml%2ev3.(*parser).parse main.main": 8,
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := []Package{
		{"internal/runtime/syscall", 0.30, 0.30},
		{"example.org/a/b", 0.20, 0.42},
		{"runtime (garbage collection)", 0.15, 0.15},
		{"runtime (allocation)", 0.12, 0.12},
		{"encoding/json", 0.10, 0.10},
		{"runtime", 0.08, 0.40},
		{"runtime (scheduler)", 0.05, 0.05},
		{"main", 0, 0.80},
		{"internal/poll", 0, 0.30},
		{"gopkg.in/yaml.v3", 0, 0.08},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	near := func(a, b float64) bool { return a > b-1e-9 && a < b+1e-9 }
	for i, w := range want {
		if g := got[i]; g.Name != w.Name || !near(g.Self, w.Self) || !near(g.Total, w.Total) {
			t.Errorf("%d: %+v, want %+v", i, g, w)
		}
	}
}

func TestAProfileThatCannotBeUsed(t *testing.T) {
	for want, in := range map[string]*bytes.Buffer{
		"read the profile": bytes.NewBufferString("404 page not found"),
		"not one of CPU":   made(t, "alloc_space", map[string]int64{"main.main": 1}),
		"no samples":       made(t, "cpu", nil),
	} {
		if _, err := ByPackage(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
