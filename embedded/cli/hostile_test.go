package cli

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// hostile strings break out of lines, cells, tags and terminals.
var hostile = map[string]string{
	"a line":          "x\r\njob 0199-other accepted\r\n",
	"colours":         "\x1b[31mred\x1b[0m\x1b[2J\x1b[H",
	"a title":         "\x1b]0;owned\x07\x1b]52;c;aGk=\x1b\\",
	"C1 controls":     "\u009b31m\u009d0;owned\u009c\u0085",
	"a bell and NUL":  "\x00\x07\x08\x08\x7f",
	"HTML":            "<script>alert(1)</script>&\"'",
	"another reading": "\u202egnp.exe\u2066\u2069\u200f\u061c",
	"more lines":      "x\u2028y\u2029z\v\f",
	"a format":        "%s%d%!n%[1]*d",
}

// TestHostileStrings: whatever stands in the strings of an answer, a command prints lines of
// its own only, with nothing in them that a terminal acts on.
func TestHostileStrings(t *testing.T) {
	for what, text := range hostile {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		raw := strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029", `\u003c`, "<", `\u003e`, ">", `\u0026`,
			"&").Replace(string(quoted))
		in := func(format string) string { return strings.ReplaceAll(format, "HOSTILE", raw) }
		doc := in(`{"jobId":HOSTILE,"type":HOSTILE,"state":"STATE","progress":{"percent":10,"message":HOSTILE,"stage":HOSTILE,"data":[HOSTILE]},"attempt":1,"maxAttempts":3,` +
			`"createdAt":"2026-01-02T03:04:05Z","updatedAt":"2026-01-02T03:04:05Z","result":{HOSTILE:HOSTILE},"resultUrl":HOSTILE,"lane":HOSTILE,"subject":HOSTILE,` +
			`"error":{"code":HOSTILE,"message":HOSTILE,"retryable":true},"attempts":[{"number":1,"worker":HOSTILE,"startedAt":"2026-01-02T03:04:05Z","endedAt":"2026-01-02T03:04:06Z","outcome":HOSTILE,"error":{"code":HOSTILE,"message":HOSTILE,"retryable":true}}]}`)
		document := func(state string) string { return strings.Replace(doc, "STATE", state, 1) }
		frames := func(state string) []string {
			var all []string
			for i, s := range []string{"processing", "retrying", state} {
				all = append(all, fmt.Sprintf(`{"type":"status","version":%d,"job":%s}`, i+1, strings.ReplaceAll(document(s),
					in(`"jobId":HOSTILE`), `"jobId":"0199-job"`)))
			}
			return all
		}
		problem := in(`{"type":"error","id":"%ID%","code":"validation_failed","title":HOSTILE,"detail":HOSTILE,"retryable":false,"errors":[{"pointer":HOSTILE,"detail":HOSTILE}]}`)
		subscribed := `{"type":"subscribed","id":"%ID%","jobs":[{"jobId":"0199-job","version":1}]}`
		query := func(path string, _ url.Values) string {
			switch {
			case strings.HasSuffix(path, "/stats"):
				return in(`{"counts":[{"type":HOSTILE,"lane":HOSTILE,"state":HOSTILE,"jobs":1}],"lanes":[{"lane":HOSTILE,"workers":1,"waiting":1}],"asOf":"2026-01-02T03:04:05Z"}`)
			case strings.HasSuffix(path, "/why"):
				return in(`{"jobId":HOSTILE,"state":HOSTILE,"reason":HOSTILE,"detail":HOSTILE,"lane":HOSTILE,"workers":1,"waiting":1,"asOf":"2026-01-02T03:04:05Z"}`)
			case strings.HasSuffix(path, "/history"):
				return in(`{"jobId":HOSTILE,"events":[{"offset":1,"at":"2026-01-02T03:04:05Z","type":HOSTILE,"by":HOSTILE,` +
					`"worker":HOSTILE,"run":HOSTILE,"applied":false,"reason":HOSTILE,"detail":HOSTILE,"state":HOSTILE,` +
					`"progress":{"percent":1,"message":HOSTILE},"error":{"code":HOSTILE,"message":HOSTILE}}],` +
					`"truncated":true,"earliest":"2026-01-02T03:04:05Z","asOf":"2026-01-02T03:04:05Z"}`)
			case strings.HasSuffix(path, "/workers"):
				return in(`{"workers":[{"worker":HOSTILE,"lanes":[{"lane":HOSTILE,"slots":1}],"version":HOSTILE,"holds":[` +
					`{"jobId":HOSTILE,"tenant":HOSTILE,"type":HOSTILE,"lane":HOSTILE,"progressAt":"2026-01-02T03:04:05Z",` +
					`"stage":HOSTILE}],"pausedEndpoints":[{"tenant":HOSTILE,"endpoint":HOSTILE,"failures":1}]}],` +
					`"lanes":[{"lane":HOSTILE}],"asOf":"2026-01-02T03:04:05Z","truncated":true}`)
			case strings.HasSuffix(path, "/deliveries"):
				return in(`{"deliveries":[{"deliveryId":HOSTILE,"event":HOSTILE,"url":HOSTILE,"job":` + document("failed") +
					`},{"deliveryId":HOSTILE,"event":HOSTILE,"url":HOSTILE,"job":null}],"asOf":"2026-01-02T03:04:05Z"}`)
			}
			return in(`{"jobs":[` + document("failed") + `],"nextCursor":HOSTILE,"asOf":"2026-01-02T03:04:05Z"}`)
		}
		for _, args := range [][]string{
			{"submit", "demo.echo", "1"}, {"submit", "demo.echo", "1", "--detach"}, {"submit", "demo.fail", "1"}, {"submit",
				"demo.refused", "1"},
			{"watch", "0199-job"}, {"get", "0199-job"}, {"list"}, {"stats"}, {"why", "0199-job"}, {"deliveries", "0199-job"},
			{"history", "0199-job"}, {"workers", "--jobs"},
			{"cancel", "0199-job"},
		} {
			s := &script{document: document("failed"), query: query, submit: append([]string{ack}, frames("completed")...),
				subscribe: append([]string{subscribed}, frames("failed")...),
				order:     in(`{"type":"ack","id":"%ID%","jobId":"0199-job","state":HOSTILE,"statusUrl":HOSTILE}`)}
			switch args[len(args)-1] {
			case "--detach":
				s.submit = []string{
					in(`{"type":"ack","id":"%ID%","jobId":HOSTILE,"state":HOSTILE,"statusUrl":HOSTILE,"duplicate":true}`),
				}
			}
			switch {
			case len(args) > 1 && args[1] == "demo.refused":
				s.submit = []string{problem}
			case len(args) > 1 && args[1] == "demo.fail":
				s.submit = append([]string{ack}, frames("failed")...)
			}
			base := s.serve(t)
			for _, asJSON := range []bool{false, true} {
				line := args
				if asJSON {
					line = append(args[:len(args):len(args)], "--json")
				}
				got := run(t, &Env{}, base, line...)
				if i := strings.IndexFunc(got, func(r rune) bool {
					return r != '\n' && steers(r)
				}); i >= 0 || !utf8.ValidString(got) {
					t.Errorf("%s in %v: %q", what, line, got[max(0, i-20):])
				}
				if strings.Contains(got, "\njob 0199-other") {
					t.Errorf("%s in %v makes a line of its own: %q", what, line, got)
				}
				if strings.Contains(got, "EXTRA") || strings.Contains(got, "MISSING") {
					t.Errorf("%s in %v is a format: %q", what, line, got)
				}
			}
		}
	}
}
