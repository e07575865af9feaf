package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/loadtest/system"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/cmd/flags"
)

const (
	writtenType   = "bench.write"
	writtenLane   = "bench"
	writtenStream = "words"
	wordBytes     = 13 // of a word: its time in nanoseconds, to the base of 36, and a space
)

const streamsTypes = `types:
  ` + writtenType + `: {lane: ` + writtenLane + `, lease: 10m, schema: {}}
  ` + jobType + `: {schema: {}}
`

// word returns a word that says when it was written.
func word(at time.Time) string { return strconv.FormatInt(at.UnixNano(), 36) + " " }

// numberedWord returns a word that says its place in the stream.
func numberedWord(i int) string { return fmt.Sprintf("%0*d ", wordBytes-1, i) }

// writers are jobs that run until the benchmark ends: each writes to its stream when it is told to.
type writers struct {
	all  []chan writerTurn // by the payload of the job
	runs atomic.Int64      // that began
	stop func() error      // stops the worker and waits for it
}

// writeTurn says what to write.
type writeTurn struct {
	first, writers int       // the writers: so many from this one on
	words          int       // by each
	rate           float64   // words per second; 0: as fast as possible
	at             time.Time // when the first of them begins; the others follow within one interval
	numbered       bool      // the words are numbers from number on, and not times; without rate
	number         int
}

type writerTurn struct {
	writeTurn
	late time.Duration // after at
	done *sync.WaitGroup
	fail func(error)
}

// startWriters starts the worker, in this process, with room for n jobs with a stream each, for one whose stream all
// follow, and for one with a large stream.
func startWriters(sys *system.System, n int, log *slog.Logger) (*writers, error) {
	w := &writers{all: make([]chan writerTurn, n+2)}
	for i := range w.all {
		w.all[i] = make(chan writerTurn, 1)
	}
	env := service.OS(log)
	p, err := processor.New(processor.Config{
		Brokers: sys.Kafka.Brokers, Lanes: []string{writtenLane}, Slots: min(n+8, 4096), Grace: time.Second,
		StreamLimit: 2 * maxStalledStream, StreamRate: 16 << 20,
	}, flags.Options(env)...)
	if err != nil {
		return nil, err
	}
	processor.Handle(p, writtenType, w.handle)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	w.stop = func() error {
		cancel()
		return <-ended
	}
	return w, nil
}

// handle runs the job of the writer i.
func (w *writers) handle(ctx context.Context, j *processor.Job, i int) (struct{}, error) {
	if i < 0 || i >= len(w.all) {
		return struct{}{}, processor.Permanent(errors.New("no such writer"))
	}
	w.runs.Add(1)
	out := j.Stream(writtenStream)
	for {
		select {
		case t := <-w.all[i]:
			err := t.write(ctx, out)
			if err != nil {
				t.fail(err)
			}
			t.done.Done()
		case <-ctx.Done():
			return struct{}{}, context.Cause(ctx)
		}
	}
}

// numberedAtOnce is how many numbered words are written at a time.
const numberedAtOnce = 2000

// writeNumbered writes numbered words as fast as possible.
func (t *writerTurn) writeNumbered(out io.Writer) error {
	var b []byte
	for i := range t.words {
		b = append(b, numberedWord(t.number+i)...)
		if (i+1)%numberedAtOnce != 0 && i+1 < t.words {
			continue
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	return nil
}

func (t *writerTurn) write(ctx context.Context, out io.Writer) error {
	if t.numbered {
		return t.writeNumbered(out)
	}
	for i := range t.words {
		if t.rate > 0 {
			due := t.at.Add(t.late + time.Duration(float64(i)/t.rate*float64(time.Second)))
			if wait := time.Until(due); wait > 0 && !pause.For(ctx, wait) {
				return context.Cause(ctx)
			}
		}
		if _, err := io.WriteString(out, word(time.Now())); err != nil {
			return err
		}
	}
	return nil
}

// write makes writers write, and waits for them.
func (w *writers) write(ctx context.Context, t writeTurn) error {
	var done sync.WaitGroup
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	who := w.all[t.first : t.first+t.writers]
	for i, one := range who {
		turn := writerTurn{writeTurn: t, done: &done, fail: fail}
		if t.rate > 0 {
			turn.late = time.Duration(float64(i) / float64(len(who)) / t.rate * float64(time.Second))
		}
		done.Add(1)
		select {
		case one <- turn:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	all := make(chan struct{})
	go func() { // ends with the last writer, at the latest when the worker stops
		done.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
