package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/ackwire/ackwire/schemas/job"
)

// hostile strings break out of lines, headers, events and tags.
var hostile = map[string]string{
	"a line":          "x\r\nlevel=ERROR msg=owned\r\n",
	"a header":        "x\r\nSet-Cookie: owned=1\r\n\r\nbody",
	"an event":        "x\n\nevent: status\ndata: owned\n\n",
	"colours":         "\x1b[31mred\x1b[0m\x1b]0;owned\x07",
	"C1 controls":     "\u009b31m\u0085\u2028\u2029",
	"NUL":             "a\x00b",
	"HTML":            "<script>owned</script>",
	"another reading": "\u202egnp.exe\u2066",
	"a quote":         `" level=ERROR owned="`,
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestHostileStrings in every field that a client may fill: each log line stays one, each header
// and event too, and answers are JSON that no browser takes for a page, whatever is in it.
func TestHostileStrings(t *testing.T) {
	log := &captured{}
	handler := slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})
	inWorldLogging(t, handler, func(c *Config) {
		c.AllowedOrigins = []string{"*.example.com"}
	}, func(t *testing.T, w *world) {
		for what, text := range hostile {
			q := quote(text)
			w.tracker.set("local", jobA, 5, job.Processing)
			who := w.dial(w.token(text, text, time.Hour)) // tenant and subject
			for _, f := range []string{
				`{"type":Q,"id":Q}`, `{"type":"ping","id":Q}`, `{"type":"auth","id":Q,"token":Q}`,
				`{"type":"submit","id":Q,"job":Q,"payload":Q}`,
				`{"type":"submit","id":Q,"job":"demo.echo","payload":{Q:Q},"key":Q,"traceparent":Q,"watch":false}`,
				`{"type":"submit","id":Q,"job":"demo.echo","payload":1,"callbackUrl":Q}`,
				`{"type":"submit","id":Q,"job":"demo.echo","payload":1,"callbackEvents":[Q]}`,
				`{"type":"submit","id":Q,"job":"demo.sleep","payload":{Q:Q}}`,
				`{"type":"submit","id":Q,"job":"demo.echo","payload":1,"runAt":Q}`,
				`{"type":"subscribe","id":Q,"jobs":[{"jobId":Q}]}`, `{"type":"unsubscribe","id":Q,"jobs":[Q]}`,
				`{"type":"cancel","id":Q,"jobId":Q}`, `{"type":"retry","id":Q,"jobId":Q}`, `{Q:Q}`, `Q`,
			} {
				c := w.dial("")
				c.send("%s", strings.ReplaceAll(f, "Q", q))
				g, err := c.read(settled)
				if err != nil || g.Type == "" {
					t.Errorf("%s in %s: %s, %v", what, f, g.raw, err)
				}
				if strings.ContainsFunc(g.raw, func(r rune) bool { return r < 0x20 }) {
					t.Errorf("%s in %s: the answer has %q", what, f, g.raw)
				}
				_ = c.ws.CloseNow()
			}
			who.wantAlive("a tenant of that name")
			_ = who.ws.CloseNow()

			// what a client may put on the wire
			header := strings.NewReplacer("\r", "", "\n", "", "\x00", "", "\x1b", "", "\x07", "").Replace(text)
			for _, path := range []string{"/v1/jobs", "/v1/jobs/" + jobA, "/v1/nowhere", "/v1/jobs?state=" + urlEscaped(text),
				"/v1/jobs?cursor=" + urlEscaped(text), "/v1/jobs/" + urlEscaped(text),
				"/v1/jobs/" + urlEscaped(text) + "/events", "/v1/events?job=" + urlEscaped(text), "/v1/" + urlEscaped(text),
				"/v1/ws?ticket=" + urlEscaped(text)} {
				a := w.http("GET", path, http.Header{"X-Request-Id": {header}, "Traceparent": {header},
					"Prefer": {"wait=" + header}, "If-None-Match": {header},
					"Last-Event-Id": {header}, "Origin": {header}, "Authorization": nil, "User-Agent": {header}}, nil)
				for name, values := range a.header {
					for _, v := range values {
						if strings.Contains(name+v, "owned") || strings.ContainsFunc(v, unicode.IsControl) {
							t.Errorf("%s at %s: header %s: %q", what, path, name, v)
						}
					}
				}
				if kind := a.header.Get("Content-Type"); a.body != "" && !strings.HasSuffix(strings.Split(kind, ";")[0], "json") &&
					!strings.HasPrefix(kind, "text/plain") && kind != "text/event-stream" {
					t.Errorf("%s at %s: %d %s %.100q", what, path, a.status, kind, a.body)
				}
				if a.header.Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("%s at %s: a browser may guess what %q is", what, path, a.body)
				}
			}
		}
		w.stopGateway()
	})
	lines := bufio.NewScanner(strings.NewReader(log.String()))
	lines.Buffer(nil, 1<<20)
	n := 0
	for lines.Scan() {
		l := lines.Text()
		n++
		if !strings.HasPrefix(l, "time=") || strings.HasPrefix(l, "level=ERROR") ||
			strings.ContainsFunc(l, func(r rune) bool {
				return unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
			}) {
			t.Errorf("a log line: %q", l)
		}
	}
	if n < 100 || !strings.Contains(log.String(), "owned") {
		t.Errorf("the log has %d lines and nothing hostile", n)
	}
}

func urlEscaped(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteByte('%')
		const hex = "0123456789ABCDEF"
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// TestHostileDocuments: an event stays one whatever a document holds, also one that was
// written with line ends in it.
func TestHostileDocuments(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		n := 0
		for what, text := range hostile {
			doc, err := json.Marshal(map[string]any{
				"jobId": jobA, "state": "processing", "progress": map[string]any{"message": text},
				"error": map[string]string{text: text},
			})
			if err != nil {
				t.Fatal(err)
			}
			var spread bytes.Buffer
			if err := json.Indent(&spread, doc, "\r\n", "\r\n"); err != nil {
				t.Fatal(err)
			}
			for _, d := range [][]byte{doc, spread.Bytes()} {
				n++
				id := fmt.Sprintf("01a208fd-2dc6-7467-acd5-bb987da2%04d", n)
				w.tracker.set("local", id, 5, job.Processing)
				w.tracker.mu.Lock()
				w.tracker.jobs[id].document = d
				w.tracker.mu.Unlock()
				e := w.stream("/v1/jobs/"+id+"/events", nil)
				e.want(what, "retry: 1000")
				got := e.next()
				data, ok := strings.CutPrefix(got, "id: 5|event: status|data: ")
				var back struct{ Progress job.Progress }
				if err := json.Unmarshal([]byte(data), &back); !ok || err != nil || back.Progress.Message != text {
					t.Errorf("%s became %q, %v", what, got, err)
				}
				e.close()
			}
		}
	})
}
