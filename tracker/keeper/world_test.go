package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/store"
)

var (
	quiet    = slog.New(slog.DiscardHandler)
	identity = store.Identity{ClusterID: "c", TopicID: "t", Topic: "status", Partitions: 1}
)

// world is a keeper with a topic, a shard and a disk in memory.
type world struct {
	t      testing.TB
	fs     *vfs.MemFS
	tails  int64 // bytes
	store  *store.Store
	keeper *Keeper
	shared *Shared
	stop   context.CancelFunc
	ended  chan error

	mu    sync.Mutex // guards all below
	rnd   *rand.Rand // for the topic
	topic []*kgo.Record
	first int64         // records before it were removed
	grown chan struct{} // closed when the topic grows
	facts map[string]Facts
	asOf  int64
	asked int // how many jobs
	mute  bool
}

func newWorld(t testing.TB, seed uint64) *world {
	return &world{t: t, fs: vfs.NewCrashableMem(), tails: DefaultTailBytes, rnd: rand.New(rand.NewPCG(seed, 0)),
		grown: make(chan struct{}), facts: map[string]Facts{}}
}

func (w *world) start() {
	w.t.Helper()
	var err error
	if w.store, err = store.Open(w.fs, "store", identity, store.Options{MemTable: 1 << 20}, quiet); err != nil {
		w.t.Fatal(err)
	}
	w.shared = NewShared(meter.New(prometheus.NewPedanticRegistry(), "tracker"), w.tails)
	k := New(Config{Store: w.store.Partition(0), Log: w, Jobs: w.jobs, Shared: w.shared, Logger: quiet})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	w.mu.Lock()
	w.keeper, w.stop, w.ended = k, cancel, ended
	w.mu.Unlock()
	go func() { ended <- k.Run(ctx) }()
}

func (w *world) end() {
	w.t.Helper()
	w.stop()
	if err := <-w.ended; err != nil {
		w.t.Errorf("the keeper ended: %v", err)
	}
	if got := w.shared.tails.Bytes(); got != 0 {
		w.t.Errorf("%d bytes of tails are left", got)
	}
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// crash goes on with what the disk may hold after a loss of power.
func (w *world) crash(unsynced int, rnd *rand.Rand) {
	disk := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rnd})
	w.end()
	w.fs = disk
	w.start()
}

var errSilent = errors.New("the shard does not answer")

// silence has the shard answer nothing, or answer again.
func (w *world) silence(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute = is
}

// jobs implements Jobs.
func (w *world) jobs(_ context.Context, ids []string) ([]Facts, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mute {
		return nil, errSilent
	}
	w.asked += len(ids)
	all := make([]Facts, len(ids))
	for i, id := range ids {
		all[i] = w.factsLocked(id)
	}
	return all, nil
}

func (w *world) factsLocked(id string) Facts {
	f := w.facts[id]
	f.AsOf = w.asOf
	return f
}

func (w *world) factsOf(id string) Facts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.factsLocked(id)
}

// fold has the shard know something else of a job.
func (w *world) fold(id string, change func(*Facts)) {
	w.mu.Lock()
	f := w.facts[id]
	f.Found, f.Life = true, "life"
	f.Totals = maps.Clone(f.Totals)
	change(&f)
	w.facts[id] = f
	if !f.Found {
		delete(w.facts, id)
	}
	w.asOf++
	k := w.keeper
	w.mu.Unlock()
	k.Told(id)
}

func (w *world) claim(id, run string, dispatch int) {
	w.fold(id, func(f *Facts) {
		f.Run, f.Dispatch = run, dispatch
		f.Ended, f.Totals = false, nil
	})
}

func (w *world) finish(id string, totals job.Streams) {
	w.fold(id, func(f *Facts) { f.Ended, f.Totals = true, totals })
}

// put appends a record to the topic and returns where its piece ends.
func (w *world) put(c stream.Chunk) int64 {
	n, err := stream.Length(c.Kind, c.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	rec := &kgo.Record{Key: []byte(c.JobID), Value: c.Value, Timestamp: time.Now()}
	for _, h := range c.Headers() {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	w.append(rec)
	return c.From + n
}

func (w *world) append(rec *kgo.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	again := *rec
	again.Offset, again.Timestamp = int64(len(w.topic)), time.Now()
	w.topic = append(w.topic, &again)
	close(w.grown)
	w.grown = make(chan struct{})
}

// text writes texts to the stream s of a run, from a position on, and returns where the last one ends.
func (w *world) text(id, run string, dispatch int, at int64, texts ...string) int64 {
	for _, text := range texts {
		at = w.put(stream.Chunk{JobID: id, Stream: "s", Kind: job.StreamText, Dispatch: dispatch, Run: run, From: at,
			Value: []byte(text)})
	}
	return at
}

// trim removes records, as retention does.
func (w *world) trim(before int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.first = max(w.first, before)
}

// Open implements Log.
func (w *world) Open(from int64) (Reader, error) { return &topicReader{w, from}, nil }

// Span implements Log.
func (w *world) Span(context.Context) (start, end int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first, int64(len(w.topic)), nil
}

// Records implements Log.
func (w *world) Records(_ context.Context, offset int64) ([]*kgo.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if offset < w.first {
		return nil, fetch.ErrRemoved
	}
	end := min(int64(len(w.topic)), offset+1+w.rnd.Int64N(40))
	if offset >= end {
		return nil, fmt.Errorf("%d is behind the end", offset)
	}
	return w.topic[offset:end], nil
}

type topicReader struct {
	w    *world
	next int64
}

// Poll implements Reader.
func (r *topicReader) Poll(ctx context.Context) ([]*kgo.Record, int64, error) {
	for {
		r.w.mu.Lock()
		r.next = max(r.next, r.w.first)
		end := int64(len(r.w.topic))
		records := r.w.topic[r.next:min(end, r.next+1+r.w.rnd.Int64N(100))]
		grown := r.w.grown
		r.w.mu.Unlock()
		if len(records) > 0 {
			r.next += int64(len(records))
			return records, end, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, end, ctx.Err()
		}
	}
}

// Close implements Reader.
func (r *topicReader) Close() {}

// query asks for what the stream s has behind a cursor.
func (w *world) query(id string, dispatch int32, at int64) Query {
	return Query{JobID: id, Facts: w.factsOf(id), Stream: "s", Max: 1 << 20,
		After: &trackerpb.StreamCursor{Dispatch: dispatch, At: at}}
}

func show(p *trackerpb.StreamPart) string {
	s := fmt.Sprintf("%d@%d ", p.From.GetDispatch(), p.From.GetAt())
	for _, piece := range p.Pieces {
		s += string(piece)
	}
	for _, f := range []struct {
		is   bool
		name string
	}{{p.Ended, "ended"}, {p.Reset_, "reset"}, {p.Gone, "gone"}} {
		if f.is {
			s += " " + f.name
		}
	}
	return s
}

func (w *world) want(why, id string, dispatch int32, at int64, want string) {
	w.t.Helper()
	p, err := w.keeper.Read(context.Background(), w.query(id, dispatch, at), false)
	if err != nil {
		w.t.Fatalf("%s: %v", why, err)
	}
	if got := show(p); got != want {
		w.t.Fatalf("%s: %s\nwant %s", why, got, want)
	}
}

func (w *world) wantRecords(why string, o outcome, want float64) {
	w.t.Helper()
	if got := testutil.ToFloat64(w.shared.records[o]); got != want {
		w.t.Fatalf("%s: %v records are %s, want %v", why, got, o, want)
	}
}

// wantRow checks what the store has of a job: open, closed or none.
func (w *world) wantRow(why, id, want string) {
	w.t.Helper()
	value, closed, err := w.store.Partition(0).Streams(id)
	got := "none"
	if value != nil {
		got = "open"
	}
	if closed {
		got = "closed"
	}
	if err != nil || got != want {
		w.t.Fatalf("%s: the row is %s, want %s (%v)", why, got, want, err)
	}
}
