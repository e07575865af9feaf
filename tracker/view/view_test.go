package view

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	quiet    = slog.New(slog.DiscardHandler)
	names    = topic.Names{Prefix: "t."}
	identity = store.Identity{ClusterID: "c", TopicID: "t", Topic: names.Status(), Partitions: 2}
)

const partition = 1

// world is a broker with an empty view, and a store whose jobs are to be in it.
type world struct {
	t       *testing.T
	env     service.Env
	kafka   kafka.Config
	cfg     Config
	cluster *kfake.Cluster
	store   *store.Store
	saved   map[string]*store.Saved
	next    int64
}

func inWorld(t *testing.T, f func(*testing.T, *world)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		network := &kfake.VirtualNetwork{}
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		w := &world{
			t: t, cluster: cluster, kafka: kafka.Config{Brokers: []string{"localhost:9092"}},
			saved: map[string]*store.Saved{},
		}
		w.env = service.Env{
			Log: quiet, Metrics: prometheus.NewRegistry(),
			Dial: func(ctx context.Context, n, a string) (net.Conn, error) { return network.DialContext(ctx, n, a) },
		}
		w.cfg = Config{Names: names, Log: identity, Address: "tracker-1", Bounds: kafka.Timeouts{}.Bounds(),
			Writer: func(id string, opts ...kgo.Opt) (*kgo.Client, error) {
				return w.kafka.NewTransactionalClient(w.env, "test", id, opts...)
			},
			Reader: func(opts ...kgo.Opt) (*kgo.Client, error) { return w.kafka.NewClient(w.env, "test", opts...) },
		}
		admin := w.client()
		if _, err := kafka.EnsureTopics(t.Context(), admin, kafka.Topic(names.ViewSpec(identity.Partitions))); err != nil {
			t.Fatal(err)
		}
		w.store = w.open()
		f(t, w)
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := w.kafka.NewClient(w.env, "test", opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.Close)
	return cl
}

func (w *world) open() *store.Store {
	w.t.Helper()
	st, err := store.Open(vfs.NewMem(), "data/store", identity, store.Options{View: true, MemTable: 1 << 20}, quiet)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func (w *world) take() *Writer {
	w.t.Helper()
	v, err := Take(w.t.Context(), w.cfg, partition)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(v.Close)
	return v
}

func aJob(id string, version int64) *fold.Job {
	at := time.UnixMilli(1_000_000 + version).UTC()
	return &fold.Job{
		Doc: job.Document{JobID: id, Type: "t", State: job.Failed, CreatedAt: at, UpdatedAt: at, FinishedAt: &at,
			Subject: "alice", Lane: "default"},
		Version: version, Tenant: "acme",
	}
}

// change stores jobs and returns their IDs; nil removes.
func (w *world) change(jobs map[string]*fold.Job) (ids []string) {
	w.t.Helper()
	w.next++
	var changes []store.Change
	for id, j := range jobs {
		ids = append(ids, id)
		changes = append(changes, store.Change{ID: id, Job: j, Was: w.saved[id]})
	}
	if err := w.store.Partition(partition).Checkpoint(changes, w.next, 0); err != nil {
		w.t.Fatal(err)
	}
	for _, c := range changes {
		w.saved[c.ID] = c.Now
	}
	return ids
}

// write puts what the store has of the IDs into the view.
func (w *world) write(v *Writer, ids []string) error {
	w.t.Helper()
	r := w.store.NewReader()
	defer func() { _ = r.Close() }()
	p := w.store.Partition(partition)
	return v.Write(w.t.Context(), ids, func(id string) (*store.Row, error) { return r.Row(p, id) }, p.Totals())
}

// read restores the view to an empty store.
func (w *world) read(v *Writer) (*store.Partition, error) {
	w.t.Helper()
	st := w.open()
	w.t.Cleanup(func() { _ = st.Close() })
	p := st.Partition(partition)
	return p, v.Read(w.t.Context(), p, func(int64, int64) {})
}

func (w *world) wantRestored(why string, v *Writer) {
	w.t.Helper()
	got, err := w.read(v)
	if err != nil {
		w.t.Fatalf("%s: %v", why, err)
	}
	want := w.store.Partition(partition).Totals()
	if t := got.Totals(); t.Count != want.Count || t.Sum != want.Sum || t.IndexSum != want.IndexSum ||
		t.Next != want.Next {
		w.t.Fatalf("%s: %+v, want %+v", why, t, want)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		v := w.take()
		if _, err := w.read(v); !errors.Is(err, ErrEmpty) {
			t.Fatalf("an empty view: %v", err)
		}
		for _, jobs := range []map[string]*fold.Job{{"a": aJob("a", 1), "b": aJob("b", 2)}, {"a": aJob("a", 3)},
			{"b": nil, "c": aJob("c", 4)}, {}} {
			if err := w.write(v, w.change(jobs)); err != nil {
				t.Fatal(err)
			}
			w.wantRestored("after a transaction", v)
		}
	})
}

// TestTheFirstTransactionOfAWriter: what a new writer's first transaction has written is committed if it says so. The
// library's client aborted about one in a hundred of them without an error.
func TestTheFirstTransactionOfAWriter(t *testing.T) {
	const writers = 300
	inWorld(t, func(t *testing.T, w *world) {
		for range writers {
			v, err := Take(t.Context(), w.cfg, partition)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.announce(t.Context()); err != nil {
				t.Fatal(err)
			}
			v.Close()
		}
		cl := w.client(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumePartitions(
			map[string]map[int32]kgo.Offset{names.View(): {partition: kgo.NewOffset().AtStart()}}))
		committed := 0
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for ctx.Err() == nil && committed < writers {
			committed += cl.PollFetches(ctx).NumRecords()
		}
		if committed != writers {
			t.Errorf("%d of %d first transactions are committed", committed, writers)
		}
	})
}

// TestErasedInTheView: of an erased job the view has a tombstone for readers and then a marker for trackers, which a
// restore reads, until the marker expires. Readers that compact as Kafka does, keeping each key's last record, restore
// the same.
func TestErasedInTheView(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		v := w.take()
		mark := aJob("a", 3)
		mark.Doc = job.Document{JobID: "a", State: fold.Erased, CreatedAt: mark.Doc.CreatedAt,
			UpdatedAt: mark.Doc.UpdatedAt, FinishedAt: mark.Doc.FinishedAt}
		mark.Tenant = ""
		for _, jobs := range []map[string]*fold.Job{
			{"a": aJob("a", 1), "b": aJob("b", 2)}, {"a": mark}, {"b": nil}, {"a": nil}, {"a": aJob("a", 5)},
		} {
			if err := w.write(v, w.change(jobs)); err != nil {
				t.Fatal(err)
			}
			w.wantRestored("after a transaction", v)
			found, err := Find(t.Context(), func(opts ...kgo.Opt) (*kgo.Client, error) {
				return w.kafka.NewClient(w.env, "test", opts...)
			}, names.View(), partition, "a")
			if j, ok := jobs["a"]; err != nil || ok && (found.Job == nil) != (j == nil) || found.Job.Erased() && j == nil && ok {
				t.Errorf("found %+v, %v; want %+v", found.Job, err, j)
			}
		}
		var of []string // what the records of the job are
		cl := w.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
			names.View(): {partition: kgo.NewOffset().AtStart()},
		}))
		for len(of) < 5 {
			for rec := range cl.PollFetches(t.Context()).RecordsAll() {
				kind, marked := header(rec, topic.HeaderViewKind)
				switch {
				case string(rec.Key) != "a":
				case marked:
					of = append(of, string(kind))
				case rec.Value == nil:
					of = append(of, "tombstone")
				default:
					of = append(of, "document")
				}
			}
		}
		if want := []string{"document", "tombstone", topic.ViewErased, "tombstone", "document"}; !slices.Equal(of, want) {
			t.Errorf("records %v, want %v", of, want)
		}
	})
}

// A change that is too large for one transaction takes several: between them the view is
// ahead of its position, and says so.
func TestALargeChange(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		v := w.take()
		jobs := map[string]*fold.Job{}
		for n := range maxRecords*2 + 10 {
			id := fmt.Sprintf("job-%05d", n)
			jobs[id] = aJob(id, 1)
		}
		if err := w.write(v, w.change(map[string]*fold.Job{"a": aJob("a", 1)})); err != nil {
			t.Fatal(err)
		}
		ids := w.change(jobs)
		p := w.store.Partition(partition)
		if err := p.Checkpoint(nil, w.next, 1); err != nil { // the view is at 1
			t.Fatal(err)
		}
		calls := 0
		r := w.store.NewReader()
		defer func() { _ = r.Close() }()
		failed := errors.New("the disk is gone")
		err := v.Write(t.Context(), ids, func(id string) (*store.Row, error) {
			calls++
			if calls > maxRecords+7 {
				return nil, failed
			}
			return r.Row(p, id)
		}, p.Totals())
		if !errors.Is(err, failed) {
			t.Fatal(err)
		}
		got, err := w.read(v)
		if err != nil || got.Position() != 1 || got.Totals().Count != 1+maxRecords {
			t.Fatalf("half-way: %+v, %v", got.Totals(), err)
		}
		if err := w.write(v, ids); err != nil {
			t.Fatal(err)
		}
		w.wantRestored("in the end", v)
	})
}

// A transaction that is still open when its owner is replaced is aborted, and the owner
// learns of it when it goes on: nothing of it is ever seen.
func TestAStalledTransaction(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		zombie := w.take()
		if err := w.write(zombie, w.change(map[string]*fold.Job{"a": aJob("a", 1)})); err != nil {
			t.Fatal(err)
		}
		if err := zombie.cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		row, err := store.NewRow(aJob("a", 99), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := zombie.cl.ProduceSync(t.Context(), jobRecord(names.View(), partition, "a", &row)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		owner := w.take()
		w.wantRestored("the open transaction does not count", owner)
		if err := zombie.cl.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
			t.Fatal("the zombie's transaction was committed")
		}
		if err := w.write(owner, w.change(map[string]*fold.Job{"b": aJob("b", 2)})); err != nil {
			t.Fatal(err)
		}
		w.wantRestored("and never will", owner)
	})
}

func TestAFencedWriter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		zombie := w.take()
		owner := w.take()
		ids := w.change(map[string]*fold.Job{"a": aJob("a", 1)})
		for range 2 {
			if err := w.write(zombie, ids); !errors.Is(err, shard.ErrFenced) {
				t.Fatalf("the zombie writes: %v", err)
			}
		}
		if err := w.write(owner, ids); err != nil {
			t.Fatal(err)
		}
		w.wantRestored("the owner's", owner)
	})
}

// What is not what a tracker wrote is not restored from.
func TestAViewThatIsNotSound(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(w *world) []*kgo.Record
		want error
	}{
		"a record of somebody else": {
			func(*world) []*kgo.Record { return []*kgo.Record{{Key: []byte("x"), Value: []byte(`{"jobId":"x"}`)}} },
			store.ErrUnsound,
		},
		"a lost job": {func(*world) []*kgo.Record { return []*kgo.Record{{Key: []byte("a")}} }, store.ErrUnsound},
		"a rotten header": {func(*world) []*kgo.Record {
			return []*kgo.Record{
				{
					Key: []byte("a"), Value: []byte(`{}`),
					Headers: []kgo.RecordHeader{{Key: topic.HeaderJobRow, Value: []byte("rot")}},
				},
			}
		}, store.ErrUnsound},
		"a rotten checkpoint": {func(*world) []*kgo.Record {
			return []*kgo.Record{
				{
					Key: []byte("checkpoint/1"), Value: []byte(`{`),
					Headers: []kgo.RecordHeader{{Key: topic.HeaderViewKind, Value: []byte(topic.ViewCheckpoint)}},
				},
			}
		}, store.ErrUnsound},
		"another log": {func(w *world) []*kgo.Record {
			other := identity
			other.TopicID = "made anew"
			rec, err := special(names.View(), partition, topic.ViewCheckpoint, Checkpoint{V: formatVersion, Log: other})
			if err != nil {
				w.t.Fatal(err)
			}
			return []*kgo.Record{rec}
		}, ErrOtherLog},
		"a later format": {func(w *world) []*kgo.Record {
			rec, err := special(names.View(), partition, topic.ViewCheckpoint, Checkpoint{V: formatVersion + 1, Log: identity})
			if err != nil {
				w.t.Fatal(err)
			}
			return []*kgo.Record{rec}
		}, ErrOtherLog},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				v := w.take()
				if err := w.write(v, w.change(map[string]*fold.Job{"a": aJob("a", 1), "b": aJob("b", 2)})); err != nil {
					t.Fatal(err)
				}
				w.wantRestored("before", v)
				cl := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
				for _, rec := range c.harm(w) {
					rec.Topic, rec.Partition = names.View(), partition
					if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := w.read(v); !errors.Is(err, c.want) {
					t.Fatalf("%v, want %v", err, c.want)
				}
			})
		})
	}
}

// sized is a job whose document has a result of n bytes.
func sized(id string, version int64, n int) *fold.Job {
	j := aJob(id, version)
	j.Doc.State, j.Dispatch = job.Completed, 1
	noise := make([]byte, n/2) // that no compression makes small
	rnd := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = rnd.Read(noise)
	j.Doc.Result = json.RawMessage(`"` + hex.EncodeToString(noise)[2:] + `"`)
	return j
}

// checkpoints reads what checkpoint records the view has.
func (w *world) checkpoints() (all []Checkpoint) {
	w.t.Helper()
	for _, rec := range w.readAll() {
		if kind, ok := header(rec, topic.HeaderViewKind); ok && string(kind) == topic.ViewCheckpoint {
			var c Checkpoint
			if err := json.Unmarshal(rec.Value, &c); err != nil {
				w.t.Fatal(err)
			}
			all = append(all, c)
		}
	}
	return all
}

// readAll reads the view as anybody may.
func (w *world) readAll() (all []*kgo.Record) {
	w.t.Helper()
	cl := w.client(kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{names.View(): {partition: kgo.NewOffset().AtStart()}}))
	for {
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		fetches := cl.PollFetches(ctx)
		cancel()
		if fetches.NumRecords() == 0 {
			return all
		}
		all = append(all, fetches.Records()...)
	}
}

// What is large takes several transactions, by its bytes.
func TestALargeChangeByItsBytes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		v := w.take()
		jobs := map[string]*fold.Job{}
		for n := range 30 {
			id := fmt.Sprintf("job-%05d", n)
			jobs[id] = sized(id, 1, 600_000)
		}
		if err := w.write(v, w.change(jobs)); err != nil {
			t.Fatal(err)
		}
		w.wantRestored("in parts", v)
		if n := len(w.checkpoints()); n != 3 {
			t.Errorf("18 MB took %d transactions", n)
		}
	})
}

// A document of an earlier version that is too large for the brokers does not delay others. It is written
// without its result, for readers of the view; a tracker does not restore from it.
func TestADocumentThatIsTooLarge(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var large []string
		w.cfg.TooLarge = func(id string, n int) {
			if n < 1_200_000 {
				t.Errorf("%s has %d bytes", id, n)
			}
			large = append(large, id)
		}
		v := w.take()
		jobs := map[string]*fold.Job{
			"large": sized("large", 1, 1_200_000), "a": aJob("a", 1), "b": sized("b", 1, fold.MaxResult),
		}
		if err := w.write(v, w.change(jobs)); err != nil {
			t.Fatal(err)
		}
		if len(large) != 1 || large[0] != "large" {
			t.Errorf("too large: %v", large)
		}
		found := map[string]job.Document{}
		for _, rec := range w.readAll() {
			var doc job.Document
			if _, special := header(rec, topic.HeaderViewKind); !special && json.Unmarshal(rec.Value, &doc) == nil {
				found[string(rec.Key)] = doc
			}
		}
		if len(found) != 3 || found["large"].State != job.Completed || found["large"].Result != nil ||
			len(found["b"].Result) != fold.MaxResult {
			t.Errorf("the table has %d jobs", len(found))
		}
		if _, err := w.read(v); !errors.Is(err, store.ErrUnsound) {
			t.Errorf("restored: %v", err)
		}
		if err := w.write(v, w.change(map[string]*fold.Job{"large": nil})); err != nil {
			t.Fatal(err)
		}
		w.wantRestored("when it has expired", v)
	})
}

// A broker that takes less than the default (max.message.bytes) gets less at once, and what is
// too large for it alone is left out.
func TestABrokerThatTakesLess(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const most = 100_000
		w.cluster.ControlKey(kmsg.Produce.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			req := r.(*kmsg.ProduceRequest)
			for _, t := range req.Topics {
				for _, p := range t.Partitions {
					if len(p.Records) > most {
						resp := req.ResponseKind().(*kmsg.ProduceResponse)
						resp.Topics = []kmsg.ProduceResponseTopic{
							{
								Topic: t.Topic, TopicID: t.TopicID,
								Partitions: []kmsg.ProduceResponseTopicPartition{
									{Partition: p.Partition, ErrorCode: kerr.MessageTooLarge.Code},
								},
							},
						}
						return resp, nil, true
					}
				}
			}
			return nil, nil, false
		})
		var large []string
		w.cfg.TooLarge = func(id string, _ int) { large = append(large, id) }
		v := w.take()
		jobs := map[string]*fold.Job{"large": sized("large", 1, 300_000)}
		for n := range 50 {
			id := fmt.Sprintf("job-%05d", n)
			jobs[id] = sized(id, 1, 20_000)
		}
		ids := w.change(jobs)
		var err error
		for range 5 { // as the shard does, each second
			if err = w.write(v, ids); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(large) == 0 || slices.ContainsFunc(large, func(id string) bool { return id != "large" }) {
			t.Errorf("left out: %v", large)
		}
		if err := w.write(v, w.change(map[string]*fold.Job{"large": nil})); err != nil {
			t.Fatal(err)
		}
		w.wantRestored("when it has expired", v)
	})
}
