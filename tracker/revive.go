package tracker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/dead"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/view"
)

// Revival is the result of Revive.
type Revival struct {
	// Taken reports that the job is dispatched again, with the number Dispatch.
	Taken    bool
	Dispatch int
	// State is the job's state afterwards; empty when no such job is known.
	State job.State
	// Outlived reports that the job is not known and old enough to have expired.
	Outlived bool
}

// Revive writes to status that a request is lost, so that the tracker dispatches its job again, and
// returns what that event did. Every reader of the log folds it to the same result, so no tracker has to
// be asked: Revive folds the job itself, from its document in the topic view, where there is one, and
// from the events of status up to its own. To call it twice for one request does no harm.
func Revive(
	ctx context.Context, newClient func(...kgo.Opt) (*kgo.Client, error), names topic.Names, r dead.Request,
) (Revival, error) {
	lost, err := lostEvent(names, r)
	if err != nil {
		return Revival{}, err
	}
	cl, err := newClient(kgo.ProducerLinger(0))
	if err != nil {
		return Revival{}, err
	}
	defer cl.Close()
	n, err := kafka.PartitionCount(ctx, cl, names.Status())
	if err != nil {
		return Revival{}, fmt.Errorf("ask for %s: %w", names.Status(), err)
	}
	found, err := view.Find(ctx, newClient, names.View(), kafka.Partition(r.JobID, n), r.JobID)
	if err != nil {
		return Revival{}, err
	}
	if err := cl.ProduceSync(ctx, lost).FirstErr(); err != nil {
		return Revival{}, fmt.Errorf("write to %s: %w", lost.Topic, err)
	}
	if found.Next > lost.Offset {
		found = view.Found{} // the view was made from another log
	}
	result, err := foldTo(ctx, cl, newClient, lost, found)
	if err != nil {
		return Revival{}, err
	}
	v := Revival{Taken: result.Changed}
	switch {
	case result.Job != nil:
		v.State, v.Dispatch = result.Job.Doc.State, result.Job.Dispatch
	case r.Policy != nil:
		v.Outlived = fold.Outlived(time.Since(r.At), r.Policy)
	}
	return v, nil
}

// lostEvent returns the record that says that a request is lost.
func lostEvent(names topic.Names, r dead.Request) (*kgo.Record, error) {
	value, err := event.Encode(&event.Event{Type: event.RequestLost, JobID: r.JobID, Life: r.Life, Request: &r.Position})
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: names.Status(), Key: []byte(r.JobID), Value: value}, nil
}

// foldTo folds a job's events up to the record last and returns the result of that one. It begins with
// the document and position that were found in the view, or else at the start of status.
func foldTo(ctx context.Context, cl *kgo.Client, newClient func(...kgo.Opt) (*kgo.Client, error), last *kgo.Record,
	found view.Found) (fold.Result, error) {
	starts, err := kadm.NewClient(cl).ListStartOffsets(ctx, last.Topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fold.Result{}, fmt.Errorf("read %s: %w", last.Topic, err)
	}
	start, _ := starts.Lookup(last.Topic, last.Partition)
	from := kgo.NewOffset().At(max(found.Next, start.Offset))
	reader, err := newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{last.Topic: {last.Partition: from}}))
	if err != nil {
		return fold.Result{}, err
	}
	defer reader.Close()
	j := found.Job
	for {
		fetches := reader.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return fold.Result{}, fmt.Errorf("read %s[%d]: %w", last.Topic, last.Partition, err)
		}
		for rec := range fetches.RecordsAll() {
			e, err := event.Decode(rec.Value)
			if string(rec.Key) != string(last.Key) || err != nil || e.JobID != string(last.Key) {
				continue
			}
			r := fold.Fold(j, &e, fold.Meta{Offset: rec.Offset, Time: rec.Timestamp,
				ByWriter: rec.Attrs.TimestampType() != 1})
			if rec.Offset >= last.Offset {
				return r, nil
			}
			j = r.Job
		}
	}
}
