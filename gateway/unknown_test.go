package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/frame"
)

// TestUnknownFieldsOfASubmit checks that a field that a submit does not have is named, and refused by a strict submit.
func TestUnknownFieldsOfASubmit(t *testing.T) {
	const typo = `"job":"demo.echo","payload":{"run_at":1},"run_at":"2030-01-01T00:00:00Z"`
	const warning = `a submit has no field "run_at"`
	long := strings.Repeat("é", 1000)
	inWorld(t, nil, func(t *testing.T, w *world) {
		for _, c := range []struct {
			what, query, body string
			warning           string // of an ack
			refused           string // by a problem with this detail
		}{
			{"no unknown field", "", `{"job":"demo.echo","payload":{"x":1}}`, "", ""},
			{"no unknown field, strict", "?strict=true", `{"job":"demo.echo","payload":{"x":1}}`, "", ""},
			{"every field", "?strict=true", `{"job":"demo.echo","payload":1,"key":"k","runAt":null,"timeout":1,"deadline":2,"watch":true,` +
				`"callbackUrl":"","callbackEvents":[],"traceparent":"","tracestate":"","grant":null,"strict":true}`, "", ""},
			{"a typo", "", "{" + typo + "}", warning, ""},
			{"a typo, not strict", "?strict=false", "{" + typo + "}", warning, ""},
			{"upper case", "", `{"job":"demo.echo","payload":1,"RunAt":1}`, `a submit has no field "RunAt"`, ""},
			{"a typo, strict by the query", "?strict=true", "{" + typo + "}", "", warning},
			{"a typo, strict by the body", "", `{"strict":true,` + typo + "}", "", warning},
			{"a word that is none", "?strict=yes", "{" + typo + "}", "", "strict must be"},
			{"strict twice", "?strict=true&strict=true", "{" + typo + "}", "", "strict must be"},
			{"another frame's field", "", `{"job":"demo.echo","payload":1,"jobs":[]}`, `a submit has no field "jobs"`, ""},
			{
				"many", "", `{"job":"demo.echo","payload":1,"a":{"b":1},"c":[1],"d":1,"e":1,"f":1,"g":1,"h":1}`,
				`a submit has no field "a", "c", "d", "e", "f" and others`, "",
			},
			{
				"long and hostile", "", `{"job":"demo.echo","payload":1,"` + long + `":1,"\r\nX: \"":1}`,
				`a submit has no field "` + strings.Repeat(`\u00e9`, 16) + `", "\r\nX: \""`, "",
			},
		} {
			a := w.http("POST", "/v1/jobs"+c.query, asJSON, strings.NewReader(c.body))
			var ack frame.AckFrame
			var p frame.Problem
			_ = json.Unmarshal([]byte(a.body), &ack)
			_ = json.Unmarshal([]byte(a.body), &p)
			switch {
			case c.refused != "":
				if a.status != http.StatusBadRequest || a.code != "invalid_frame" || !strings.Contains(p.Detail, c.refused) {
					t.Errorf("%s: %d %s", c.what, a.status, a.body)
				}
			case a.status != http.StatusAccepted || ack.Warning != c.warning || a.header.Get(frame.WarningHeader) != c.warning:
				t.Errorf("%s: %d %s, header %q", c.what, a.status, a.body, a.header.Get(frame.WarningHeader))
			}
			if strings.HasPrefix(c.what, "strict") || c.query != "" {
				continue
			}
			socket := w.dial("")
			socket.send("%s", `{"type":"submit","id":"1",`+c.body[1:])
			got, err := socket.read(settled)
			_ = socket.ws.CloseNow()
			switch {
			case err != nil:
				t.Errorf("%s, on a socket: %v", c.what, err)
			case c.refused != "":
				if got.Type != frame.Error || !strings.Contains(got.raw, "invalid_frame") {
					t.Errorf("%s, on a socket: %s", c.what, got.raw)
				}
			default:
				var ack frame.AckFrame
				if _ = json.Unmarshal([]byte(got.raw), &ack); ack.Type != frame.Ack || ack.Warning != c.warning {
					t.Errorf("%s, on a socket: %s", c.what, got.raw)
				}
			}
		}
	})
}
