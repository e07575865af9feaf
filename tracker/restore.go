package tracker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/store"
	"github.com/ackwire/ackwire/tracker/view"
)

// A partition is restored from the first usable one of three sources: the local store, which Open has
// checked; the topic view; the topic status from its beginning.

// source names where a partition's state may come from.
type source string

const (
	fromLocal  source = "local"
	fromView   source = "view"
	fromStatus source = "status"
)

// outcome says whether a source was used, or why not.
type outcome string

const (
	used          outcome = "used"
	refusedEmpty  outcome = "empty"
	refusedAhead  outcome = "ahead"     // status has lost records that it has folded: it is used all the same, see fill
	refusedBehind outcome = "behind"    // status no longer holds the events that follow it
	refusedOther  outcome = "other_log" // it was made from another topic or cluster
	refusedRotten outcome = "unsound"   // its content does not match its counts and hashes
)

// restoreMetrics tell how partitions were restored.
type restoreMetrics struct {
	outcomes  *prometheus.CounterVec
	records   prometheus.Counter
	remaining prometheus.Gauge
	seconds   prometheus.Histogram
}

func newRestoreMetrics(m meter.Meter) *restoreMetrics {
	r := &restoreMetrics{
		outcomes: m.CounterVec("restores_total",
			"Sources that restores of partitions have tried, by whether they were used or why not.", "from", "outcome"),
		records: m.Counter("restore_view_records_total", "Records of the topic view that restores have read."),
		remaining: m.Gauge("restore_remaining_records",
			"Records of the topic status that owned partitions still have to fold before they are ready."),
		seconds: m.Histogram("restore_seconds",
			"Time from a partition's assignment until its state is restored; later events of status are folded after that.",
			prometheus.ExponentialBuckets(0.001, 2, 18)),
	}
	for _, from := range []source{fromLocal, fromView, fromStatus} {
		for _, o := range []outcome{used, refusedEmpty, refusedAhead, refusedBehind, refusedOther, refusedRotten} {
			if from != fromStatus || o == used {
				r.outcomes.WithLabelValues(string(from), string(o))
			}
		}
	}
	return r
}

// retryMin and retryMax bound the waits between two attempts of a restore step while Kafka does not
// answer.
const (
	retryMin         = 100 * time.Millisecond
	retryMax         = 2 * time.Second
	progressInterval = 5 * time.Second // between two log lines
)

// retried calls f until it succeeds, ctx ends, or final says that the error is final. what is the log
// message of a failed try.
func (o *owner) retried(ctx context.Context, what string, p int32, f func() error, final func(error) bool) error {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		err := f()
		if err == nil || ctx.Err() != nil || final(err) {
			return errors.Join(err, ctx.Err())
		}
		o.logger.Warn(what, "partition", p, "err", err)
		if !pause.For(ctx, wait) {
			return ctx.Err()
		}
	}
}

func never(error) bool { return false }

// takeView makes this tracker the writer of the partition's view and fences the former one.
func (o *owner) takeView(ctx context.Context, p int32) (w *view.Writer, err error) {
	cfg := *o.view
	cfg.TooLarge = func(jobID string, bytes int) {
		o.metrics.ViewTooLarge()
		o.logger.Error("a document is too large for the topic view and was written without its result; no tracker can "+
			"restore from this partition of view until the job expires", "partition", p, "job", jobID, "bytes", bytes)
	}
	err = o.retried(ctx, "view not taken over yet", p, func() error {
		w, err = view.Take(ctx, cfg, p)
		return err
	}, never)
	return w, err
}

// span is the range of offsets that a partition of the log holds: from start up to, not including, end.
type span struct{ start, end int64 }

// span asks Kafka for the partition's span of status, until it answers.
func (o *owner) span(ctx context.Context, p int32) (s span, err error) {
	err = o.retried(ctx, "status is not known yet", p, func() error {
		ctx, cancel := context.WithTimeout(ctx, o.bounds.Ask)
		defer cancel()
		status, admin := o.names.Status(), kadm.NewClient(o.admin)
		starts, err := admin.ListStartOffsets(ctx, status)
		if err != nil {
			return err
		}
		ends, err := admin.ListEndOffsets(ctx, status)
		if err != nil {
			return err
		}
		start, ok1 := starts.Lookup(status, p)
		end, ok2 := ends.Lookup(status, p)
		if !ok1 || !ok2 {
			return fmt.Errorf("no offsets of partition %d", p)
		}
		s = span{start.Offset, end.Offset}
		return errors.Join(start.Err, end.Err)
	}, never)
	return s, err
}

// restore fills the partition's part of the store and returns the offset of status from which its shard
// is to fold on. w is nil when there is no view.
func (o *owner) restore(ctx context.Context, p int32, w *view.Writer) (next int64, err error) {
	began := time.Now()
	log, err := o.span(ctx, p)
	if err != nil {
		return 0, err
	}
	st := o.store.Partition(p)
	from, err := o.descend(ctx, p, st, w, log)
	if err != nil {
		return 0, err
	}
	if st.Position() > log.end {
		if err := o.fill(ctx, p, st, log); err != nil {
			return 0, err
		}
	}
	o.restores.seconds.Observe(time.Since(began).Seconds())
	next = st.Position()
	if next < log.start {
		o.metrics.Gap()
		o.logger.Error("status no longer holds the events after the checkpoint: its retention is too short; events are lost",
			"partition", p, "checkpoint", next, "start", log.start)
		next = log.start
	}
	o.restores.outcomes.WithLabelValues(string(from), string(used)).Inc()
	if next > 0 || log.end > 0 {
		o.logger.Info("partition restored", "partition", p, "from", from, "jobs", st.Totals().Count, "position", next,
			"remaining", log.end-next, "after", time.Since(began).Round(time.Millisecond))
	}
	return next, nil
}

// descend fills the store from the first usable source and returns which one that was. A local store
// that is behind status is used only when the view has nothing: some events are lost, but most jobs are
// known.
func (o *owner) descend(
	ctx context.Context, p int32, st *store.Partition, w *view.Writer, log span,
) (from source, err error) {
	refused := func(from source, why outcome, cause error) {
		o.restores.outcomes.WithLabelValues(string(from), string(why)).Inc()
		if why != refusedEmpty || log.end > 0 {
			o.logger.Info("state is not restored from here", "partition", p, "from", from, "reason", why, "err", cause)
		}
	}
	local := st.Totals()
	switch {
	case local.Next > log.end:
		o.restores.outcomes.WithLabelValues(string(fromLocal), string(refusedAhead)).Inc()
		return fromLocal, nil // the store is the better copy; see fill
	case local.Next == 0 && o.store.SetAside() != "":
		refused(fromLocal, refusedRotten, fmt.Errorf("the store was set aside: %s", o.store.SetAside()))
	case local.Next == 0:
		refused(fromLocal, refusedEmpty, nil)
	case local.Next < log.start:
		refused(fromLocal, refusedBehind, fmt.Errorf("it ends at %d, and status begins at %d", local.Next, log.start))
		if holds, err := o.viewHolds(ctx, p); err != nil || w == nil || !holds {
			return fromLocal, err
		}
	default:
		return fromLocal, nil
	}
	if w == nil {
		return fromStatus, nil
	}
	if err := st.Clear(); err != nil {
		return "", err
	}
	err = o.retried(ctx, "view not read yet", p, func() error {
		err := w.Read(ctx, st, o.progress(p))
		if err != nil {
			err = errors.Join(err, st.Clear())
		}
		return err
	}, func(err error) bool {
		_, ok := refusal(err)
		return ok || errors.Is(err, shard.ErrFenced)
	})
	why, ok := refusal(err)
	switch {
	case err != nil && !ok:
		return "", err
	case err != nil:
		refused(fromView, why, err)
		return fromStatus, nil
	case st.Position() > log.end:
		o.restores.outcomes.WithLabelValues(string(fromView), string(refusedAhead)).Inc()
	}
	return fromView, nil
}

// viewHolds reports whether the partition of view has any record to restore from.
func (o *owner) viewHolds(ctx context.Context, p int32) (holds bool, err error) {
	if o.view == nil {
		return false, nil
	}
	err = o.retried(ctx, "view is not known yet", p, func() error {
		ctx, cancel := context.WithTimeout(ctx, o.bounds.Ask)
		defer cancel()
		topic, admin := o.names.View(), kadm.NewClient(o.admin)
		starts, err := admin.ListStartOffsets(ctx, topic)
		if err != nil {
			return err
		}
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		start, ok1 := starts.Lookup(topic, p)
		end, ok2 := ends.Lookup(topic, p)
		holds = ok1 && ok2 && end.Offset > start.Offset
		return errors.Join(start.Err, end.Err)
	}, never)
	return holds, err
}

// refusal returns the outcome for an error of reading the view; false when another try may succeed.
func refusal(err error) (outcome, bool) {
	switch {
	case errors.Is(err, view.ErrEmpty):
		return refusedEmpty, true
	case errors.Is(err, view.ErrOtherLog):
		return refusedOther, true
	case errors.Is(err, store.ErrUnsound):
		return refusedRotten, true
	}
	return "", false
}

// progress returns a function that counts the records that a restore from the view has read, and logs
// them every progressInterval.
func (o *owner) progress(p int32) func(records, of int64) {
	began := time.Now()
	logged, counted := began, int64(0)
	return func(records, of int64) {
		o.restores.records.Add(float64(records - counted))
		counted = records
		if now := time.Now(); now.Sub(logged) >= progressInterval {
			logged = now
			o.logger.Info("restoring from view", "partition", p, "records", records, "remaining", of-records,
				"per_second", int64(float64(records)/now.Sub(began).Seconds()))
		}
	}
}

// viewConfig returns the configuration of the topic view's writers.
func (t *Tracker) viewConfig(id store.Identity, address string) *view.Config {
	return &view.Config{
		Names: t.names, Log: id, Address: address, Bounds: t.cfg.Kafka.Bounds(),
		Writer: func(id string, opts ...kgo.Opt) (*kgo.Client, error) {
			return t.cfg.Kafka.NewTransactionalClient(t.env, "ackwire-tracker-view", id, opts...)
		},
		Reader: func(opts ...kgo.Opt) (*kgo.Client, error) {
			return t.cfg.Kafka.NewClient(t.env, "ackwire-tracker-restore", append(opts, t.cfg.Kafka.Nearest())...)
		},
	}
}
