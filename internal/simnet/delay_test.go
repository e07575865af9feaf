package simnet

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// delays are set apart, so that a test can tell which of them has counted.
const (
	fromServer = 300 * time.Millisecond
	toServer   = 20 * time.Millisecond
	fromClient = 7 * time.Millisecond
	toClient   = 1 * time.Millisecond
)

// inSlowBubble is inBubble with a new connection after the delays were set. It returns how long that took to make.
func inSlowBubble(t *testing.T, f func(t *testing.T, w *world, connecting time.Duration)) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		_, _ = w.here.Close(), w.there.Close()
		w.server.Delay(fromServer, toServer)
		w.client.Delay(fromClient, toClient)
		began := time.Now()
		w.dial()
		w.there = <-w.accepted
		f(t, w, time.Since(began))
		_, _ = w.here.Close(), w.there.Close()
		time.Sleep(time.Minute)
	})
}

func TestDelayedDataArrivesInOrderAndLate(t *testing.T) {
	inSlowBubble(t, func(t *testing.T, w *world, connecting time.Duration) {
		if want := fromServer + toServer + fromClient + toClient; connecting != want {
			t.Errorf("connecting took %s, want %s", connecting, want)
		}
		for _, d := range []struct {
			from, to io.ReadWriter
			want     time.Duration
		}{{w.here, w.there, fromClient + toServer}, {w.there, w.here, fromServer + toClient}} {
			began := time.Now()
			for _, text := range []string{"one ", "two ", "three"} { // writes do not wait for the reader
				if _, err := d.from.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("writing took %s", took)
			}
			got := make([]byte, len("one two three"))
			if _, err := io.ReadFull(d.to, got); err != nil || string(got) != "one two three" {
				t.Errorf("got %q, %v", got, err)
			}
			if took := time.Since(began); took != d.want {
				t.Errorf("it arrived after %s, want %s", took, d.want)
			}
		}
	})
}

func TestDelayedConnectionsHaveDeadlines(t *testing.T) {
	inSlowBubble(t, func(t *testing.T, w *world, _ time.Duration) {
		if _, err := w.there.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		_ = w.here.SetReadDeadline(time.Now().Add(fromServer / 2))
		buf := make([]byte, 16)
		if _, err := w.here.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("before the data: %v", err)
		}
		_ = w.here.SetReadDeadline(time.Time{})
		if n, err := w.here.Read(buf); err != nil || string(buf[:n]) != "late" {
			t.Errorf("after it: %q, %v", buf[:n], err)
		}
	})
}

func TestDelayedEnd(t *testing.T) {
	inSlowBubble(t, func(t *testing.T, w *world, _ time.Duration) {
		if _, err := w.there.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		_ = w.there.Close()
		began := time.Now()
		got, err := io.ReadAll(w.here)
		if err != nil || string(got) != "last words" {
			t.Errorf("got %q, %v", got, err)
		}
		if took := time.Since(began); took != fromServer+toClient {
			t.Errorf("the end arrived after %s", took)
		}
	})
}

func TestDialThatTakesTooLong(t *testing.T) {
	inSlowBubble(t, func(t *testing.T, w *world, _ time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), fromServer/2)
		defer cancel()
		if _, err := w.client.Dial(ctx, "tcp", port); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// TestDelayedAndBroken: a host that hangs or is cut off is that with delays, too.
func TestDelayedAndBroken(t *testing.T) {
	inSlowBubble(t, func(t *testing.T, w *world, _ time.Duration) {
		w.server.Hang()
		sent := send(w.there, "held")
		time.Sleep(time.Minute)
		select {
		case err := <-sent:
			t.Errorf("a hung host has sent: %v", err)
		default:
		}
		w.server.Heal()
		buf := make([]byte, 16)
		if n, err := w.here.Read(buf); err != nil || string(buf[:n]) != "held" {
			t.Errorf("healed: %q, %v", buf[:n], err)
		}
		w.server.Cut()
		if _, err := w.here.Read(buf); !errors.Is(err, io.EOF) {
			t.Errorf("cut off: %v", err)
		}
		synctest.Wait()
	})
}
