package shard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/store"
)

// replay folds a log that does not grow: what its timers append is dropped.
type replay struct {
	t     *testing.T
	log   []*kgo.Record
	fs    *vfs.MemFS
	view  *table // nil: there is none
	end   int64  // of the log, for now
	store *store.Store
	shard *Shard
	stop  context.CancelFunc
	ended chan error
}

func (r *replay) Produce(_ *kgo.Record, done func(error))         { done(errors.New("the log is read only")) }
func (r *replay) EndOffset(context.Context, int32) (int64, error) { return r.end, nil }
func (r *replay) Record(context.Context, event.Position) (*kgo.Record, error) {
	return nil, fetch.ErrGone
}

// start opens the store and folds the log up to end.
func (r *replay) start(end int64) {
	r.t.Helper()
	var err error
	r.end = end
	if r.store, err = store.Open(r.fs, "data/store", identity, store.Options{View: r.view != nil, MemTable: 1 << 20},
		quiet); err != nil {
		r.t.Fatal(err)
	}
	if r.store.SetAside() != "" {
		r.t.Fatal("a crash alone made the store unsound")
	}
	cfg := Config{Partition: testPartition, Partitions: testPartitions, Names: names,
		Store: r.store.Partition(testPartition),
		Kafka: r, Metrics: NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), Log: quiet}
	if r.view != nil {
		cfg.View = r.view
	}
	r.shard = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop, r.ended = cancel, make(chan error, 1)
	go func() { r.ended <- r.shard.Run(ctx) }()
	r.feed(end)
}

// feed hands the log over up to end.
func (r *replay) feed(end int64) {
	for at := r.shard.Position(); at < end; {
		n := min(end, at+7)
		r.shard.Fold(context.Background(), r.log[at:n])
		at = n
	}
	synctest.Wait()
}

func (r *replay) halt() {
	r.t.Helper()
	r.stop()
	if err := errors.Join(<-r.ended, r.store.Close()); err != nil {
		r.t.Error(err)
	}
}

// crash goes on with what a loss of power leaves, its unsynced part in percent.
func (r *replay) crash(unsynced int, rnd *rand.Rand) {
	disk := r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rnd})
	r.halt()
	r.fs = disk
}

// documents returns every job's bytes, as clients see them.
func (r *replay) documents(ids []string) map[string]string {
	r.t.Helper()
	all := map[string]string{}
	for _, id := range ids {
		snap, err := r.shard.Get(r.t.Context(), Query{JobID: id, Scope: Scope{Tenant: tenant}})
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			r.t.Fatal(err)
		default:
			all[id] = string(snap.Job.Document)
		}
	}
	return all
}

// table is a view in memory, whose transactions fail at times.
type table struct {
	rnd *rand.Rand

	mu     sync.Mutex // guards all below
	rows   map[string]*store.Row
	totals store.Totals
	writes int
}

// Write implements View.
func (v *table) Write(
	_ context.Context, ids []string, row func(string) (*store.Row, error), totals store.Totals,
) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.rnd != nil && v.rnd.IntN(4) == 0 {
		return errors.New("no broker")
	}
	rows := maps.Clone(v.rows)
	for _, id := range ids {
		r, err := row(id)
		if err != nil {
			return err
		}
		if r == nil {
			delete(rows, id)
		} else {
			rows[id] = r
		}
	}
	v.rows, v.totals = rows, totals
	v.writes++
	if v.rnd != nil && v.rnd.IntN(4) == 0 {
		return errors.New("it was written, and the answer was lost")
	}
	return nil
}

// restore gives the table to an empty store.
func (v *table) restore(t *testing.T, fs *vfs.MemFS) {
	t.Helper()
	st, err := store.Open(fs, "data/store", identity, store.Options{View: true, MemTable: 1 << 20}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	var loads []store.Load
	for id, row := range v.rows {
		loads = append(loads, store.Load{ID: id, Row: row})
	}
	p := st.Partition(testPartition)
	if err := errors.Join(p.Apply(loads, nil), p.Apply(nil, &v.totals), st.Close()); err != nil {
		t.Fatal(err)
	}
}

// aLog lets jobs live for a while, and returns all that was said of them.
func aLog(t *testing.T, rnd *rand.Rand, ids []string, steps int, byWriters bool) []*kgo.Record {
	t.Helper()
	w := newWorld(t)
	if byWriters {
		w.stamps = clocks(rnd)
	}
	w.start()
	synctest.Wait()
	for step := range steps {
		w.randomEvent(rnd, ids[rnd.IntN(len(ids))], step)
		if rnd.IntN(20) == 0 {
			w.appendRecord([]byte("k"), []byte("garbage"))
		}
		switch rnd.IntN(40) {
		case 0:
			w.pass(2 * retention) // jobs expire
		case 1, 2, 3:
			w.pass(time.Duration(rnd.IntN(40)) * time.Second)
		}
	}
	w.end()
	return w.log(names.Status())
}

// TestOneLogOneState is metamorphic: a log that is folded by a shard that never stopped, by
// one that was killed at 200 points, each with a part of its unsynced writes lost, by
// ones that took a view over, and by one that began anew, gives the same documents, byte by
// byte.
func TestOneLogOneState(t *testing.T) { oneLogOneState(t, false) }

// TestOneLogOneStateByWritersTimes is TestOneLogOneState with records that have any times.
func TestOneLogOneStateByWritersTimes(t *testing.T) { oneLogOneState(t, true) }

func oneLogOneState(t *testing.T, byWriters bool) {
	const kills = 200
	bubble.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(5, 5))
		ids := jobIDs(30)
		log := aLog(t, rnd, ids, 500, byWriters)
		end := int64(len(log))
		view := &table{rnd: rand.New(rand.NewPCG(1, 1)), rows: map[string]*store.Row{}}
		straight := &replay{t: t, log: log, fs: vfs.NewCrashableMem(), view: view}
		straight.start(0)
		type moment struct {
			rows   map[string]*store.Row
			totals store.Totals
		}
		var views []moment
		for at := int64(0); at < end; at = min(end, at+end/10) {
			straight.end = at
			straight.feed(at)
			time.Sleep(3 * time.Second) // checkpoints and a transaction
			view.mu.Lock()
			views = append(views, moment{view.rows, view.totals})
			view.mu.Unlock()
		}
		straight.feed(end)
		want := straight.documents(ids)
		straight.halt()
		if len(want) < 5 || view.writes < 10 || view.totals.Next < end/2 {
			t.Fatalf("%d jobs are left, the view was written %d times and is at %d of %d: the test shows little", len(want),
				view.writes, view.totals.Next, end)
		}
		same := func(why string, r *replay) {
			t.Helper()
			if got := r.documents(ids); !maps.Equal(got, want) {
				t.Errorf("%s:\n%v\nwant\n%v", why, got, want)
			}
			r.halt()
		}

		killed := &replay{t: t, log: log, fs: vfs.NewCrashableMem()}
		var points []int64
		for range kills {
			points = append(points, rnd.Int64N(end))
		}
		slices.Sort(points)
		for _, at := range points {
			killed.start(at)
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond) // a checkpoint, or none
			killed.crash(rnd.IntN(101), rnd)
		}
		killed.start(end)
		same(fmt.Sprintf("killed %d times", kills), killed)

		for _, v := range views {
			fs := vfs.NewCrashableMem()
			(&table{rows: v.rows, totals: v.totals}).restore(t, fs)
			taken := &replay{t: t, log: log, fs: fs, view: &table{rows: map[string]*store.Row{}}}
			taken.start(end)
			if s := taken.shard; s.Position() != end || len(v.rows) > 0 && v.totals.Next == 0 {
				t.Errorf("restored at %d", v.totals.Next)
			}
			same(fmt.Sprintf("restored from the view at %d", v.totals.Next), taken)
		}

		anew := &replay{t: t, log: log, fs: vfs.NewCrashableMem()}
		anew.start(end)
		same("folded from the beginning", anew)
	})
}

// What the view has at the end is what the store has, tombstones and all, also after a
// crash that lost what was not viewed yet.
func TestViewFollowsTheStore(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 9))
				ids := jobIDs(12)
				log := aLog(t, rnd, ids, 200, false)
				view := &table{rnd: rand.New(rand.NewPCG(1, 1)), rows: map[string]*store.Row{}}
				r := &replay{t: t, log: log, fs: vfs.NewCrashableMem(), view: view}
				for at := int64(0); at < int64(len(log)); at = min(int64(len(log)), at+1+rnd.Int64N(30)) {
					r.start(at)
					time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
					if rnd.IntN(2) == 0 {
						r.crash(rnd.IntN(101), rnd)
					} else {
						r.halt()
					}
				}
				r.start(int64(len(log)))
				time.Sleep(30 * time.Second)
				want := r.documents(ids)
				r.halt()
				got := map[string]string{}
				for id, row := range view.rows {
					got[id] = string(row.Doc)
				}
				if !maps.Equal(got, want) {
					t.Errorf("the view has\n%v\nthe shard\n%v", got, want)
				}
			})
		})
	}
}

// A shard that is fenced ends, and says so.
func TestFenced(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.view = fencedView{}
		w.start()
		synctest.Wait()
		id := jobIDs(1)[0]
		w.submit(id)
		w.pass(3 * time.Second)
		if err := w.halt(); !errors.Is(err, ErrFenced) {
			t.Fatalf("ended with %v", err)
		}
		w.view = nil
		w.start()
		defer w.end()
		synctest.Wait()
		w.wantState("its store is sound all the same", id, job.Pending)
	})
}

type fencedView struct{}

func (fencedView) Write(context.Context, []string, func(string) (*store.Row, error), store.Totals) error {
	return fmt.Errorf("%w: by a test", ErrFenced)
}
