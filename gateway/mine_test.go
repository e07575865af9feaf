package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/frame"
)

// TestMineWithoutATracker: the test's tracker says nothing of subjects, as one that is away.
func TestMineWithoutATracker(t *testing.T) {
	bounded := func(c *Config) { c.Subscriptions = 1 }
	inWorld(t, bounded, func(t *testing.T, w *world) {
		c := w.dial("")
		c.send(`{"type":"subscribe","id":"1","mine":true}`)
		c.send(`{"type":"subscribe","id":"2","mine":true}`)
		for range 2 {
			c.wantError("no tracker covers it", "unavailable")
		}
		c.send(`{"type":"subscribe","id":"3","mine":true}`)
		c.send(`{"type":"submit","id":"4","job":"demo.echo","payload":1}`)
		c.wantError("it takes the one place", "limit_exceeded")
		c.send(`{"type":"unsubscribe","id":"5","mine":true}`)
		c.wantError("what waits is answered first", "unavailable")
		c.want("the end", frame.Unsubscribed)
		c.submit()
		c.want("the place is free", frame.Status)
		c.send(`{"type":"unsubscribe","id":"6","mine":true}`)
		c.want("also of nothing", frame.Unsubscribed)
		if a := w.http("GET", "/v1/events?mine=true", nil, nil); a.status != http.StatusServiceUnavailable ||
			!strings.Contains(a.body, "unavailable") {
			t.Errorf("an event stream: %d %s", a.status, a.body)
		}
		if n := w.gauge("ackwire_gateway_subscriptions"); n > 1 {
			t.Errorf("%v subscriptions", n)
		}
	})
}
