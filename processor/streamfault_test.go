package processor

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// TestAPieceThatIsNotStoredLeavesNoGap: later pieces of its stream are not sent, and all writes fail.
func TestAPieceThatIsNotStoredLeavesNoGap(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		s.fails = func(c stream.Chunk) error {
			if c.Stream == "tokens" && bytes.Contains(c.Value, []byte("b")) {
				return errors.New("no broker")
			}
			return nil
		}
		tokens, rows := w.named("tokens"), w.named("rows")
		tokens.mustWrite(t, strings.Repeat("a", stream.MaxPiece))
		tokens.mustWrite(t, strings.Repeat("b", stream.MaxPiece))
		tokens.mustWrite(t, strings.Repeat("c", stream.MaxPiece))
		if err := rows.Send(1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_, err := tokens.Write([]byte("d"))
		wantCode(t, "the next write", err, job.CodeStreamNotStored, true)
		wantCode(t, "flush", tokens.Flush(), job.CodeStreamNotStored, true)
		wantCode(t, "another stream", rows.Send(2), job.CodeStreamNotStored, true)
		wantCode(t, "the end", w.shut(time.Second), job.CodeStreamNotStored, true)
		if got := s.text("tokens"); got != strings.Repeat("a", stream.MaxPiece) {
			t.Errorf("%d bytes are sent", len(got))
		}
		wantTotals(t, w.seal(), job.Streams{"tokens": {Kind: job.StreamText, Total: stream.MaxPiece},
			"rows": {Kind: job.StreamJSON, Total: 1}})
		if w.unsent != 0 {
			t.Errorf("%d bytes count as unsent", w.unsent)
		}
	})
}

func TestClosingIsBounded(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		s.delay = time.Hour
		w.named("tokens").mustWrite(t, "a")
		began := time.Now()
		wantCode(t, "the end", w.shut(5*time.Second), job.CodeStreamNotStored, true)
		if took := time.Since(began); took != 5*time.Second || w.seal() != nil {
			t.Errorf("it took %v", took)
		}
	})
}

func TestWritersAreToldWhyTheirContextEnded(t *testing.T) {
	for name, end := range map[string]func(w *streams, cancel context.CancelCauseFunc) error{
		"cancelled": func(_ *streams, cancel context.CancelCauseFunc) error { cancel(ErrCancelled); return ErrCancelled },
		"lost": func(w *streams, cancel context.CancelCauseFunc) error {
			w.abandon(ErrLeaseLost)
			cancel(ErrLeaseLost)
			return ErrLeaseLost
		},
	} {
		onSink(t, func(t *testing.T, w *streams, s *sink) {
			s.delay = time.Hour
			ctx, cancel := context.WithCancelCause(t.Context())
			w.ctx = ctx
			waits, paced := make(chan error, 1), make(chan error, 1)
			go func() { _, err := w.named("a").Write(make([]byte, maxUnsent+1)); waits <- err }()
			go func() {
				for {
					if err := w.named("b").Send(1); err != nil {
						paced <- err
						return
					}
				}
			}()
			time.Sleep(time.Second)
			want := end(w, cancel)
			for _, got := range []error{<-waits, <-paced, w.named("a").Flush(), w.named("c").Send(1)} {
				if !errors.Is(got, want) {
					t.Errorf("%s: %v", name, got)
				}
			}
			time.Sleep(2 * time.Hour)
		})
	}
}

// TestALostRunSendsNothingMore: neither what waits for its time, nor what waits for the piece before it.
func TestALostRunSendsNothingMore(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		s.delay = 10 * time.Millisecond
		tokens := w.named("tokens")
		tokens.mustWrite(t, strings.Repeat("a", 2*stream.MaxPiece))
		if err := w.named("rows").Send(1); err != nil {
			t.Fatal(err)
		}
		w.abandon(ErrStopped)
		time.Sleep(time.Second)
		if err := w.shut(time.Second); err != nil {
			t.Error(err)
		}
		if s.text("tokens") != strings.Repeat("a", stream.MaxPiece) || len(s.items("rows")) != 0 || w.unsent != 0 {
			t.Errorf("%d pieces are sent, %d bytes count as unsent", len(s.pieces), w.unsent)
		}
	})
}

func TestNothingIsWrittenAfterTheHandlerHasReturned(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		tokens := w.named("tokens")
		tokens.mustWrite(t, "a")
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.Write([]byte("b")); !errors.Is(err, ErrStreamsClosed) {
			t.Errorf("write: %v", err)
		}
		w.log.write(logLine{message: "late"})
		wantTotals(t, w.seal(), job.Streams{"tokens": {Kind: job.StreamText, Total: 1}})
		time.Sleep(time.Second)
		if s.text("tokens") != "a" || len(s.items("log")) != 0 {
			t.Error("something was sent")
		}
	})
}
