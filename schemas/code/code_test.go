package code

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestEveryCodeIsDocumented(t *testing.T) {
	for _, c := range All {
		if i := c.Info(); !c.Known() || i.HTTP < 400 || i.HTTP > 599 || i.Title == "" || i.Meaning == "" {
			t.Errorf("%s: %+v", c, i)
		}
	}
	for _, c := range AllCloses {
		i, ok := c.Info()
		if !ok || i.Name == "" || i.Meaning == "" || c.String() != i.Name {
			t.Errorf("%d: %+v", c, i)
		}
		if c.Reconnect() != i.Reconnect {
			t.Errorf("%d: reconnect is %v and %v", c, c.Reconnect(), i.Reconnect)
		}
		// The range of a code says whether a client may reconnect.
		if c >= 4000 && c < 4500 && !i.Reconnect || c >= 4500 && i.Reconnect {
			t.Errorf("%d: reconnect is %v", c, i.Reconnect)
		}
		if len(c.String()) > 123 {
			t.Errorf("%d: the reason is too long for a close frame (RFC 6455 §5.5)", c)
		}
	}
}

// TestCodesOfALaterServer: for codes that it does not know a client uses Internal, or the range of the close code.
func TestCodesOfALaterServer(t *testing.T) {
	if c := Code("later_code"); c.Known() || c.Info() != Internal.Info() {
		t.Errorf("%s: %+v", c, c.Info())
	}
	for c, back := range map[Close]bool{4499: true, 4998: false, 4999: false} {
		if _, ok := c.Info(); ok || c.Reconnect() != back {
			t.Errorf("%d: known %v, reconnect %v", c, ok, c.Reconnect())
		}
	}
}

// TestGeneratedFilesAreCurrent checks that the generated files are those of codes.json.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	dir := t.TempDir()
	gen := filepath.Join(dir, "gen")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", gen,
		"./internal/gen").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	table, err := os.ReadFile("codes.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "codes.json"), table, 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), gen, "-ts", ".")
	run.Dir = dir
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, path := range []string{
		"codes_gen.go", "codes.md", "../../clients/js/src/codes_gen.ts", "../../clients/js/src/problems_gen.ts",
	} {
		want, err := os.ReadFile(filepath.Join(dir, filepath.Base(path)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what codes.json and the frame types give (go generate ./...): %v", path, err)
		}
	}
}
