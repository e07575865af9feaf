package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/pace"
	"github.com/ackwire/ackwire/loadtest/system"
)

// StreamsConfig has the settings of the benchmark of jobs' streams.
type StreamsConfig struct {
	Gateway  string        `help:"The gateway's binary. It runs in its own process, so that its CPU and memory can be measured." default:"bin/gateway"`
	Streams  []int         `help:"Numbers of streams that are written at the same time, each followed by a socket of its own." default:"100,1000"`
	Writes   float64       `help:"Words written per second, over all streams; no stream gets more than 20." default:"500"`
	Shared   float64       `help:"Words per second in the stream that all sockets follow." default:"2"`
	Flushes  float64       `help:"Words per second in each stream while acks are measured beside the most streams; 20 is the most that is flushed one by one." default:"1"`
	Rate     float64       `help:"Jobs per second whose acks and ends are measured, open loop." default:"50"`
	Text     int           `help:"Bytes that each stream has when memory is measured." default:"1024"`
	Stalled  int           `help:"Sockets that follow a large stream and read nothing." default:"200"`
	Stream   int64         `help:"Bytes of that stream." default:"8388608"`
	Stall    time.Duration `help:"Time for which they read nothing. The gateway closes a socket that takes nothing for 10 s; its client then comes back to where it was." default:"1s"`
	Duration time.Duration `help:"Time for which each is measured, over all rounds." default:"24s"`
	Rounds   int           `help:"Number of rounds." default:"3"`
}

// Goals of streams.
const (
	GoalFlush   = 30.0    // milliseconds at p50 from the write to the client: the flush interval and 5
	GoalChunk   = 2.0     // CPU of a delivered chunk, compared with a bare SSE server
	GoalBeside  = 1.10    // acks and ends beside streams, compared with none
	GoalStall   = 1 << 10 // bytes of a socket that reads nothing, beside those of the socket
	flushEach   = 25      // milliseconds, as the worker's
	maxFlushes  = 20      // words per second that are flushed one by one
	streamsLead = 500     // sessions of the gateway above those of the followers
)

func (c StreamsConfig) check() error {
	switch {
	case len(c.Streams) == 0 || slices.Min(c.Streams) < 1 || slices.Max(c.Streams) > 4000:
		return errors.New("streams must be 1 to 4000")
	case !(c.Writes > 0 && c.Shared > 0 && c.Flushes > 0 && c.Rate > 0) || c.Duration <= 0 || c.Rounds < 1:
		return errors.New("writes, shared, flushes, rate, duration and rounds must be positive")
	case c.Shared > maxFlushes || c.Flushes > maxFlushes:
		return fmt.Errorf("shared and flushes must be at most %d", maxFlushes)
	case c.Text < 0 || c.Text > 64<<10:
		return errors.New("text must be 0 to 65536")
	case c.Stalled < 1 || c.Stalled > 4000 || c.Stall < 0:
		return errors.New("stalled must be 1 to 4000, and stall not negative")
	case c.Stream < 1<<20 || c.Stream > maxStalledStream:
		return fmt.Errorf("a stream of 1048576 to %d bytes is needed", maxStalledStream)
	}
	return nil
}

// streamsRun is the state of a run.
type streamsRun struct {
	cfg     StreamsConfig
	sys     *system.System
	gw      *gatewayProcess
	bare    *bareProcess
	writers *writers
	readers *readers
	sse     *sseClients
	clients []*ackwire.Client

	report StreamsReport
	turns  []*streamTurn
	// Acks and ends with streams and without.
	acks, ends [2]*measure.Latencies
	// Sums over the rounds of how busy the machine was, and of the cores that this process has used.
	busy, cores [2]float64
}

// streamTurn is what is measured of one number of streams.
type streamTurn struct {
	streams    int
	rate       float64 // words per second in each
	shared     bool    // one stream that all follow
	latency    *measure.Latencies
	ours, bare wireSpent
}

// wireSpent is what a number of chunks took.
type wireSpent struct {
	spent
	words, bytes int64
}

// Streams measures the streams of jobs: a worker in this process writes words to them, each with its time, which
// sockets of this process receive through a gateway in its own process. A bare SSE server, in another process, sends
// words of the same size at the same pace to as many connections, in turns. bare returns the command that runs
// BareServer. Streams reads /proc, so it runs on Linux only.
func Streams(
	ctx context.Context, cfg StreamsConfig, log *slog.Logger, bare func(context.Context) (*exec.Cmd, error),
) (r StreamsReport, err error) {
	if err := cfg.check(); err != nil {
		return r, err
	}
	s := &streamsRun{cfg: cfg}
	if s.sys, err = system.Start(ctx, kafka.Config{}, log); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.sys.Close()) }()
	dir, err := os.MkdirTemp("", "ackwire-streams")
	if err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	types := filepath.Join(dir, "types.yaml")
	if err := os.WriteFile(types, []byte(streamsTypes), 0o600); err != nil {
		return r, err
	}
	most := slices.Max(cfg.Streams)
	if s.gw, err = startGateway(ctx, cfg.Gateway, s.sys, "--sessions", strconv.Itoa(most+cfg.Stalled+streamsLead),
		"--ping-interval", "5m", "--handshake-rate", "0", "--job-types", types, "--debug-endpoints"); err != nil {
		return r, err
	}
	defer s.gw.stop()
	if s.bare, err = startBare(ctx, bare); err != nil {
		return r, err
	}
	defer s.bare.stop()
	if s.writers, err = startWriters(s.sys, most, log); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.writers.stop()) }()
	if s.readers, err = openReaders(ctx, s.gw.addr, most); err != nil {
		return r, err
	}
	defer s.readers.close()
	if s.sse, err = openSSE(ctx, s.bare.sse, most); err != nil {
		return r, err
	}
	defer s.sse.close()
	if s.clients, err = dial(ctx, "http://"+s.gw.addr, min(8, most)); err != nil {
		return r, err
	}
	defer func() {
		for _, c := range s.clients {
			_ = c.Close()
		}
	}()
	if err := s.measure(ctx, log); err != nil {
		return r, err
	}
	return s.report, context.Cause(ctx)
}

func (s *streamsRun) measure(ctx context.Context, log *slog.Logger) error {
	most := slices.Max(s.cfg.Streams)
	s.report = StreamsReport{
		Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(), WordBytes: wordBytes, Rounds: s.cfg.Rounds,
		Seconds: s.cfg.Duration.Seconds(),
	}
	if err := s.readers.submit(ctx, s.writers); err != nil {
		return err
	}
	if err := errors.Join(s.memory(ctx), s.stall(ctx)); err != nil {
		return err
	}
	for _, n := range s.cfg.Streams {
		s.turns = append(s.turns, &streamTurn{
			streams: n, rate: min(s.cfg.Writes/float64(n), maxFlushes), latency: measure.NewLatencies(),
		})
	}
	s.turns = append(s.turns, &streamTurn{streams: 1, rate: s.cfg.Shared, shared: true, latency: measure.NewLatencies()})
	for i := range s.acks {
		s.acks[i], s.ends[i] = measure.NewLatencies(), measure.NewLatencies()
	}
	for turn := range s.cfg.Rounds + 1 {
		if err := s.round(ctx, turn > 0, turn%2 == 1); err != nil {
			return err
		}
		log.Info("turn", "n", turn)
	}
	for _, t := range s.turns {
		followers := t.streams
		if t.shared {
			followers = most
		}
		s.report.Deliveries = append(s.report.Deliveries, t.delivery(followers))
	}
	s.report.Beside = Beside{
		Streams: most, Flushes: s.cfg.Flushes, Rate: s.cfg.Rate,
		Acks: summarise("submit to ack", s.acks[0]), AcksWith: summarise("  beside streams", s.acks[1]),
		Ends: summarise("submit to completed", s.ends[0]), EndsWith: summarise("  beside streams", s.ends[1]),
		Busy: s.busy, Cores: s.cores,
	}
	return nil
}

// memory measures the gateway's heap: with sockets that watch a job each, when each follows that job's stream too, when
// the streams have some text, and when all follow one more.
func (s *streamsRun) memory(ctx context.Context) error {
	var heaps [4]float64
	steps := [...]func() error{
		func() error { return nil },
		func() error { return s.readers.followOwn(ctx) },
		func() error {
			words := s.cfg.Text / wordBytes
			if words == 0 {
				return nil
			}
			return s.write(ctx, writeTurn{writers: len(s.readers.ids), words: words, at: time.Now()}, int64(words))
		},
		func() error { return s.readers.followShared(ctx) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return err
		}
		var err error
		if heaps[i], err = s.gw.heap(ctx); err != nil {
			return err
		}
	}
	n := float64(len(s.readers.ids))
	s.report.Memory = StreamMemory{
		Streams: len(s.readers.ids), Text: s.cfg.Text / wordBytes * wordBytes,
		Empty: (heaps[1] - heaps[0]) / n, Written: (heaps[2] - heaps[0]) / n, Follower: (heaps[3] - heaps[2]) / n,
	}
	return nil
}

// write makes writers write, and waits until all was seen, each word by so many readers.
func (s *streamsRun) write(ctx context.Context, t writeTurn, words int64) error {
	readers := int64(1)
	if t.first == len(s.readers.ids) {
		readers = int64(len(s.readers.ids))
	}
	before := s.readers.words.Load()
	if err := s.writers.write(ctx, t); err != nil {
		return err
	}
	s.readers.wait(ctx, before+words*int64(t.writers)*readers)
	return ctx.Err()
}

// round measures each once; the result counts unless the round is for warming up.
func (s *streamsRun) round(ctx context.Context, counts, backwards bool) error {
	each := s.cfg.Duration / time.Duration(s.cfg.Rounds)
	var turns []func() error
	for _, t := range s.turns {
		turns = append(turns,
			func() error { return s.ours(ctx, t, each, counts) }, func() error { return s.theirs(ctx, t, each, counts) })
	}
	turns = append(turns,
		func() error { return s.jobs(ctx, each, 0, counts) },
		func() error { return s.besideStreams(ctx, each, counts) })
	if backwards { // so that none always follows the same one
		slices.Reverse(turns)
	}
	for _, turn := range turns {
		if err := turn(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// ours has a turn's streams written and received.
func (s *streamsRun) ours(ctx context.Context, t *streamTurn, d time.Duration, counts bool) error {
	into := t.latency
	if !counts {
		into = measure.NewLatencies()
	}
	words := max(int(t.rate*d.Seconds()), 1)
	s.readers.latency.Store(into)
	defer s.readers.latency.Store(nil)
	chunks, seen, bytes := s.readers.chunks.Load(), s.readers.words.Load(), s.readers.bytes.Load()
	before, err := usage(s.gw.pid)
	if err != nil {
		return err
	}
	turn := writeTurn{writers: t.streams, words: words, rate: t.rate, at: time.Now()}
	if t.shared {
		turn.first = len(s.readers.ids)
	}
	if err := s.write(ctx, turn, int64(words)); err != nil {
		return err
	}
	after, err := usage(s.gw.pid)
	if counts {
		t.ours.seconds += after.seconds - before.seconds
		t.ours.count += s.readers.chunks.Load() - chunks
		t.ours.words += s.readers.words.Load() - seen
		t.ours.bytes += s.readers.bytes.Load() - bytes
	}
	return err
}

// theirs has the bare SSE server send as many words, as often, to as many connections.
func (s *streamsRun) theirs(ctx context.Context, t *streamTurn, d time.Duration, counts bool) error {
	task := BareTask{SSE: true, Bytes: wordBytes, Each: 1, Of: t.streams, Rate: t.rate * float64(t.streams),
		Seconds: d.Seconds()}
	if t.shared {
		task.Each, task.Of = len(s.readers.ids), len(s.readers.ids)
	}
	bytes := s.sse.bytes.Load()
	before, err := usage(s.bare.pid)
	if err != nil {
		return err
	}
	n, err := s.bare.write(task)
	if err != nil {
		return err
	}
	s.sse.wait(ctx, bytes, n)
	after, err := usage(s.bare.pid)
	if counts {
		t.bare.seconds += after.seconds - before.seconds
		t.bare.count += n
		t.bare.words += n
		t.bare.bytes += s.sse.bytes.Load() - bytes
	}
	return err
}

// besideStreams measures jobs while all streams are written.
func (s *streamsRun) besideStreams(ctx context.Context, d time.Duration, counts bool) error {
	words := max(int(s.cfg.Flushes*d.Seconds()), 1)
	writing := make(chan error, 1)
	go func() {
		writing <- s.write(ctx, writeTurn{
			writers: len(s.readers.ids), words: words, rate: s.cfg.Flushes, at: time.Now(),
		}, int64(words))
	}()
	err := s.jobs(ctx, d, 1, counts)
	return errors.Join(err, <-writing)
}

// jobs submits jobs and waits for their ends; i is 1 beside streams.
func (s *streamsRun) jobs(ctx context.Context, d time.Duration, i int, counts bool) error {
	acks, ends := s.acks[i], s.ends[i]
	if !counts {
		acks, ends = measure.NewLatencies(), measure.NewLatencies()
	}
	watch := measure.Watch()
	pace.OpenLoop(ctx, s.cfg.Rate, d, ends, func(ctx context.Context, n int) error {
		began := time.Now()
		j, err := s.clients[n%len(s.clients)].Submit(ctx, jobType, payload, ackwire.NoKey())
		acks.Record(time.Since(began), err)
		if err != nil {
			return err
		}
		_, err = j.Wait(ctx)
		return err
	})
	if busy, cores := watch(); counts {
		s.busy[i] += busy / float64(s.cfg.Rounds)
		s.cores[i] += cores / float64(s.cfg.Rounds)
	}
	return ctx.Err()
}
