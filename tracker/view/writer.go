package view

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/store"
)

// Bounds of a transaction.
const (
	maxRecords = 5000
	maxBytes   = 8 << 20 // the last record may exceed it
	linger     = 10 * time.Millisecond
)

// Config is the configuration of a view's writers.
type Config struct {
	// Writer returns a client that writes in transactions, Reader one that reads.
	Writer  func(transactionalID string, opts ...kgo.Opt) (*kgo.Client, error)
	Reader  func(opts ...kgo.Opt) (*kgo.Client, error)
	Names   topic.Names
	Log     store.Identity // of status
	Address string         // of this tracker; written to the owner record for operators
	Bounds  kafka.Bounds   // Transaction bounds a transaction, and Delivery its abort
	// TooLarge is called for each job whose record is too large for the topic; it may be nil.
	TooLarge func(jobID string, bytes int)
}

// Writer writes one partition of view. It is not safe for concurrent use.
type Writer struct {
	cfg       Config
	partition int32
	cl        *kgo.Client
	broken    error // why the client cannot be used any more
	sizes     sizes
}

// Take makes the caller the partition's only writer. It fences the former writer and aborts its open
// transaction, by the transactional ID that all writers of the partition share (KIP-98).
func Take(ctx context.Context, cfg Config, partition int32) (*Writer, error) {
	w := &Writer{cfg: cfg, partition: partition}
	if err := w.take(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Writer) take(ctx context.Context) error {
	cl, err := w.cfg.Writer(w.cfg.Names.View()+"-"+strconv.Itoa(int(w.partition)),
		kgo.TransactionTimeout(w.cfg.Bounds.Transaction),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(linger), // a transaction's records are flushed together
	)
	if err != nil {
		return err
	}
	if _, _, err := cl.ProducerID(ctx); err != nil {
		cl.Close()
		return fmt.Errorf("take view %d over: %w", w.partition, err)
	}
	w.cl, w.broken = cl, nil
	return nil
}

// Close closes the writer's client.
func (w *Writer) Close() {
	if w.cl != nil {
		w.cl.Close()
	}
}

// Write implements shard.View. It writes the jobs in as many transactions as they need; all but the last
// have a partial checkpoint, so that a restore between them knows that the table is ahead of its position.
func (w *Writer) Write(
	ctx context.Context, ids []string, row func(string) (*store.Row, error), totals store.Totals,
) error {
	if w.broken != nil {
		return w.broken
	}
	now := time.Now().UTC()
	for {
		records, taken, err := w.records(ids, row)
		if err != nil {
			return err
		}
		c := Checkpoint{V: formatVersion, Log: w.cfg.Log, Next: totals.Viewed, Partial: true, At: now}
		if taken == len(ids) {
			c = Checkpoint{V: formatVersion, Log: w.cfg.Log, Next: totals.Next, Count: totals.Count, Sum: totals.Sum, At: now}
		}
		c.ClosedAt = totals.ClosedAt
		checkpoint, err := special(w.cfg.Names.View(), w.partition, topic.ViewCheckpoint, c)
		if err != nil {
			return err
		}
		switch err := w.transact(ctx, append(records, checkpoint)); {
		case errors.Is(err, kerr.MessageTooLarge) && w.broken == nil && w.sizes.learned:
			continue // again, in smaller batches or with a stub for the record that is too large
		case err != nil:
			return err
		case taken == len(ids):
			return nil
		}
		ids = ids[taken:]
	}
}

// records returns the records for the first jobs of ids, as many as fit into one transaction, and their number.
func (w *Writer) records(
	ids []string, row func(string) (*store.Row, error),
) (records []*kgo.Record, taken int, err error) {
	bytes := 0
	for ; taken < len(ids) && taken < maxRecords && bytes < maxBytes; taken++ {
		r, err := row(ids[taken])
		if err != nil {
			return nil, 0, err
		}
		if r != nil && r.Erased() {
			tombstone := jobRecord(w.cfg.Names.View(), w.partition, ids[taken], nil)
			bytes += size(tombstone)
			records = append(records, tombstone)
		}
		rec := jobRecord(w.cfg.Names.View(), w.partition, ids[taken], r)
		if n := size(rec); n > w.sizes.record() {
			if w.cfg.TooLarge != nil {
				w.cfg.TooLarge(ids[taken], n)
			}
			rec = w.sizes.stub(rec, r)
		}
		if rec != nil {
			bytes += size(rec)
			records = append(records, rec)
		}
	}
	return records, taken, nil
}

// transact writes the records in one transaction, or none of them: after an error it aborts. When it can
// neither commit nor abort, or is fenced, the writer is broken.
func (w *Writer) transact(ctx context.Context, records []*kgo.Record) error {
	if err := w.cl.BeginTransaction(); err != nil {
		return w.failed(fmt.Errorf("begin transaction: %w", err))
	}
	// The client calls promises one at a time; Flush returns after the last.
	var produced, flushed error
	var refused []int // sizes of the records that were too large, or together with others
	bytes := 0
	for _, rec := range records {
		n := size(rec)
		if bytes > 0 && bytes+n > w.sizes.batch() {
			flushed = errors.Join(flushed, w.cl.Flush(ctx))
			bytes = 0
		}
		bytes += n
		w.cl.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if errors.Is(err, kerr.MessageTooLarge) {
				refused = append(refused, n)
			}
			if produced == nil && err != nil {
				produced = err
			}
		})
	}
	err := errors.Join(flushed, w.cl.Flush(ctx), ctx.Err())
	w.sizes.learned = false
	if err == nil {
		w.sizes.learn(refused)
	}
	if err == nil {
		err = produced
	}
	if err == nil {
		err = w.settle(ctx)
	}
	if err == nil {
		if err = w.cl.EndTransaction(ctx, kgo.TryCommit); err == nil {
			return nil
		}
		err = fmt.Errorf("commit transaction: %w", err)
	} else {
		err = fmt.Errorf("produce: %w", err)
	}
	if fenced(err) {
		return w.failed(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.Bounds.Delivery)
	defer cancel()
	if abort := errors.Join(w.cl.AbortBufferedRecords(ctx), w.cl.EndTransaction(ctx, kgo.TryAbort)); abort != nil {
		return w.failed(errors.Join(err, fmt.Errorf("abort transaction: %w", abort)))
	}
	return err
}

// settle waits until the client knows the partition that it has written to. It stores what it has learned of a topic
// only after it has handed the first records over (franz-go v1.22.2, kgo.storePartitionsUpdate). If a transaction is
// committed before, the client finds nothing in it, aborts it, and returns no error: the records are lost.
func (w *Writer) settle(ctx context.Context) error {
	for {
		leader, _, err := w.cl.PartitionLeader(w.cfg.Names.View(), w.partition)
		if leader >= 0 || err != nil {
			return nil
		}
		if !pause.For(ctx, time.Millisecond) {
			return ctx.Err()
		}
	}
}

// failed marks the writer as broken and returns the error as shard.ErrFenced. A new writer may be taken only
// after the group has confirmed that this tracker owns the partition, or two trackers would fence each
// other in turn; the shard does that when it is fenced, so any broken writer counts as fenced.
func (w *Writer) failed(err error) error {
	w.broken = fmt.Errorf("%w: view %d: %w", shard.ErrFenced, w.partition, err)
	return w.broken
}

func fenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) ||
		errors.Is(err, kerr.InvalidProducerIDMapping) || errors.Is(err, kerr.TransactionalIDAuthorizationFailed)
}

// announce writes an owner record with this tracker's address, and returns the record's nonce.
func (w *Writer) announce(ctx context.Context) (nonce string, err error) {
	nonce = rand.Text()
	rec, err := special(w.cfg.Names.View(), w.partition, topic.ViewOwner, owner{formatVersion, w.cfg.Address, nonce,
		time.Now().UTC()})
	if err != nil {
		return "", err
	}
	return nonce, w.transact(ctx, []*kgo.Record{rec})
}
