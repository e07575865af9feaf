package bench

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestStreamsOfAFew: what is measured is not looked at, only that all was written, received and counted.
func TestStreamsOfAFew(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	cfg := StreamsConfig{
		Gateway: buildGateway(t), Streams: []int{2, 5}, Writes: 40, Shared: 10, Flushes: 2, Rate: 10, Text: 200,
		Stalled: 3, Stream: 1 << 20, Stall: 100 * time.Millisecond,
		Duration: 2 * time.Second, Rounds: 1,
	}
	r, err := Streams(t.Context(), cfg, slog.New(slog.DiscardHandler), bareTest)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Deliveries) != 3 {
		t.Fatalf("%+v", r)
	}
	for i, want := range []struct{ streams, followers, words int }{{2, 2, 80}, {5, 5, 80}, {1, 5, 100}} {
		d := r.Deliveries[i]
		if d.Streams != want.streams || d.Followers != want.followers || d.Words != int64(want.words) ||
			d.Latency.Count != d.Words || d.Chunks == 0 || d.Chunks > d.Words || d.Latency.P50 <= 0 {
			t.Errorf("want %+v, got %+v", want, d)
		}
		// The word, "data: ", two line ends, and the framing of a chunk of HTTP; and of a frame at least its keys.
		if d.BareBytes != float64(sseBytes(wordBytes)) || d.Bytes < 100 || d.Bytes > 300 {
			t.Errorf("bytes of %+v", d)
		}
	}
	b := r.Beside
	if b.Acks.Count != 20 || b.AcksWith.Count != 20 || b.Ends.Count != 20 || b.EndsWith.Count != 20 || b.Streams != 5 {
		t.Errorf("%+v", b)
	}
	if st := r.Stall; st.Sockets != 3 || st.Stream < 1<<20-2*wordBytes || st.Read != 3*st.Stream {
		t.Errorf("%+v", st)
	}
	if r.Memory.Streams != 5 || r.Memory.Text != 195 {
		t.Errorf("%+v", r.Memory)
	}
	var out bytes.Buffer
	r.Print(&out)
	if s := out.String(); strings.Count(s, "\n") < 18 || !strings.Contains(s, "5 followers of one stream") {
		t.Error(s)
	}
	var again StreamsReport
	text, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(text, &again)
	}
	if err != nil || again.Beside != r.Beside || again.Memory != r.Memory {
		t.Errorf("as JSON: %+v, %v", again, err)
	}
}

func TestStreamsRefusesWhatCannotBeMeasured(t *testing.T) {
	fine := StreamsConfig{
		Streams: []int{1}, Writes: 1, Shared: 1, Flushes: 1, Rate: 1, Duration: time.Second, Rounds: 1, Stalled: 1,
		Stream: 1 << 20,
	}
	for name, change := range map[string]func(*StreamsConfig){
		"streams must be":  func(c *StreamsConfig) { c.Streams = nil },
		"streams must":     func(c *StreamsConfig) { c.Streams = []int{7, 5000} },
		"writes":           func(c *StreamsConfig) { c.Writes = 0 },
		"shared":           func(c *StreamsConfig) { c.Shared = 21 },
		"must be positive": func(c *StreamsConfig) { c.Shared = 0 },
		"flushes":          func(c *StreamsConfig) { c.Flushes = 100 },
		"rate":             func(c *StreamsConfig) { c.Rate = -1 },
		"duration":         func(c *StreamsConfig) { c.Duration = 0 },
		"rounds":           func(c *StreamsConfig) { c.Rounds = 0 },
		"text":             func(c *StreamsConfig) { c.Text = 1 << 20 },
		"stalled":          func(c *StreamsConfig) { c.Stalled = 0 },
		"stream of":        func(c *StreamsConfig) { c.Stream = 1 << 30 },
	} {
		cfg := fine
		change(&cfg)
		if _, err := Streams(t.Context(), cfg, slog.New(slog.DiscardHandler), nil); err == nil ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The verdicts: a goal that was not measured is not met.
func TestTheVerdictsOfStreams(t *testing.T) {
	of := func(d StreamDelivery, b Beside) StreamsReport {
		return StreamsReport{Deliveries: []StreamDelivery{d}, Beside: b}
	}
	for want, r := range map[string]StreamsReport{
		"goal p50 30: met":          of(StreamDelivery{Latency: Summary{P50: 30}}, Beside{}),
		"goal p50 30: missed":       of(StreamDelivery{Latency: Summary{P50: 31}}, Beside{}),
		"goal p50 30: not measured": of(StreamDelivery{}, Beside{}),
		"goal 2.0x: met":            of(StreamDelivery{Ratio: 2}, Beside{}),
		"goal 2.0x: missed":         of(StreamDelivery{Ratio: 2.1}, Beside{}),
		"acks beside streams: 1.00x at p50, 1.20x at p99, goal 1.10x: missed": of(StreamDelivery{},
			Beside{Acks: Summary{P50: 5, P99: 10}, AcksWith: Summary{P50: 5, P99: 12}}),
		"ends beside streams: 0.00x at p50, 0.00x at p99, goal 1.10x: not measured": of(StreamDelivery{}, Beside{}),
	} {
		var out bytes.Buffer
		if r.Print(&out); !strings.Contains(out.String(), want) {
			t.Errorf("want %q in\n%s", want, out.String())
		}
	}
}
