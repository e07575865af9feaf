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
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/view"
)

// DeadRequest is a request that a worker put among the dead letters.
type DeadRequest struct {
	JobID string
	Life  string // as the record says, or empty
	// Request is where the record lay.
	Request event.Position
	// At is when it was put there: the request is as old at least.
	At time.Time
	// Policy is the record's, or nil where that cannot be read.
	Policy *job.Policy
}

// Revival is what became of a dead request's job.
type Revival struct {
	// Taken reports that the job is handed out anew, as Dispatch.
	Taken    bool
	Dispatch int
	// State is the job's afterwards; empty when the log knows no such job.
	State job.State
	// Outlived is true where the job is not known and may have been and have expired.
	Outlived bool
}

// Revive says in the log that a request is lost, so that the tracker hands its job out anew, and
// tells what the rules make of that. All who read the log come to the same, so it asks nobody: it
// folds the job from the topic view, where there is one, and from status up to its own event. To do
// it twice does no harm.
func Revive(
	ctx context.Context, newClient func(...kgo.Opt) (*kgo.Client, error), names topic.Names, r DeadRequest,
) (Revival, error) {
	value, err := event.Encode(&event.Event{Type: event.RequestLost, JobID: r.JobID, Life: r.Life, Request: &r.Request})
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
	said := &kgo.Record{Topic: names.Status(), Key: []byte(r.JobID), Value: value}
	if err := cl.ProduceSync(ctx, said).FirstErr(); err != nil {
		return Revival{}, fmt.Errorf("write to %s: %w", said.Topic, err)
	}
	if found.Next > said.Offset {
		found = view.Found{} // it reflects another log
	}
	result, err := foldTo(ctx, cl, newClient, said, found)
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

// foldTo folds a job's events up to the last one, and returns what that one did.
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
			r := fold.Fold(j, &e, fold.Meta{Offset: rec.Offset, Time: rec.Timestamp})
			if rec.Offset >= last.Offset {
				return r, nil
			}
			j = r.Job
		}
	}
}
