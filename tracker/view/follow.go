package view

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/store"
)

// Follower keeps partitions of a store as their owners write them to view, so that taking
// one over costs no more than the last second's events.
type Follower struct {
	cfg   Config
	store *store.Store
	log   *slog.Logger
	cl    *kgo.Client

	mu      sync.Mutex // guards all below, and the store's partitions that are followed
	follows map[int32]*following
}

// following is one partition.
type following struct {
	part   *store.Partition
	loads  []store.Load // since the last checkpoint
	until  int64        // offset at which the view as it was at the beginning ends; -1: at hand
	behind bool         // until is not reached
	again  time.Time    // it did not fit: it is read anew from then on
}

// maxLoads is how many changes wait for their checkpoint; rows may be ahead of the position.
const (
	maxLoads    = 10_000
	followAgain = 10 * time.Second
)

// NewFollower returns a follower of no partition.
func NewFollower(cfg Config, st *store.Store, log *slog.Logger) (*Follower, error) {
	cl, err := cfg.Reader(kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return nil, err
	}
	return &Follower{cfg: cfg, store: st, log: log, cl: cl, follows: map[int32]*following{}}, nil
}

// Close ends the follower.
func (f *Follower) Close() { f.cl.Close() }

// Follow begins with a partition that is somebody else's. What the store has of it is kept
// if it is all that the view had when this tracker last owned it.
func (f *Follower) Follow(p int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.follows[p] != nil {
		return
	}
	part := f.store.Partition(p)
	n := &following{part: part}
	f.follows[p] = n
	at := kgo.NewOffset().AtEnd()
	if t := part.Totals(); t.Next == 0 || t.Viewed != t.Next {
		n.behind, n.until = true, -1
		at = kgo.NewOffset().AtStart()
	}
	f.begin(p, at)
}

func (f *Follower) begin(p int32, at kgo.Offset) {
	f.cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{f.cfg.Names.View(): {p: at}})
}

func (f *Follower) end(p int32) {
	f.cl.RemoveConsumePartitions(map[string][]int32{f.cfg.Names.View(): {p}})
}

// Leave ends the following of a partition. The store's part is the caller's when it returns.
func (f *Follower) Leave(p int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.follows[p]; n != nil {
		delete(f.follows, p)
		f.end(p)
		if n.behind {
			// Half a table has no position; a restore begins anew.
			if err := n.part.Clear(); err != nil {
				f.log.Error("clear a partition that was followed", "partition", p, "err", err)
			}
		}
	}
}

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	for ctx.Err() == nil {
		poll, cancel := context.WithTimeout(ctx, followAgain)
		fetches := f.cl.PollRecords(poll, pollRecords)
		cancel()
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachError(func(_ string, p int32, err error) {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				f.log.Warn("follow view", "partition", p, "err", err)
			}
		})
		f.mu.Lock()
		fetches.EachPartition(func(b kgo.FetchTopicPartition) {
			n := f.follows[b.Partition]
			if n == nil || !n.again.IsZero() {
				return
			}
			if n.behind && n.until < 0 {
				n.until = b.LastStableOffset
			}
			if err := n.take(f.cfg.Log, b.Records); err != nil {
				f.log.Warn("a followed partition is read anew", "partition", b.Partition, "err", err)
				f.end(b.Partition)
				n.again = time.Now().Add(followAgain)
			}
		})
		f.retry()
		f.mu.Unlock()
	}
}

// retry begins again with partitions that did not fit.
func (f *Follower) retry() {
	for p, n := range f.follows {
		if n.again.IsZero() || time.Now().Before(n.again) {
			continue
		}
		if err := n.part.Clear(); err != nil {
			f.log.Error("clear a partition that is followed", "partition", p, "err", err)
			n.again = time.Now().Add(followAgain)
			continue
		}
		*n = following{part: n.part, behind: true, until: -1}
		f.begin(p, kgo.NewOffset().AtStart())
	}
}

// take applies records. At the view's end each checkpoint must fit; before it rows may be
// later than the checkpoint, for compaction leaves the last of each.
func (n *following) take(log store.Identity, records []*kgo.Record) error {
	for _, rec := range records {
		if kind, isSpecial := header(rec, topic.HeaderViewKind); isSpecial {
			if string(kind) == topic.ViewCheckpoint {
				if err := n.checkpoint(log, rec); err != nil {
					return err
				}
			}
			continue
		}
		load, err := decodeJob(rec)
		if err != nil {
			return err
		}
		if n.loads = append(n.loads, load); len(n.loads) >= maxLoads {
			if err := n.apply(nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *following) apply(totals *store.Totals) error {
	loads := n.loads
	n.loads = nil
	return n.part.Apply(loads, totals)
}

func (n *following) checkpoint(log store.Identity, rec *kgo.Record) error {
	c := &Checkpoint{}
	if err := json.Unmarshal(rec.Value, c); err != nil {
		return fmt.Errorf("checkpoint at offset %d: %w", rec.Offset, err)
	}
	if c.V != formatVersion || c.Log != log {
		return fmt.Errorf("%w: %+v", ErrOtherLog, c.Log)
	}
	if n.behind && rec.Offset+2 < n.until { // the last record and the mark of its transaction
		return nil
	}
	if c.Partial {
		return nil
	}
	if err := n.apply(&store.Totals{Next: c.Next, Count: c.Count, Sum: c.Sum}); err != nil {
		return err
	}
	n.behind = false
	return nil
}
