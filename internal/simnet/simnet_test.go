package simnet

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const port = "localhost:80"

// world is a server and a client with one connection, in a bubble.
type world struct {
	t              *testing.T
	server, client *Host
	accepted       chan net.Conn
	here, there    net.Conn // the client's end and the server's
}

func inBubble(t *testing.T, f func(*testing.T, *world)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		n := New()
		w := &world{t: t, server: n.Host("server"), client: n.Host("client"), accepted: make(chan net.Conn, 8)}
		w.listen()
		w.dial()
		w.there = <-w.accepted
		f(t, w)
		_ = w.here.Close()
		_ = w.there.Close()
		w.server.Kill()
		synctest.Wait()
	})
}

func (w *world) listen() {
	w.t.Helper()
	l, err := w.server.Listen(w.t.Context(), "tcp", port)
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					w.t.Errorf("accept: %v", err)
				}
				return
			}
			w.accepted <- c
		}
	}()
}

func (w *world) dial() {
	w.t.Helper()
	var err error
	if w.here, err = w.client.Dial(w.t.Context(), "tcp", port); err != nil {
		w.t.Fatal(err)
	}
}

// send writes in the background, for a pipe holds nothing; the result comes later.
func send(c net.Conn, text string) <-chan error {
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte(text))
		sent <- err
	}()
	return sent
}

// hear waits up to a second of virtual time for bytes.
func hear(c net.Conn) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 64)
	n, err := c.Read(b)
	return string(b[:n]), err
}

func (w *world) wantText(what string, c net.Conn, want string) {
	w.t.Helper()
	if got, err := hear(c); got != want || err != nil {
		w.t.Errorf("%s: got %q, %v", what, got, err)
	}
}

func (w *world) wantSilence(what string, c net.Conn) {
	w.t.Helper()
	if got, err := hear(c); !errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Errorf("%s: got %q, %v", what, got, err)
	}
}

func (w *world) wantGone(what string, c net.Conn) {
	w.t.Helper()
	if got, err := hear(c); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		w.t.Errorf("%s: got %q, %v", what, got, err)
	}
	if _, err := c.Write([]byte("x")); err == nil {
		w.t.Errorf("%s: it takes bytes", what)
	}
}

func TestAHealthyNetworkCarriesBytes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		send(w.here, "ping")
		w.wantText("the server hears", w.there, "ping")
		send(w.there, "pong")
		w.wantText("the client hears", w.here, "pong")
	})
}

func TestCutResetsAndRefusesUntilHeal(t *testing.T) {
	for _, who := range []string{"server", "client"} {
		t.Run(who, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				host := map[string]*Host{"server": w.server, "client": w.client}[who]
				host.Cut()
				w.wantGone("the client's end", w.here)
				w.wantGone("the server's end", w.there)
				// Whether the dial fails or what it made is closed at once is the network's business.
				if c, err := w.client.Dial(w.t.Context(), "tcp", port); err == nil {
					w.wantGone("a new connection", c)
					_ = c.Close()
				}
				host.Heal()
				w.dial()
				w.there = <-w.accepted
				send(w.here, "again")
				w.wantText("healed", w.there, "again")
			})
		})
	}
}

func TestKillClosesListenersAndTheNextLifeListensAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.server.Kill()
		w.wantGone("the client's end", w.here)
		w.server.Heal()
		if _, err := w.client.Dial(w.t.Context(), "tcp", port); err == nil {
			t.Error("somebody listens though the process is gone")
		}
		w.listen()
		w.dial()
		w.there = <-w.accepted
		send(w.there, "hello")
		w.wantText("the next life", w.here, "hello")
	})
}

func TestHangStopsEveryByteAndLosesNone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.server.Hang()
		fromServer := send(w.there, "from the server")
		w.wantSilence("while the server hangs", w.here)
		fromClient := send(w.here, "from the client")
		heard := make(chan string, 1)
		go func() {
			b := make([]byte, 64)
			n, _ := w.there.Read(b)
			heard <- string(b[:n])
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case text := <-heard:
			t.Errorf("the hung server read %q", text)
		case err := <-fromServer:
			t.Errorf("the hung server wrote: %v", err)
		default:
		}
		w.server.Heal()
		if text := <-heard; text != "from the client" {
			t.Errorf("after it the server reads %q", text)
		}
		w.wantText("after it the client reads", w.here, "from the server")
		if err := errors.Join(<-fromServer, <-fromClient); err != nil {
			t.Error(err)
		}
	})
}

// A process that is killed while it hangs leaves no goroutine waiting within it.
func TestAHungConnectionCanBeClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.server.Hang()
		sent := send(w.there, "never")
		synctest.Wait()
		w.server.Cut()
		if err := <-sent; err == nil {
			t.Error("the write succeeded")
		}
		w.wantGone("the client's end", w.here)
	})
}

func TestADeafHostIsHeardAndHearsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.client.Deafen()
		send(w.here, "can you hear me")
		w.wantText("the server hears", w.there, "can you hear me")
		lost := send(w.there, "yes")
		w.wantSilence("the deaf client", w.here)
		if err := <-lost; err != nil {
			t.Errorf("the server does not know that it was not heard: %v", err)
		}
		w.client.Heal()
		w.wantGone("a connection with a hole in it", w.here)
		w.dial()
		w.there = <-w.accepted
		send(w.there, "now")
		w.wantText("a new one", w.here, "now")
	})
}

// A fault is one host's: others on the same network go on.
func TestFaultsAreOfOneHost(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		other := w.client.net.Host("other")
		for _, breakIt := range []func(){other.Cut, other.Hang, other.Deafen, other.Kill} {
			breakIt()
			send(w.here, "ping")
			w.wantText("the server hears", w.there, "ping")
		}
		if w.client.net.Host("other") != other {
			t.Error("a host is made twice")
		}
	})
}
