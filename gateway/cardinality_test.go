package gateway

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/gateway/api"
	"github.com/ackwire/ackwire/gateway/conns"
	"github.com/ackwire/ackwire/gateway/console"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/gateway/sse"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// maxSeries is far above what a gateway shows, and far below what garbage could make.
const maxSeries = 300

// TestClientsMakeNoLabels: whatever clients send, over HTTP and sockets, the values of labels
// are those of the contract, and the number of series ends at a bound.
func TestClientsMakeNoLabels(t *testing.T) {
	inWorld(t, func(c *Config) { c.Console = true }, func(t *testing.T, w *world) {
		random := rand.New(rand.NewPCG(5, 6))
		word := func() string {
			letters := make([]byte, 1+random.IntN(12))
			for i := range letters {
				letters[i] = "abcdefghijklmnopqrstuvwxyz0123456789_-."[random.IntN(39)]
			}
			return string(letters)
		}
		pick := func(words ...string) string {
			if random.IntN(2) == 0 {
				return word()
			}
			return words[random.IntN(len(words))]
		}
		methods := []string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "FROB", "X"}
		for range 400 {
			path := "/" + pick("v1", "v2") + "/" + pick("jobs", "stats", "ws", "ws-tickets", "events", "metrics") + "/" +
				pick("", "x", "..") + "/" + pick("why", "events", "result", "cancel")
			if random.IntN(3) == 0 {
				path = []string{"/v1/", "/console/"}[random.IntN(2)] + pick("login", "token", "session", "assets/"+word(),
					"jobs", "events?job="+word(), "ws?ticket="+word(), "jobs?state="+word())
			}
			method := methods[random.IntN(len(methods))]
			w.http(method, path, http.Header{
				"Authorization": {"Bearer " + word()}, "Origin": {"http://" + word()}, "X-Request-Id": {word()}, "Prefer": {
					word() + "=" + word()},
				"Sec-WebSocket-Extensions": {pick("permessage-deflate") + "; " + word()}, "Content-Type": {
					pick("application/json", "text/plain")}, "Idempotency-Key": {word()},
			}, strings.NewReader(`{"job":"`+word()+`","payload":"`+word()+`"}`))
		}
		for range 60 {
			c := w.dial("")
			go c.keepReading()
			for range 20 {
				text := fmt.Sprintf(`{"type":"%s","id":"%s","job":"%s","jobId":"%s","payload":%q,"jobs":[{"jobId":"%s"}],"token":"%s","%s":1}`,
					pick("submit", "subscribe", "unsubscribe", "cancel", "retry", "ping", "auth"), word(), pick("demo.echo"), word(),
					word(), word(), word(), word())
				if random.IntN(4) == 0 {
					text = text[:random.IntN(len(text))]
				}
				if c.ws.Write(t.Context(), websocket.MessageText, []byte(text)) != nil {
					break // the gateway has had enough
				}
			}
			switch random.IntN(3) {
			case 0:
				_ = c.ws.Close(websocket.StatusCode(3000+random.IntN(2000)), word())
			case 1:
				_ = c.ws.Write(context.Background(), websocket.MessageBinary, []byte(word()))
			}
			_ = c.ws.CloseNow()
		}
		time.Sleep(settled)

		known := map[string][]string{
			"type":  append(meter.Words(clientFrames), otherFrame),
			"route": slices.Concat(api.RouteNames, console.RouteNames), "bound": meter.Words(limits.All),
			"outcome": slices.Concat([]string{"acked", "rejected", "indeterminate"},
				[]string{"ok", "refused", "unavailable"}, api.Handshakes,
				conns.Handshakes, []string{"done"}, meter.Words(frame.BulkReasons)),
			"reason": slices.Concat([]string{"old", "closed", "overflow"}, meter.Words(sse.Reasons),
				meter.Words(session.NoCompressions)),
			"code": append(meter.Words(code.All), "", clientLeft), "in": {"new", "request", "idle"},
			"said": {"estimate", "ahead", "nothing"}, "source": {"buffer", "tracker"}, "topic": {w.names.Status(),
				w.names.Deferred()},
		}
		for _, c := range code.AllCloses {
			known["code"] = append(known["code"], strconv.Itoa(int(c)))
		}
		for _, lane := range w.gateway.types.Lanes() {
			known["topic"] = append(known["topic"], w.names.Requests(lane))
		}
		status := regexp.MustCompile(`^[1-5][0-9][0-9]$`)
		families, err := w.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n, other := 0, 0.0
		for _, f := range families {
			if !strings.HasPrefix(f.GetName(), "ackwire_gateway_") {
				continue
			}
			n += len(f.GetMetric())
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "status" && status.MatchString(l.GetValue()) {
						continue
					}
					if !slices.Contains(known[l.GetName()], l.GetValue()) {
						t.Errorf("%s has %s=%q", f.GetName(), l.GetName(), l.GetValue())
					}
					if l.GetValue() == otherFrame {
						other += m.GetCounter().GetValue()
					}
				}
			}
		}
		if n > maxSeries || other == 0 {
			t.Errorf("%d series, at most %d are wanted; %v are of unknown types and routes", n, maxSeries, other)
		}
		t.Logf("%d series; %v frames and requests of unknown types and routes", n, other)
	})
}
