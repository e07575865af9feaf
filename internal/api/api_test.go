package api

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func load(t *testing.T, name string) *Package {
	t.Helper()
	all, err := Load(".", name)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("%d packages", len(all))
	}
	return all[0]
}

// TestProblems: each way in which an exported name can be of no use to a stranger is seen.
func TestProblems(t *testing.T) {
	const shows = " shows github.com/ackwire/ackwire/internal/api/testdata/src/internal/secret."
	const env = shows + "Env, which no other program can import"
	want := []string{
		"bad.Alias" + env, "bad.Argument.G" + env, "bad.Constraint" + env, "bad.Deep.Of" + env,
		"bad.Embeds.Env" + env, "bad.Embeds.With" + env, "bad.Field.Env" + env,
		"bad.Generic[T].Take" + env, "bad.Method.Take" + env,
		"bad.Promotes.Promoted" + env, "bad.Promotes.hidden.Promoted" + env, "bad.Promotes.hidden.Shown" + env,
		"bad.PromotesAlias.quiet" + env, "bad.PromotesAlias.With" + env,
		"bad.Variable" + env,
		"bad.Interface.Make" + shows + "Config, which no other program can import",
		"bad.Tags.Slots has the tag help of our command line", "bad.Tags.Hidden has the tag kong of our command line",
		"bad.Undocumented has no comment", "bad.Undocumented.A has no comment",
		"bad.Undocumented.D has no comment", "bad.Undocumented.M has no comment",
		"bad.F has no comment", "bad.K has no comment", "bad.V has no comment",
	}
	got := load(t, "./testdata/src/bad").Problems()
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("not seen: %s", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("no problem: %s", g)
		}
	}
}

// TestLines: every exported name has one line, and no other has.
func TestLines(t *testing.T) {
	good := load(t, "./testdata/src/good")
	if problems := good.Problems(); len(problems) > 0 {
		t.Errorf("problems: %q", problems)
	}
	want := `type Asks interface
method (Asks).Ask(what string) (int, error)
type Box[T any] struct
field Box.V T
method (Box[T any]).Get() T
type Func func(n int) error
const Max untyped int = 1099511627776
type Name = string
type Worker struct
field Worker.Name string
field Worker.On bool
method (*Worker).Run(b Box[string]) error
method (*Worker).Stop()`
	if got := strings.Join(good.Lines(), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got := changes(want+"\n", strings.Replace(want, "Ask(what string)", "Ask(what int)", 1)+"\n")
	if len(got) != 2 || got[0][:2] != "- " || got[1][:2] != "+ " {
		t.Errorf("one change: %q", got)
	}
}

// TestVet: a program is another's, whatever module it is compiled with.
func TestVet(t *testing.T) {
	const inner = `package main

import _ "github.com/ackwire/ackwire/internal/api/testdata/src/internal/secret"

func main() {}
`
	if err := Vet(".", t.TempDir(), inner); err == nil || !strings.Contains(err.Error(), "internal package") {
		t.Errorf("a program that imports an internal package: %v", err)
	}
	if err := Vet(".", t.TempDir(), "package main\n\nfunc main() {}\n"); err != nil {
		t.Errorf("a program: %v", err)
	}
	if err := Vet(".", t.TempDir(), "package main\n\nfunc main() { undefined() }\n"); err == nil {
		t.Error("a program that does not compile is fine")
	}
}

// A check that reads nothing must not pass.
func TestWhatCannotBeReadIsAnError(t *testing.T) {
	if _, err := Load(".", "./testdata/src/none"); err == nil {
		t.Error("a package that is not there was read")
	}
}
