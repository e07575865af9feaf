package processor

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// sink stores pieces as Kafka would: it answers after a time, and fails as it is told.
type sink struct {
	t     *testing.T
	delay time.Duration
	fails func(c stream.Chunk) error // nil: none

	mu     sync.Mutex
	pieces []stream.Chunk
	at     []time.Time
}

func (s *sink) store(c stream.Chunk, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.fails != nil {
		err = s.fails(c)
	}
	if err == nil {
		headers := c.Headers()
		if got, err := stream.Parse(c.JobID, headers, c.Value); err != nil || got.Length != c.Length {
			s.t.Errorf("a piece that is not valid: %v, %d of %d: %.80q", err, got.Length, c.Length, c.Value)
		}
		s.pieces, s.at = append(s.pieces, c), append(s.at, time.Now())
	}
	time.AfterFunc(s.delay, func() { done(err) })
}

// of returns the pieces of one stream, and checks that there is no gap between them.
func (s *sink) of(name string) (pieces []stream.Chunk, at []time.Time) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	end := int64(0)
	for i, c := range s.pieces {
		if c.Stream != name {
			continue
		}
		if c.From != end {
			s.t.Errorf("%s: a piece begins at %d, not at %d", name, c.From, end)
		}
		end = c.End()
		pieces, at = append(pieces, c), append(at, s.at[i])
	}
	return pieces, at
}

func (s *sink) text(name string) string {
	s.t.Helper()
	var b strings.Builder
	pieces, _ := s.of(name)
	for _, c := range pieces {
		b.Write(c.Value)
	}
	return b.String()
}

func (s *sink) items(name string) (all []json.RawMessage) {
	s.t.Helper()
	pieces, _ := s.of(name)
	for _, c := range pieces {
		items, err := stream.Items(c.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, items...)
	}
	return all
}

const testRate = 1 << 20 // bytes per second

// onSink runs a test of streams in a bubble.
func onSink(t *testing.T, test func(t *testing.T, w *streams, s *sink)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		s := &sink{t: t, delay: 5 * time.Millisecond}
		test(t, newTestStreams(s, streamLimits{defaultStreamLimit, testRate}), s)
	})
}

func newTestStreams(s *sink, limits streamLimits) *streams {
	m := newStreamMetrics(meter.New(prometheus.NewRegistry(), "processor"))
	return newStreams(identity{"j", 1, "r"}, limits, m, s.store)
}

// wantCode checks an error's code, and whether another attempt would repeat it.
func wantCode(t *testing.T, what string, err error, code string, retryable bool) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %s", what, code)
		return
	}
	if f := failureOf(err, nil); f.Code != code || f.Retryable != retryable {
		t.Errorf("%s: %+v, want %s", what, f, code)
	}
}

func (s *Stream) mustWrite(t *testing.T, text string) {
	t.Helper()
	if n, err := s.Write([]byte(text)); err != nil || n != len(text) {
		t.Fatalf("write %.40q: %d, %v", text, n, err)
	}
}

func wantTotals(t *testing.T, got, want job.Streams) {
	t.Helper()
	if len(got) != len(want) || got.Validate() != nil {
		t.Errorf("totals %v, want %v", got, want)
	}
	for name, total := range want {
		if got[name] != total {
			t.Errorf("totals %v, want %v", got, want)
		}
	}
}

func TestAPieceIsSent25MillisecondsAfterItsFirstByte(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		began := time.Now()
		tokens := w.named("tokens")
		for range 10 {
			tokens.mustWrite(t, "word ")
			time.Sleep(10 * time.Millisecond)
		}
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
		pieces, at := s.of("tokens")
		var after []time.Duration
		for _, when := range at {
			after = append(after, when.Sub(began))
		}
		// Words come at 0, 10, …, 90 ms: those at 0, 10 and 20 are the first piece.
		want := []time.Duration{25, 55, 85, 100}
		if len(pieces) != len(want) || string(pieces[0].Value) != "word word word " {
			t.Fatalf("%d pieces after %v: %+v", len(pieces), after, pieces)
		}
		for i, ms := range want {
			if after[i] != ms*time.Millisecond {
				t.Errorf("piece %d is sent after %v, want %d ms", i, after[i], ms)
			}
		}
	})
}

func TestAFullPieceIsSentAtOnce(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		began := time.Now()
		tokens := w.named("tokens")
		tokens.mustWrite(t, strings.Repeat("x", stream.MaxPiece-1))
		synctest.Wait()
		if pieces, _ := s.of("tokens"); len(pieces) != 0 {
			t.Fatal("a piece that is not full is sent at once")
		}
		tokens.mustWrite(t, "y")
		pieces, at := s.of("tokens")
		if len(pieces) != 1 || at[0] != began || pieces[0].Length != stream.MaxPiece {
			t.Errorf("%d pieces", len(pieces))
		}
		tokens.mustWrite(t, strings.Repeat("z", 3*stream.MaxPiece+7))
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
		if pieces, _ = s.of("tokens"); len(pieces) != 5 || pieces[4].Length != 7 {
			t.Errorf("%d pieces", len(pieces))
		}
		wantTotals(t, w.seal(), job.Streams{"tokens": {Kind: job.StreamText, Total: 4*stream.MaxPiece + 7}})
	})
}

func TestFlushWaitsUntilAllIsStored(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		tokens := w.named("tokens")
		began := time.Now()
		tokens.mustWrite(t, "now")
		if err := tokens.Flush(); err != nil || s.text("tokens") != "now" || time.Since(began) != s.delay {
			t.Errorf("%v, %q after %v", err, s.text("tokens"), time.Since(began))
		}
		if err := tokens.Flush(); err != nil || time.Since(began) != s.delay {
			t.Errorf("nothing is left: %v after %v", err, time.Since(began))
		}
	})
}

// TestTextsAreCutBetweenCharacters: whatever is written, in whatever parts, the stored text is what a reader of all of
// it at once would see, and every piece is whole by itself (sink.store checks each).
func TestTextsAreCutBetweenCharacters(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "ä", "€", "😀", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\x80", "\xed\xa0\x80", "\x00"}
	for range 30 {
		var all []byte
		for size := random.IntN(3 * stream.MaxPiece); len(all) < size; {
			word := alphabet[random.IntN(len(alphabet))]
			if random.IntN(3) > 0 {
				word = alphabet[3]
			}
			all = append(all, word...)
		}
		onSink(t, func(t *testing.T, w *streams, s *sink) {
			tokens := w.named("tokens")
			for rest := all; len(rest) > 0; {
				n := min(1+random.IntN(1<<random.IntN(16)), len(rest))
				if took, err := tokens.Write(rest[:n]); took != n || err != nil {
					t.Fatal(took, err)
				}
				rest = rest[n:]
			}
			if err := w.shut(time.Second); err != nil {
				t.Fatal(err)
			}
			var want []byte
			for rest := all; len(rest) > 0; {
				r, size := utf8.DecodeRune(rest)
				want = utf8.AppendRune(want, r)
				rest = rest[size:]
			}
			if got := s.text("tokens"); got != string(want) {
				t.Fatalf("%d bytes have become %d, want %d", len(all), len(got), len(want))
			}
			if got := w.seal()["tokens"].Total; got != int64(len(want)) || w.used != got {
				t.Fatalf("total %d, counted %d, want %d", got, w.used, len(want))
			}
		})
	}
}

func TestItemsAreSentAsArrays(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		rows := w.named("rows")
		values := []any{1, "<&>", map[string]int{"a": 1}, nil, json.RawMessage(` [1, 2] `), strings.Repeat("x", 32766)}
		for _, v := range values {
			if err := rows.Send(v); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
		pieces, _ := s.of("rows")
		if len(pieces) != 2 || string(pieces[0].Value) != `[1,"<&>",{"a":1},null,[1,2]]` || len(pieces[1].Value) != stream.MaxValue {
			t.Errorf("%d pieces, the first: %.80s", len(pieces), pieces[0].Value)
		}
		wantTotals(t, w.seal(), job.Streams{"rows": {Kind: job.StreamJSON, Total: 6}})
	})
}

func TestItemsThatAreRefused(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		rows := w.named("rows")
		deep := strings.Repeat("[", 100) + strings.Repeat("]", 100) // as an item of an array it is too deep
		for what, c := range map[string]struct {
			value any
			code  string
		}{
			"a function":   {func() {}, job.CodeInvalidStream},
			"not JSON":     {json.RawMessage(`{`), job.CodeInvalidStream},
			"a name twice": {json.RawMessage(`{"a":1,"a":2}`), job.CodeInvalidStream},
			"a surrogate":  {json.RawMessage(`"\ud800"`), job.CodeInvalidStream},
			"nested":       {json.RawMessage(deep), job.CodeInvalidStream},
			"too large":    {strings.Repeat("x", stream.MaxPiece-1), job.CodeStreamTooLarge},
		} {
			wantCode(t, what, rows.Send(c.value), c.code, false)
		}
		if err := w.shut(time.Second); err != nil || w.seal() != nil || w.used != 0 {
			t.Errorf("%v: something was written: %v", err, s.items("rows"))
		}
	})
}

// TestItemsAreSentTogether: all are appended, or none.
func TestItemsAreSentTogether(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		rows := w.named("rows")
		if kind, end := rows.Stored(); kind != "" || end != 0 {
			t.Errorf("before anything was written: %q, %d", kind, end)
		}
		large := json.RawMessage(`"` + strings.Repeat("x", stream.MaxPiece) + `"`)
		wantCode(t, "a large item", rows.SendAll([]json.RawMessage{[]byte("1"), large}), job.CodeStreamTooLarge, false)
		wantCode(t, "no JSON", rows.SendAll([]json.RawMessage{[]byte("1"), []byte("{")}), job.CodeInvalidStream, false)
		w.limit = 5
		wantCode(t, "too much", rows.SendAll([]json.RawMessage{[]byte("123"), []byte("456")}), job.CodeStreamTooLarge, false)
		if err := rows.SendAll([]json.RawMessage{[]byte("12"), []byte(" 345 ")}); err != nil {
			t.Error(err)
		}
		if kind, end := rows.Stored(); kind != job.StreamJSON || end != 0 {
			t.Errorf("before it is stored: %q, %d", kind, end)
		}
		if err := rows.Flush(); err != nil {
			t.Error(err)
		}
		if kind, end := rows.Stored(); kind != job.StreamJSON || end != 2 {
			t.Errorf("when it is stored: %q, %d", kind, end)
		}
		if got := s.items("rows"); len(got) != 2 || string(got[0]) != "12" || string(got[1]) != "345" {
			t.Errorf("%s", got)
		}
		none := w.named("No")
		wantCode(t, "a bad name", none.SendAll(nil), job.CodeInvalidStream, false)
		if kind, end := none.Stored(); kind != "" || end != 0 {
			t.Errorf("a bad name: %q, %d", kind, end)
		}
	})
}

func TestAStreamHasOneKind(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		tokens, rows := w.named("tokens"), w.named("rows")
		tokens.mustWrite(t, "a")
		if err := rows.Send(1); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "an item of a text", w.named("tokens").Send(1), job.CodeInvalidStream, false)
		_, err := rows.Write([]byte("b"))
		wantCode(t, "text in a list", err, job.CodeInvalidStream, false)
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
		wantTotals(t, w.seal(), job.Streams{
			"tokens": {Kind: job.StreamText, Total: 1}, "rows": {Kind: job.StreamJSON, Total: 1},
		})
	})
}

// TestARunHas8Streams: seven that its handler names, and its log.
func TestARunHas8Streams(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		for i := range 7 {
			w.named(string(rune('a'+i))).mustWrite(t, "x")
		}
		for _, name := range []string{"h", "", "A", "log", strings.Repeat("x", 33), "ä"} {
			bad := w.named(name)
			_, err := bad.Write([]byte("x"))
			wantCode(t, "write to "+name, err, job.CodeInvalidStream, false)
			wantCode(t, "send to "+name, bad.Send(1), job.CodeInvalidStream, false)
			wantCode(t, "flush "+name, bad.Flush(), job.CodeInvalidStream, false)
		}
		w.named("g").mustWrite(t, "y")
		w.log.write(logLine{message: "hello"})
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
		if got := w.seal(); len(got) != job.MaxStreams || got.Validate() != nil || got["g"].Total != 2 {
			t.Errorf("totals %v", got)
		}
	})
}

func TestTheLimitIsMetToTheByte(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := &sink{t: t}
		w := newTestStreams(s, streamLimits{total: 100, rate: testRate})
		tokens, rows := w.named("tokens"), w.named("rows")
		tokens.mustWrite(t, strings.Repeat("x", 90))
		if err := rows.Send("12345"); err != nil { // 7 bytes
			t.Fatal(err)
		}
		for _, text := range []string{"four", "€x", "\xff\xff"} {
			n, err := tokens.Write([]byte(text))
			wantCode(t, text, err, job.CodeStreamTooLarge, false)
			if n != 0 {
				t.Errorf("%d bytes of %q are taken", n, text)
			}
		}
		wantCode(t, "an item", rows.Send("12"), job.CodeStreamTooLarge, false)
		tokens.mustWrite(t, "€")
		tokens.mustWrite(t, "")
		_, err := tokens.Write([]byte("x"))
		wantCode(t, "one byte more", err, job.CodeStreamTooLarge, false)
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
		wantTotals(t, w.seal(), job.Streams{
			"tokens": {Kind: job.StreamText, Total: 93}, "rows": {Kind: job.StreamJSON, Total: 1},
		})
	})
}

// TestHalfACharacterAtTheLimit: replaced, it has more bytes than there is room for, which is said at the end.
func TestHalfACharacterAtTheLimit(t *testing.T) {
	for limit, code := range map[int64]string{12: job.CodeStreamTooLarge, 13: ""} {
		bubble.Test(t, func(t *testing.T) {
			s := &sink{t: t}
			w := newTestStreams(s, streamLimits{total: limit, rate: testRate})
			w.named("tokens").mustWrite(t, "xxxxxxx\xe2\x82")
			err := w.shut(time.Second)
			if code == "" {
				if err != nil || s.text("tokens") != "xxxxxxx\uFFFD\uFFFD" {
					t.Errorf("%v: %q", err, s.text("tokens"))
				}
				return
			}
			wantCode(t, "half a character", err, code, false)
		})
	}
}

func TestWritesWaitForTheRate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := &sink{t: t}
		w := newTestStreams(s, streamLimits{total: defaultStreamLimit, rate: 64 << 10})
		tokens, rows := w.named("tokens"), w.named("rows")
		began := time.Now()
		tokens.mustWrite(t, strings.Repeat("x", 64<<10))
		if took := time.Since(began); took != 0 {
			t.Errorf("the first second's bytes have waited %v", took)
		}
		tokens.mustWrite(t, strings.Repeat("x", 128<<10))
		if took := time.Since(began); took < 1990*time.Millisecond || took > 2010*time.Millisecond {
			t.Errorf("192 KiB at 64 KiB/s took %v", took)
		}
		if err := rows.Send(strings.Repeat("x", 30<<10)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 2450*time.Millisecond || took > 2500*time.Millisecond {
			t.Errorf("all streams share the rate: %v", took)
		}
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
	})
}

func TestUnsentBytesAreBounded(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		s.delay = time.Second
		began := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.named("a").mustWrite(t, strings.Repeat("x", 256<<10))
		}()
		for range 40 {
			time.Sleep(100 * time.Millisecond)
			w.mu.Lock()
			if w.unsent > maxUnsent {
				t.Errorf("%d bytes are not stored", w.unsent)
			}
			w.mu.Unlock()
		}
		<-done
		// 4 of 8 pieces have room; the others follow as those are stored, one per second.
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("the write took %v", took)
		}
		if err := w.shut(10 * time.Second); err != nil || w.unsent != 0 {
			t.Errorf("%v, %d bytes are not stored", err, w.unsent)
		}
	})
}

// TestWritersMayBeMany: what one call writes stays together.
func TestWritersMayBeMany(t *testing.T) {
	onSink(t, func(t *testing.T, w *streams, s *sink) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				line := strings.Repeat(string(rune('a'+i)), 20<<10) + "\n"
				for range 3 {
					if _, err := w.named("tokens").Write([]byte(line)); err != nil {
						t.Error(err)
					}
					if err := w.named("rows").Send(i); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := w.shut(time.Second); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(s.text("tokens")) {
			if line != strings.Repeat(line[:1], 20<<10)+"\n" {
				t.Fatalf("lines are mixed: %d bytes", len(line))
			}
		}
		if got := len(s.items("rows")); got != 24 {
			t.Errorf("%d items", got)
		}
	})
}

// BenchmarkWrite writes tokens of 5 bytes; a piece is a few allocations for thousands of writes.
func BenchmarkWrite(b *testing.B) {
	w := newStreams(identity{"j", 1, "r"}, streamLimits{1 << 50, 1 << 40},
		newStreamMetrics(meter.New(prometheus.NewRegistry(), "processor")),
		func(_ stream.Chunk, done func(error)) { go done(nil) })
	tokens, word := w.named("tokens"), []byte("word ")
	b.ReportAllocs()
	b.SetBytes(int64(len(word)))
	for b.Loop() {
		if _, err := tokens.Write(word); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.shut(time.Minute); err != nil {
		b.Fatal(err)
	}
}
