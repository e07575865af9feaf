package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/schemas/frame"
)

// TestWhatWasSentBeforeGoawayWasReadIsAnswered: a client may send on until it has read goaway.
// (A socket without a submit in flight was closed in the same breath, and what was on its way
// then was never read.)
func TestWhatWasSentBeforeGoawayWasReadIsAnswered(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		var clients []*client
		for range 5 {
			clients = append(clients, w.dial(""))
		}
		w.stop()
		for _, c := range clients { // the network has it; the client's code has not
			c.want("goaway", frame.Goaway)
		}
		time.Sleep(100 * time.Millisecond) // as long as a way to the client and back
		for i, c := range clients {
			c.send(`{"type":"submit","id":"late%d","job":"demo.echo","payload":1}`, i)
		}
		for i, c := range clients {
			if g := c.answerTo(fmt.Sprint("late", i)); g.Type != frame.Ack {
				t.Errorf("client %d: %s", i, g.raw)
			}
			for {
				_, err := c.read(settled)
				if err == nil {
					continue
				}
				var closed websocket.CloseError
				if !errors.As(err, &closed) || closed.Code != websocket.StatusServiceRestart {
					t.Errorf("client %d: want close 1012, got %v", i, err)
				}
				break
			}
		}
	})
}

// TestOneThatWaitsHoldsUpNobody: while one socket's submit waits for the broker, those with
// nothing in flight are closed, and theirs are not answered with silence.
func TestOneThatWaitsHoldsUpNobody(t *testing.T) {
	patient := func(c *Config) { c.SubmitTimeout = 10 * time.Second }
	inWorld(t, patient, func(t *testing.T, w *world) {
		waiting, idle := w.dial(""), w.dial("")
		w.net.Host("broker").Hang() // for less than a submit may take
		waiting.send(`{"type":"submit","id":"1","job":"demo.echo","payload":1}`)
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		w.stop()
		idle.wantClose("a socket with nothing in flight", int(websocket.StatusServiceRestart))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it was closed after %s", took)
		}
		w.net.Host("broker").Heal()
		if g := waiting.answerTo("1"); g.Type != frame.Ack {
			t.Errorf("the submit in flight: %s", g.raw)
		}
	})
}

// TestAnHTTPSubmitInFlightGetsItsOutcome, however long that may take by configuration; and
// who is answered meanwhile is told to ask over another connection.
func TestAnHTTPSubmitInFlightGetsItsOutcome(t *testing.T) {
	slow := func(c *Config) { c.SubmitTimeout, c.DrainWait = 15*time.Second, 2*time.Second }
	inWorld(t, slow, func(t *testing.T, w *world) {
		transport := &http.Transport{DialContext: w.net.Host("client").Dial}
		t.Cleanup(transport.CloseIdleConnections)
		submit := func(key string) (status int, closes bool) {
			r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+gatewayAddr+"/v1/jobs",
				strings.NewReader(`{"job":"demo.echo","payload":1}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			if key != "" {
				r.Header.Set("Idempotency-Key", key)
			}
			a, err := (&http.Client{Transport: transport}).Do(r)
			if err != nil {
				t.Errorf("submit with key %q: %v", key, err)
				return 0, false
			}
			_, _ = io.Copy(io.Discard, a.Body)
			_ = a.Body.Close()
			return a.StatusCode, a.Close
		}
		if status, closes := submit(""); status != http.StatusAccepted || closes {
			t.Errorf("before: %d, the connection closes: %v", status, closes)
		}
		w.tracker.hush() // a submit with a key needs the tracker's word
		answered := make(chan int, 1)
		go func() {
			status, _ := submit("k")
			answered <- status
		}()
		time.Sleep(100 * time.Millisecond)
		w.stop()
		time.Sleep(time.Second)
		if status, closes := submit(""); status != http.StatusAccepted || !closes {
			t.Errorf("while load balancers turn elsewhere: %d, the connection closes: %v", status, closes)
		}
		time.Sleep(9 * time.Second)
		w.tracker.speak()
		if status := <-answered; status != http.StatusAccepted {
			t.Errorf("the submit in flight: %d", status)
		}
	})
}
