package stream

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

func sample() Chunk {
	return Chunk{JobID: "j", Stream: "tokens", Kind: job.StreamText, Dispatch: 2, Run: "r", From: 7,
		Value: []byte("häuser"), Length: 7}
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	rows := sample()
	rows.Kind, rows.Value, rows.Length = job.StreamJSON, []byte(`[1, {"a":"]"}, [2,3]]`), 3
	for _, c := range []Chunk{sample(), rows} {
		headers := append(c.Headers(), topic.Header{Key: "other", Value: []byte("x")})
		got, err := Parse(c.JobID, headers, c.Value)
		if err != nil || got.Stream != c.Stream || got.Kind != c.Kind || got.Dispatch != c.Dispatch || got.Run != c.Run ||
			got.From != c.From || got.End() != c.From+c.Length || !bytes.Equal(got.Value, c.Value) {
			t.Errorf("%+v, %v, want %+v", got, err, c)
		}
	}
}

// Each case changes one thing of a record that is right, and one that is just within its bound stays right.
func TestRecordsThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", MaxPiece)
	for _, c := range []struct {
		name   string
		change func(*Chunk)
		want   string // empty: it is right
	}{
		{"as it is", func(*Chunk) {}, ""},
		{"no key", func(c *Chunk) { c.JobID = "" }, "not a job ID"},
		{"a long key", func(c *Chunk) { c.JobID = strings.Repeat("k", job.MaxNameChars+1) }, "not a job ID"},
		{"a name in capitals", func(c *Chunk) { c.Stream = "Tokens" }, "not the name of a stream"},
		{"a name of 32", func(c *Chunk) { c.Stream = long[:32] }, ""},
		{"a name of 33", func(c *Chunk) { c.Stream = long[:33] }, "not the name of a stream"},
		{"another kind", func(c *Chunk) { c.Kind = "xml" }, "neither text nor json"},
		{"a log of text", func(c *Chunk) { c.Stream = job.StreamLog }, "of the kind json"},
		{"no dispatch", func(c *Chunk) { c.Dispatch = 0 }, "not a positive number"},
		{"no run", func(c *Chunk) { c.Run = "" }, "not the name of a run"},
		{"a run that is not UTF-8", func(c *Chunk) { c.Run = "\xff" }, "not the name of a run"},
		{"before the beginning", func(c *Chunk) { c.From = -1 }, "not a position"},
		{"behind all offsets", func(c *Chunk) { c.From = MaxPosition }, "not a position"},
		{"empty", func(c *Chunk) { c.Value = nil }, "is empty"},
		{"the longest text", func(c *Chunk) { c.Value = []byte(long) }, ""},
		{"a longer text", func(c *Chunk) { c.Value = []byte(long + "x") }, "more than 32768 bytes"},
		{"half a character", func(c *Chunk) { c.Value = []byte("h\xc3") }, "not UTF-8"},
		{"the largest value", func(c *Chunk) { c.Kind, c.Value = job.StreamJSON, []byte(`["`+long[2:]+`"]`) }, ""},
		{"a larger value", func(c *Chunk) { c.Kind, c.Value = job.StreamJSON, []byte(`["`+long[1:]+`"]`) },
			"more than 32768 bytes"},
		{"no values", func(c *Chunk) { c.Kind, c.Value = job.StreamJSON, []byte(`[]`) }, "is empty"},
		{"no array", func(c *Chunk) { c.Kind, c.Value = job.StreamJSON, []byte(`{}`) }, "not an array"},
		{"null", func(c *Chunk) { c.Kind, c.Value = job.StreamJSON, []byte(`null`) }, "is empty"},
		{"half an array", func(c *Chunk) { c.Kind, c.Value = job.StreamJSON, []byte(`[1`) }, "values of a stream"},
		{"a name twice", func(c *Chunk) { c.Kind, c.Value = job.StreamJSON, []byte(`[{"a":1,"a":2}]`) }, "values of a stream"},
	} {
		chunk := sample()
		c.change(&chunk)
		_, err := Parse(chunk.JobID, chunk.Headers(), chunk.Value)
		if got := ""; err != nil {
			got = err.Error()
			if c.want == "" || !strings.Contains(got, c.want) {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		} else if c.want != "" {
			t.Errorf("%s: it is taken, want %q", c.name, c.want)
		}
	}
	if _, err := Parse("j", nil, []byte("x")); err == nil || !strings.Contains(err.Error(), "unknown version") {
		t.Errorf("no version: %v", err)
	}
}

func TestOffsetsSortAsCursorsDo(t *testing.T) {
	for _, life := range []uint32{0, 1, 1<<32 - 1, LifeOf("a")} {
		sorted := []Cursor{{1, 0, life}, {1, 9, life}, {1, 10, life}, {1, MaxPosition, life}, {2, 0, life}, {10, 0, life},
			{1<<31 - 1, 5, life}}
		for i, c := range sorted {
			if got, err := ParseOffset(c.Offset()); err != nil || got != c {
				t.Errorf("%s: %+v, %v", c.Offset(), got, err)
			}
			if i > 0 && sorted[i-1].Offset() >= c.Offset() {
				t.Errorf("%s does not come before %s", sorted[i-1].Offset(), c.Offset())
			}
		}
	}
	if a, b := LifeOf("a"), LifeOf("b"); a == b || a == 0 || LifeOf("") != 0 {
		t.Errorf("the marks of lives are %d and %d", a, b)
	}
	for _, s := range []string{
		"", "_", "1_2", "0000000000_0000000000000", "0000000001_-000000000001",
		"+000000001_0000000000000", "9999999999_0000000000000", "0000000001_0000000000000 ", "0000000001_0000000000000_",
		"0000000001_0000000000000_00000000", "0000000001_0000000000000_0000000A", "0000000001_0000000000000_1",
		"0000000001_0000000000000_100000000", "0000000001_0000000000000_00000001_"} {
		if c, err := ParseOffset(s); err == nil {
			t.Errorf("%q is taken as %+v", s, c)
		}
	}
}

// FuzzWholeText: what is cut off begins a character, and what is left and what comes later make up the same
// text in whole characters.
func FuzzWholeText(f *testing.F) {
	for _, s := range []string{
		"", "a", "ä", "a\xc3", "\xe2\x82", "€", "\xf0\x9f\x98", "😀x", "\xff\xfe", "\x80\x80\x80\x80",
	} {
		f.Add([]byte(s), uint(len(s)/2))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint) {
		n := WholeText(b)
		if n < 0 || n > len(b) || len(b)-n >= utf8.UTFMax || n < len(b) && utf8.FullRune(b[n:]) {
			t.Fatalf("%q is cut at %d", b, n)
		}
		if !utf8.Valid(b) {
			return
		}
		var got, rest []byte
		at := int(cut % uint(len(b)+1))
		for _, part := range [][]byte{b[:at], b[at:]} {
			rest = append(rest, part...)
			whole := WholeText(rest)
			if !utf8.Valid(rest[:whole]) {
				t.Fatalf("%q is cut within a character", b)
			}
			got, rest = append(got, rest[:whole]...), append([]byte(nil), rest[whole:]...)
		}
		if !bytes.Equal(got, b) || len(rest) > 0 {
			t.Fatalf("%q has become %q and %q", b, got, rest)
		}
	})
}

// FuzzParse: what is taken is written and read as the same.
func FuzzParse(f *testing.F) {
	c := sample()
	f.Add(c.JobID, c.Stream, string(c.Kind), "2", c.Run, "7", c.Value)
	f.Add("j", "rows", "json", "1", "r", "0", []byte(`[1,"a",{"b":null}]`))
	f.Fuzz(func(t *testing.T, key, name, kind, dispatch, run, from string, value []byte) {
		got, err := Parse(key, []topic.Header{
			{Key: topic.HeaderVersion, Value: []byte(topic.RequestVersion)}, {Key: HeaderStream, Value: []byte(name)},
			{Key: HeaderKind, Value: []byte(kind)}, {Key: topic.HeaderDispatch, Value: []byte(dispatch)},
			{Key: HeaderRun, Value: []byte(run)}, {Key: HeaderFrom, Value: []byte(from)},
		}, value)
		if err != nil {
			return
		}
		again, err := Parse(got.JobID, got.Headers(), got.Value)
		if err != nil || again.End() != got.End() || again.Length < 1 || again.Stream != got.Stream ||
			(Cursor{Dispatch: got.Dispatch, At: got.End()}).At > MaxPosition {
			t.Fatalf("%+v is read again as %+v, %v", got, again, err)
		}
	})
}
