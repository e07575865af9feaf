package command

import (
	"bytes"
	"errors"
	"net/url"
	"strings"
	"testing"
)

// Whatever is logged, as text or JSON, in a message, a string, an error, a URL or a group.
func TestLogsShowNoPassword(t *testing.T) {
	u, err := url.Parse("http://bob:hunter2@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log := Logging{LogFormat: format}.Logger(&out).With("with", u.String())
		log.Info("reads "+u.String(), "string", u.String(), "err", errors.New("get "+u.String()), "url", u, "value", *u,
			"list", []string{u.String()}, "map", map[string]string{"a": u.String()})
		log.WithGroup("g").Error("x", "in", u.String())
		if got := out.String(); strings.Contains(got, "hunter2") || strings.Count(got, "xxxxx@example.com") < 9 {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func TestFailShowsNoPassword(t *testing.T) {
	if said := stderr(t, func() {
		Fail("thing", errors.New("get http://bob:hunter2@h: no"))
	}); said != "thing: get http://xxxxx@h: no\n" {
		t.Errorf("%q", said)
	}
}
