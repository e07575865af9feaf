package bench

import (
	"fmt"
	"io"
)

// StreamsReport is the result of Streams.
type StreamsReport struct {
	Cores      int              `json:"cores"`
	Go         string           `json:"go"`
	WordBytes  int              `json:"bytesPerWord"`
	Rounds     int              `json:"rounds"`
	Seconds    float64          `json:"secondsOfEach"`
	Deliveries []StreamDelivery `json:"deliveries"`
	Memory     StreamMemory     `json:"memory"`
	Stall      StreamStall      `json:"stall"`
	Beside     Beside           `json:"beside"`
}

// StreamDelivery is what it takes to bring what workers write to those who follow it.
type StreamDelivery struct {
	Streams   int     `json:"streams"`
	Followers int     `json:"followers"`
	Rate      float64 `json:"wordsPerSecondAndStream"`
	// Latency is from the worker's write until the client has read the word.
	Latency Summary `json:"latency"`
	Chunks  int64   `json:"chunks"` // that clients received
	Words   int64   `json:"words"`  // in them
	// CPU of a delivered chunk, of the gateway and of the bare SSE server, in microseconds.
	Bare  float64 `json:"bareMicroseconds"`
	Ours  float64 `json:"microseconds"`
	Ratio float64 `json:"ratio"`
	// Bytes on the wire for each word, with the framing.
	BareBytes float64 `json:"bareBytesPerWord"`
	Bytes     float64 `json:"bytesPerWord"`
}

// StreamMemory is the gateway's heap for a stream that is followed, in bytes.
type StreamMemory struct {
	Streams  int     `json:"streams"`
	Text     int     `json:"text"`     // that each stream has, if it has any
	Empty    float64 `json:"empty"`    // of a stream with one follower, and no text
	Written  float64 `json:"written"`  // of one with the text
	Follower float64 `json:"follower"` // of one more follower of the same stream
}

// StreamStall is what it costs the gateway that sockets follow a stream and read nothing.
type StreamStall struct {
	Sockets int     `json:"sockets"`
	Stream  int64   `json:"stream"`  // bytes that it has
	Seconds float64 `json:"seconds"` // for which they read nothing
	// Each is what the gateway's heap has grown by for each of them, beside what it has for a socket that watches the job.
	Each float64 `json:"bytesEach"`
	Read int64   `json:"read"` // bytes that those received which then read on, compared with what was written
	// Reconnects is how many of these sockets the gateway had closed by then.
	Reconnects int64 `json:"reconnects"`
}

// Beside has acks and ends of jobs with and without streams.
type Beside struct {
	Streams  int     `json:"streams"`
	Flushes  float64 `json:"flushesPerSecondAndStream"`
	Rate     float64 `json:"jobsPerSecond"`
	Acks     Summary `json:"acks"`
	AcksWith Summary `json:"acksWithStreams"`
	Ends     Summary `json:"ends"`
	EndsWith Summary `json:"endsWithStreams"`
	// Busy is how busy the machine was, from 0 to 1, and Cores how many of them this process has used: without streams,
	// and with them.
	Busy  [2]float64 `json:"busy"`
	Cores [2]float64 `json:"cores"`
}

// delivery returns what a turn has measured.
func (t *streamTurn) delivery(followers int) StreamDelivery {
	d := StreamDelivery{
		Streams: t.streams, Followers: followers, Rate: t.rate, Chunks: t.ours.count, Words: t.ours.words,
		Latency: summarise("from the write to the client", t.latency), Bare: t.bare.each(), Ours: t.ours.each(),
		BareBytes: ratio(float64(t.bare.bytes), float64(t.bare.words)),
		Bytes:     ratio(float64(t.ours.bytes), float64(t.ours.words)),
	}
	d.Ratio = ratio(d.Ours, d.Bare)
	return d
}

// judge says whether a value meets its goal.
func judge(value, goal float64) string {
	switch {
	case value == 0:
		return "not measured"
	case value > goal:
		return "missed"
	}
	return "met"
}

// Print writes the report as text.
func (r StreamsReport) Print(w io.Writer) {
	fmt.Fprintf(w, "streams of jobs, through a gateway in its own process, beside the embedded broker, tracker, worker "+
		"and clients on %d cores, %s\nwords of %d bytes; each was measured for %g s in %d rounds\n\n", r.Cores, r.Go,
		r.WordBytes, r.Seconds, r.Rounds)
	fmt.Fprintf(w, "%-48s %8s %8s %8s %8s %8s   milliseconds\n", "from the worker's write to the client", "words", "p50",
		"p90", "p99", "max")
	for _, d := range r.Deliveries {
		s := d.Latency
		fmt.Fprintf(w, "%-48s %8d %8.2f %8.2f %8.2f %8.2f", d.name(), s.Count, s.P50, s.P90, s.P99, s.Max)
		if d.Followers == d.Streams {
			fmt.Fprintf(w, "   goal p50 %g: %s", GoalFlush, judge(s.P50, GoalFlush))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "of them the worker waits %d ms for more words before it writes\n\n", flushEach)
	for _, d := range r.Deliveries {
		fmt.Fprintf(w, "%-48s %8d chunks   bare SSE %6.1f µs of CPU   ours %6.1f   %.2fx, goal %.1fx: %s\n", d.name(),
			d.Chunks, d.Bare, d.Ours, d.Ratio, GoalChunk, judge(d.Ratio, GoalChunk))
		fmt.Fprintf(w, "%-48s %8d words    bare SSE %6.1f bytes each     ours %6.1f\n", "", d.Words, d.BareBytes, d.Bytes)
	}
	m := r.Memory
	fmt.Fprintf(w, "\nheap of the gateway, of %d: a followed stream with its follower %.0f bytes, with %d bytes of text "+
		"%.0f; one more follower %.0f\n", m.Streams, m.Empty, m.Text, m.Written, m.Follower)
	st := r.Stall
	cost := fmt.Sprintf("%.0f each, goal %d: %s", st.Each, GoalStall, judge(st.Each, GoalStall))
	if st.Reconnects > 0 { // what was measured is not the memory of sockets
		cost = "not measured, the gateway has closed them"
	}
	fmt.Fprintf(w, "of %d sockets that read nothing of a stream of %d bytes, and %g s more: %s; those that read on had "+
		"all %d bytes, after %d reconnects\n\n", st.Sockets, st.Stream, st.Seconds, cost, st.Read, st.Reconnects)
	b := r.Beside
	fmt.Fprintf(w, "%-48s %8s %8s %8s %8s %8s %7s\n", fmt.Sprintf("%g jobs/s, beside %d streams with %g flushes/s",
		b.Rate, b.Streams, b.Flushes), "count", "p50", "p90", "p99", "max", "failed")
	for _, s := range []Summary{b.Acks, b.AcksWith, b.Ends, b.EndsWith} {
		fmt.Fprintf(w, "%-48s %8d %8.2f %8.2f %8.2f %8.2f %7d\n", s.Name, s.Count, s.P50, s.P90, s.P99, s.Max, s.Failed)
	}
	fmt.Fprintf(w, "the machine was %.0f %% busy without streams and %.0f %% with them; worker, broker, tracker and "+
		"clients took %.2f and %.2f cores\n", 100*b.Busy[0], 100*b.Busy[1], b.Cores[0], b.Cores[1])
	for _, x := range []struct {
		name          string
		with, without Summary
	}{{"acks", b.AcksWith, b.Acks}, {"ends", b.EndsWith, b.Ends}} {
		p50, p99 := ratio(x.with.P50, x.without.P50), ratio(x.with.P99, x.without.P99)
		fmt.Fprintf(w, "%s beside streams: %.2fx at p50, %.2fx at p99, goal %.2fx: %s\n", x.name, p50, p99, GoalBeside,
			judge(max(p50, p99), GoalBeside))
	}
}

func (d StreamDelivery) name() string {
	if d.Followers > d.Streams {
		return fmt.Sprintf("%d followers of one stream, %.3g words/s", d.Followers, d.Rate)
	}
	return fmt.Sprintf("%d streams, %.3g words/s each", d.Streams, d.Rate)
}
