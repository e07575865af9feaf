package command

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestTheReferenceNamesEverySetting(t *testing.T) {
	var s struct {
		ConfigFile
		Serve struct {
			Logging `embed:""`
			Slots   int    `help:"Slots, 1|2." default:"64"`
			Key     string `help:"A key." placeholder:"FILE"`
			Fast    bool   `help:"Be fast."`
		} `cmd:"" default:"withargs"`
		Other struct {
			Secret string `help:"Not a service's."`
		} `cmd:""`
	}
	var out bytes.Buffer
	code := -1
	p, err := kong.New(&s, append(Options("thing", "A thing."), kong.Writers(&out, &out),
		kong.Exit(func(c int) { code = c; panic("exit") }))...)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = p.Parse([]string{"--reference"})
	}()
	const want = "## thing\n\n| setting | default | what it is |\n|---|---|---|\n" +
		"| `log-level` | `info` | Lowest level that is logged: debug, info, warn or error. |\n" +
		"| `log-format` | `text` | Format of the log: text or json. |\n" +
		"| `slots` | `64` | Slots, 1\\|2. |\n| `key` | none; FILE | A key. |\n| `fast` | off | Be fast. |\n\n"
	if got := out.String(); got != want || code != 0 || strings.Contains(got, "secret") {
		t.Errorf("exit code %d, printed\n%s", code, got)
	}
}
