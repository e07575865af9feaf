package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker"
)

// DeadRequeueCmd tries a dead letter again.
type DeadRequeueCmd struct {
	KafkaFlags `embed:""`
	ID         string `arg:"" name:"id" help:"PARTITION/OFFSET, as list prints it."`
}

// requeueTimeout bounds a requeue, which may read one partition of view.
const requeueTimeout = 5 * time.Minute

// Help returns the text that kong prints below the flags.
func (c *DeadRequeueCmd) Help() string {
	return "If the record is a job's request, and the job still waits for it, the tracker writes a new request for the " +
		"job, which costs no attempt. " +
		"A job that has ended, or does not wait for that request, is not changed: exit code 2. " +
		"Any other record, and a request whose job is not known, is written to the end of the topic that it came from, " +
		"with its key, headers and value. " +
		"The dead letter itself is not removed. To requeue it twice does no harm."
}

// Run implements the command.
func (c *DeadRequeueCmd) Run(env *Env) error {
	ctx, cancel := context.WithTimeout(env.Context, requeueTimeout)
	defer cancel()
	l, err := c.find(ctx, c.ID)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(l.Topic, c.TopicPrefix) {
		return refused(fmt.Errorf("dead letter %s does not name a topic with the prefix %s that it came from", l.ID,
			c.TopicPrefix))
	}
	names := topic.Names{Prefix: c.TopicPrefix}
	if _, isRequest := names.Lane(l.Topic); isRequest {
		if r, ok := l.request(); ok {
			v, err := tracker.Revive(ctx, c.client, names, r)
			if err != nil {
				return refused(c.denied(ctx, fmt.Errorf("requeue of dead letter %s: %w", l.ID, err)))
			}
			if again, err := l.revived(env, r.JobID, v); !again {
				return err
			}
		}
	}
	return c.writeBack(ctx, env, l)
}

// request returns the dead letter as a job's request; ok is false when it names no job. Any of its headers may be
// malformed, for that may have made it a dead letter: only its position and key are needed.
func (l *letter) request() (r tracker.DeadRequest, ok bool) {
	partition, err := strconv.ParseInt(l.Partition, 10, 32)
	offset, err2 := strconv.ParseInt(l.Offset, 10, 64)
	if err := errors.Join(err, err2); err != nil {
		return r, false
	}
	r = tracker.DeadRequest{JobID: string(l.record.Key), At: l.At,
		Request: event.Position{Topic: l.Topic, Partition: int32(partition), Offset: offset}}
	if r.JobID == "" {
		r.JobID = l.Headers[topic.HeaderID]
	}
	if life := l.Headers[topic.HeaderLife]; topic.ValidLife(life) {
		r.Life = life
	}
	var p job.Policy
	if json.Unmarshal([]byte(l.Headers[topic.HeaderPolicy]), &p) == nil && p.Validate() == nil {
		r.Policy = &p
	}
	return r, utf8.ValidString(r.JobID) && r.JobID != "" && job.Bounded(r.JobID, job.MaxNameChars)
}

// revived prints or returns what became of the dead letter's job. again is true when no such job is known: then the
// record has to be written again, and a worker's claim of it may make the job.
func (l *letter) revived(env *Env, jobID string, v tracker.Revival) (again bool, err error) {
	id := clean(jobID)
	switch {
	case v.Taken:
		fmt.Fprintf(env.Stderr, "job %s gets a new request, as dispatch %d\n", id, v.Dispatch)
		return false, nil
	case v.State.Terminal():
		return false, refused(fmt.Errorf("invalid_state: job %s has ended: it is %s. To run it again, retry the job", id,
			v.State))
	case v.State != "":
		return false, refused(fmt.Errorf(
			"invalid_state: job %s is %s and does not wait for this request: there is nothing to do", id, v.State))
	case v.Outlived:
		return false, refused(fmt.Errorf(
			"not_found: job %s is not known. Its request is older than the job's retention: the job may have run and expired",
			id))
	}
	return true, nil
}

// writeBack writes the record to the topic that it came from.
func (c *DeadRequeueCmd) writeBack(ctx context.Context, env *Env, l letter) error {
	again := &kgo.Record{Topic: l.Topic, Key: l.record.Key, Value: l.record.Value}
	for _, h := range l.record.Headers {
		if !strings.HasPrefix(h.Key, "ackwire-dead-") {
			again.Headers = append(again.Headers, h)
		}
	}
	cl, err := c.client(kgo.ProducerLinger(0))
	if err != nil {
		return refused(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(ctx, again).FirstErr(); err != nil {
		return refused(c.denied(ctx, fmt.Errorf("write to %s: %w", l.Topic, err)))
	}
	fmt.Fprintf(env.Stderr, "dead letter %s is written to %s/%d at offset %d\n", l.ID, clean(again.Topic), again.Partition,
		again.Offset)
	return nil
}
