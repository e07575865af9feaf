package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
)

const (
	tellPieces = 60
	tellPause  = 500 * time.Millisecond
)

// teller runs jobs that write a text of so many pieces, each with the run's own number, and return the number.
func teller(runs *Counter) func(*processor.Processor) {
	return func(p *processor.Processor) {
		processor.HandleRaw(p, "demo.echo", func(ctx context.Context, j *processor.Job, _ []byte) (json.RawMessage, error) {
			run := runs.Add(1)
			for i := range tellPieces {
				if _, err := fmt.Fprint(j.Stream("tokens"), piece(run, i)); err != nil {
					return nil, err
				}
				if !pause.For(ctx, tellPause) {
					return nil, context.Cause(ctx)
				}
			}
			return json.RawMessage(fmt.Sprint(run)), nil
		})
	}
}

// piece is what a run of teller writes as its i-th piece. It has characters of two bytes, and any length.
func piece(run int64, i int) string {
	return fmt.Sprintf("%d:%d%s ", run, i, strings.Repeat("ü", i*i%97))
}

func told(run string) string {
	var n int64
	_, _ = fmt.Sscan(run, &n)
	var all strings.Builder
	for i := range tellPieces {
		all.WriteString(piece(n, i))
	}
	return all.String()
}

// listener follows a stream and checks that each chunk goes on where the one before ended.
type listener struct {
	name   string
	slow   time.Duration
	text   strings.Builder
	resets int
	err    error
}

func (l *listener) listen(ctx context.Context, j *ackwire.Job, opts ...ackwire.StreamOption) {
	for c, err := range j.Stream(ctx, "tokens", opts...) {
		if err != nil {
			l.err = err
			return
		}
		if c.Reset {
			l.text.Reset()
			l.resets++
		}
		if c.From != int64(l.text.Len()) {
			l.err = fmt.Errorf("a chunk begins at %d, not at %d", c.From, l.text.Len())
			return
		}
		l.text.WriteString(c.Text)
		if !pause.For(ctx, l.slow) {
			l.err = ctx.Err()
			return
		}
	}
}

// TestStreamsUnderFaults: whatever happens to workers, trackers, the gateway and the broker while a job writes, whoever
// follows it, from whenever on, over sockets and HTTP, gets an exact continuation, is told of each run that was lost,
// and in the end has what the run that counts has written, and nothing else (I9). ACKWIRE_LONG runs fifty seeds.
func TestStreamsUnderFaults(t *testing.T) {
	duringRebalances(t)
	seeds, resets := uint64(6), 0
	if os.Getenv("ACKWIRE_LONG") != "" {
		seeds = 50
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			Run(t, func(w *World) { resets += w.streamsUnderFaults(rand.New(rand.NewPCG(seed, 9))) })
		})
	}
	if resets == 0 {
		t.Error("no listener met a lost run: the test proves little")
	}
}

// streamsUnderFaults returns how many resets the listeners were told of.
func (w *World) streamsUnderFaults(random *rand.Rand) (resets int) {
	var runs Counter
	workers := []*Process{w.StartWorker(teller(&runs)), w.StartWorker(teller(&runs))}
	c := w.Dial()
	j := w.Submit(c, "demo.echo", `1`, ackwire.WithStreams("tokens"))
	var all sync.WaitGroup
	var listeners []*listener
	listen := func(name string, slow time.Duration, j *ackwire.Job) {
		l := &listener{name: name, slow: slow}
		listeners = append(listeners, l)
		ctx := w.ctx()
		all.Go(func() { l.listen(ctx, j) })
	}
	listen("the submitter", 0, j)
	listen("HTTP", 0, w.NewHTTP().Job(j.ID))
	broker := w.Net.Host("broker")
	faults := []func(){
		func() { // a worker dies with what it has not sent
			i := random.IntN(len(workers))
			w.Kill(workers[i])
			workers[i] = w.StartWorker(teller(&runs))
		},
		func() { // a zombie writes on when its job has another run
			p := workers[random.IntN(len(workers))]
			p.Host.Hang()
			time.Sleep(Lease + 5*time.Second)
			p.Host.Heal()
		},
		func() { w.CrashTracker(); w.StartTracker() },
		func() { w.Stop(w.tracker); w.StartTracker() },
		func() { w.Kill(w.gateway); w.StartGateway() },
		func() { broker.Cut(); time.Sleep(time.Duration(random.IntN(4000)) * time.Millisecond); broker.Heal() },
	}
	for n := range 5 {
		time.Sleep(time.Duration(random.IntN(8000)) * time.Millisecond)
		listen(fmt.Sprint("one that joins before fault ", n), time.Duration(random.IntN(300))*time.Millisecond,
			w.Dial().Job(j.ID))
		faults[random.IntN(len(faults))]()
	}
	last, err := j.Wait(w.ctx())
	spent := last.State == job.Failed && last.Error != nil && last.Error.Retryable // faults may take all attempts
	if err != nil || last.State != job.Completed && !spent {
		w.T.Fatalf("%s %+v, %v", last.State, last.Error, err)
	}
	listen("one that joins after the end", 0, w.Dial().Job(j.ID))
	all.Wait()
	want := told(string(last.Result))
	if spent { // then nobody knows what the last run has written but those who have read it
		want = listeners[0].text.String()
	}
	total, known := last.Streams["tokens"]
	if known && (total.Total != int64(len(want)) || total.Kind != job.StreamText) || !known && !spent {
		w.T.Errorf("the document says %+v, the run has written %d bytes", total, len(want))
	}
	for _, l := range listeners {
		resets += l.resets
		if got := l.text.String(); l.err != nil || got != want {
			w.T.Errorf("%s: %v after %d resets, %d bytes of %d: %.60q, want %.60q", l.name, l.err, l.resets, len(got),
				len(want), got, want)
		}
	}
	return resets
}
