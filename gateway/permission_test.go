package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

// TestPermissions: a token does what it permits and nothing else, over HTTP and over a
// socket; what is not permitted is forbidden whether the job exists or not.
func TestPermissions(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		permitted := func(permissions ...string) http.Header {
			token, err := SignToken(testKey, "acme", "alice", time.Hour, permissions...)
			if err != nil {
				t.Fatal(err)
			}
			return http.Header{"Authorization": {"Bearer " + token}}
		}
		for permission, can := range map[string]string{
			"submit": "submit retry", "read": "get list stats why history result subscribe", "cancel": "cancel",
			"admin": "submit retry get list stats why history result subscribe cancel",
		} {
			header := permitted(permission)
			header.Set("Content-Type", "application/json")
			may := map[string]bool{}
			for _, name := range strings.Fields(can) {
				may[name] = true
			}
			for _, request := range []struct{ name, method, path, body string }{
				{"submit", "POST", "/v1/jobs", `{"job":"demo.echo","payload":1}`},
				{"retry", "POST", "/v1/jobs/" + jobA + "/retry", ""},
				{"cancel", "POST", "/v1/jobs/" + jobA + "/cancel", ""},
				{"get", "GET", "/v1/jobs/" + jobA, ""},
				{"why", "GET", "/v1/jobs/" + jobA + "/why", ""},
				{"history", "GET", "/v1/jobs/" + jobA + "/history", ""},
				{"result", "GET", "/v1/jobs/" + jobA + "/result", ""},
				{"list", "GET", "/v1/jobs", ""},
				{"stats", "GET", "/v1/stats", ""},
			} {
				got := w.http(request.method, request.path, header, strings.NewReader(request.body))
				if forbidden := got.status == http.StatusForbidden; forbidden == may[request.name] {
					t.Errorf("%s with %s: %d %s", request.name, permission, got.status, got.body)
				}
			}
			c, _, err := w.dialRaw(dialOptions{header: header})
			if err != nil {
				t.Fatal(err)
			}
			c.want("a welcome", frame.Welcome)
			for name, text := range map[string]string{
				"submit":    `{"type":"submit","id":"%s","job":"demo.echo","payload":1}`,
				"subscribe": `{"type":"subscribe","id":"%s","jobs":[]}`,
				"cancel":    `{"type":"cancel","id":"%s","jobId":"` + jobA + `"}`,
				"retry":     `{"type":"retry","id":"%s","jobId":"` + jobA + `"}`,
			} {
				c.send(text, name)
				g := c.answerTo(name)
				if forbidden := string(g.Code) == "forbidden"; forbidden == may[name] {
					t.Errorf("frame %s with %s: %s", name, permission, g.raw)
				}
			}
		}

		// Who may not read is not told what becomes of its jobs, and may not ask for it.
		c, _, err := w.dialRaw(dialOptions{header: permitted("submit")})
		if err != nil {
			t.Fatal(err)
		}
		c.want("a welcome", frame.Welcome)
		c.send(`{"type":"submit","id":"1","job":"demo.echo","payload":1,"watch":true}`)
		c.wantError("a watch without read", "forbidden")
		c.send(`{"type":"submit","id":"2","job":"demo.echo","payload":1}`)
		c.want("a submit without a watch", frame.Ack)
		c.send(`{"type":"ping","id":"3"}`)
		c.want("nothing in between", frame.Pong)
	})
}

// answerTo reads until the frame with the ID comes.
func (c *client) answerTo(id string) got {
	c.w.t.Helper()
	for {
		g, err := c.read(settled)
		if err != nil {
			c.w.t.Fatalf("no answer to %s: %v", id, err)
		}
		if g.ID == id {
			return g
		}
	}
}
