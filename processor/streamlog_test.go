package processor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// logger returns the logger of a job with these streams, and the worker's log.
func (w *streams) logger(level slog.Level) (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	var j Job
	j.connect(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level})).With("job", "j"), w)
	return j.Log, &out
}

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no") }

type secret struct{}

func (secret) LogValue() slog.Value { return slog.StringValue("hidden") }

func TestLinesOfALog(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		log, out := w.logger(slog.LevelWarn)
		now := time.Now().UTC().Format(time.RFC3339Nano)
		log.Debug("not this")
		log.Info("plain")
		log.Warn("kinds", "n", 1, "f", 0.5, "b", true, "d", time.Second, "err", errors.New("a <b>"), "v", secret{},
			"list", []int{1, 2}, "panics", panics{}, "fn", func() {}, "nan", slog.Float64Value(0))
		log.With("a", 1, "b", 2).WithGroup("g").With("c", 3).Error("groups", "a", 4, "c", 5, slog.Group("h", "x", 1),
			slog.Group("empty"), slog.Group("", "inline", true))
		log.Info("reserved", "time", 1, "level", 2, "message", 3, "left_out", 4)
		log.Info("not \xff UTF-8", "k\xff", "v\xff", "raw", json.RawMessage(`{"a":1,"a":2}`))
		log.WithGroup("unused").Info("no attributes")
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
		items := s.items("log")
		for i, want := range []string{
			`{"time":"` + now + `","level":"INFO","message":"plain"}`,
			`"level":"WARN","message":"kinds","b":true,"d":"1s","err":"a <b>","f":0.5,"fn":"`,
			`"level":"ERROR","message":"groups","a":1,"b":2,"g":{"a":4,"c":5,"h":{"x":1},"inline":true}}`,
			`"message":"reserved","left_out_":4,"level_":2,"message_":3,"time_":1}`,
			"\"message\":\"not \uFFFD UTF-8\"," + `"k\ufffd":"v\ufffd","raw":"`,
			`"message":"no attributes"}`,
		} {
			if i >= len(items) || !strings.Contains(string(items[i]), want) {
				t.Fatalf("line %d is not %s: %s", i, want, items)
			}
		}
		if len(items) != 6 || !strings.Contains(string(items[1]), `"list":[1,2],"n":1,"nan":0,"panics":"!PANIC","v":"hidden"}`) {
			t.Errorf("%d lines: %s", len(items), items[1])
		}
		// The worker's log is as it was: at its own level, and with the attributes that the job's owner does not see.
		if got := out.String(); strings.Contains(got, "plain") || strings.Count(got, "job=j") != 2 ||
			!strings.Contains(got, "g.h.x=1") {
			t.Errorf("the worker's log: %s", got)
		}
		wantTotals(t, w.seal(), job.Streams{"log": {Kind: job.StreamJSON, Total: 6}})
	})
}

// leftOut returns how many lines a log's lines say were left out, and how many lines there are beside the last.
func leftOut(t *testing.T, items []json.RawMessage) (said, taken int) {
	t.Helper()
	for _, item := range items {
		var line struct {
			Message string `json:"message"`
			LeftOut int    `json:"left_out"`
		}
		if err := json.Unmarshal(item, &line); err != nil {
			t.Fatal(err)
		}
		said += line.LeftOut
		if line.Message != "lines of this log were left out" {
			taken++
		}
	}
	return said, taken
}

// TestALogLeavesLinesOut: above its rate and above its total, without waiting, and it says how many.
func TestALogLeavesLinesOut(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		log, _ := w.logger(slog.LevelError)
		began := time.Now()
		const lines = 4000
		text := strings.Repeat("x", 1000)
		for i := range lines {
			if i%200 == 199 {
				time.Sleep(time.Second)
			}
			log.Info(text)
		}
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("logging has waited: %v", took)
		}
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
		said, taken := leftOut(t, s.items("log"))
		if said+taken != lines || said == 0 {
			t.Errorf("%d lines are there, %d said to be left out, of %d", taken, said, lines)
		}
		if w.log.used > maxLog || w.log.used < maxLog-2000 || w.log.unsent != 0 {
			t.Errorf("%d bytes, %d not stored", w.log.used, w.log.unsent)
		}
		if got := counter(t, w.meter.leftOut); int(got) != said {
			t.Errorf("%v lines are counted", got)
		}
	})
}

// TestALogNeverWaits for Kafka: what is not stored is bounded.
func TestALogNeverWaits(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		s.delay = time.Minute
		log, _ := w.logger(slog.LevelError)
		for range 300 {
			log.Info(strings.Repeat("x", 1000))
			time.Sleep(20 * time.Millisecond)
			if w.log.unsent > maxLogUnsent {
				t.Fatalf("%d bytes are not stored", w.log.unsent)
			}
		}
		if err := w.shut(time.Hour); err != nil {
			t.Fatal(err)
		}
		if said, taken := leftOut(t, s.items("log")); said+taken != 300 || said == 0 {
			t.Errorf("%d lines are there, %d said to be left out", taken, said)
		}
	})
}

// TestALogThatFailsEnds, and the run's streams do not.
func TestALogThatFailsEnds(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		s.fails = func(c stream.Chunk) error {
			if c.Stream == job.StreamLog {
				return errors.New("no broker")
			}
			return nil
		}
		log, _ := w.logger(slog.LevelError)
		log.Info("a")
		time.Sleep(time.Second)
		log.Info("b")
		w.named("tokens").mustWrite(t, "x")
		if err := w.shut(time.Second); err != nil {
			t.Error(err)
		}
		wantTotals(t, w.seal(), job.Streams{"tokens": {Kind: job.StreamText, Total: 1}})
	})
}

func TestALineThatIsTooLargeIsLeftOut(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		log, _ := w.logger(slog.LevelError)
		log.Info("large", "text", strings.Repeat("x", stream.MaxPiece))
		log.Info(strings.Repeat("y", 2*maxLogMessage))
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
		items := s.items("log")
		if said, taken := leftOut(t, items); said != 1 || taken != 1 || len(items[0]) > maxLogMessage+200 {
			t.Errorf("%d lines, %d left out", taken, said)
		}
	})
}

func BenchmarkLog(b *testing.B) {
	w := newTestStreams(&sink{}, streamLimits{defaultStreamLimit, testRate})
	w.log.pace.SetBurst(0) // all lines are left out, after they were made
	log := slog.New(logHandler{worker: slog.DiscardHandler, log: w.log})
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(context.Background(), slog.LevelInfo, "an item is made", slog.Int("n", 7), slog.String("name", "x"))
	}
}
