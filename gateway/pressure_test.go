package gateway

import (
	"strings"
	"testing"
	"time"
)

// TestWhoSendsOnWhileOverloadedIsReadSlowly: what a client sends after refusals waits with the
// client, and not in the gateway's way; once a submit is taken it is read as any other.
func TestWhoSendsOnWhileOverloadedIsReadSlowly(t *testing.T) {
	inWorld(t, func(c *Config) { c.Limits.Submits = 1 }, func(t *testing.T, w *world) {
		full, err := w.gateway.limits.BeginSubmit(t.Context(), "another", 0)
		if err != nil {
			t.Fatal(err)
		}
		c, other := w.dial(""), w.dial("")
		payload := strings.Repeat("x", 10_000)
		const frames = 60
		go func() {
			for {
				if _, _, err := c.ws.Read(t.Context()); err != nil {
					return
				}
			}
		}()
		go func() {
			for i := range frames {
				c.send(`{"type":"submit","id":"%d","job":"demo.echo","payload":"%s","watch":false}`, i, payload)
			}
		}()
		time.Sleep(10 * time.Second)
		read := w.gauge("ackwire_gateway_turned_away_total", "submits")
		if read < 8 || read > 20 {
			t.Errorf("%v of %d frames were read and refused in 10 s", read, frames)
		}
		began := time.Now()
		other.wantAlive("a client that waits for nobody")
		if took := time.Since(began); took > time.Second {
			t.Errorf("another client waited for %v", took)
		}
		full.End(false)
		time.Sleep(3 * time.Second)
		if left := frames - int(w.gauge("ackwire_gateway_submits_total", "acked")+w.gauge("ackwire_gateway_submits_total",
			"rejected")); left > 0 {
			t.Errorf("%d frames were not read 3 s after there was room", left)
		}
	})
}
