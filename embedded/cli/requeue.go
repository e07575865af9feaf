package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker"
)

// DeadRequeueCmd tries a dead letter again.
type DeadRequeueCmd struct {
	EitherFlags `embed:""`
	ID          string `arg:"" name:"id" help:"The dead letter's ID, as list prints it: PARTITION-OFFSET or PARTITION/OFFSET."`
}

// requeueTimeout bounds a requeue, which may read one partition of view.
const requeueTimeout = 5 * time.Minute

// Help returns the text that kong prints below the flags.
func (c *DeadRequeueCmd) Help() string {
	return eitherHelp + "If the record is a job's request, and the job still waits for it, the tracker writes a new " +
		"request for the job, which costs no attempt. " +
		"A job that has ended, or does not wait for that request, is not changed: exit code 2. " +
		"Any other record, and a request whose job is not known, is written to the end of the topic that it came from, " +
		"with its key, headers and value. " +
		"The dead letter itself is not removed. To requeue it twice does no harm."
}

// Run implements the command.
func (c *DeadRequeueCmd) Run(env *Env) error {
	if !c.direct {
		return c.ask(env)
	}
	ctx, cancel := context.WithTimeout(env.Context, requeueTimeout)
	defer cancel()
	f := c.kafka()
	l, err := f.find(ctx, kafkaID(c.ID))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(l.Topic, c.TopicPrefix) {
		return refused(fmt.Errorf("dead letter %s does not name a topic with the prefix %s that it came from", l.ID,
			c.TopicPrefix))
	}
	names := topic.Names{Prefix: c.TopicPrefix}
	if r, ok := l.dead.Request(names); ok {
		v, err := tracker.Revive(ctx, f.client, names, r)
		if err != nil {
			return refused(f.denied(ctx, fmt.Errorf("requeue of dead letter %s: %w", l.ID, err)))
		}
		if again, err := l.revived(env, r.JobID, v); !again {
			return err
		}
	}
	return f.writeBack(ctx, env, l)
}

// ask lets a gateway do it.
func (c *DeadRequeueCmd) ask(env *Env) error {
	done, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.DeadRequeued, error) {
		return api.RequeueDead(ctx, httpID(c.ID))
	})
	if err != nil {
		return c.queryError(env, err)
	}
	if c.JSON {
		return c.print(env, done)
	}
	if done.Outcome == frame.RequeueDispatched {
		fmt.Fprintf(env.Stderr, "job %s gets a new request\n", clean(done.JobID))
		return nil
	}
	at := ""
	if done.Partition != nil && done.Offset != nil {
		at = fmt.Sprintf("/%d at offset %d", *done.Partition, *done.Offset)
	}
	fmt.Fprintf(env.Stderr, "dead letter %s is written to %s%s\n", clean(c.ID), clean(done.Topic), at)
	return nil
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
func (f *KafkaFlags) writeBack(ctx context.Context, env *Env, l letter) error {
	again := l.dead.Again()
	cl, err := f.client(kgo.ProducerLinger(0))
	if err != nil {
		return refused(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(ctx, again).FirstErr(); err != nil {
		return refused(f.denied(ctx, fmt.Errorf("write to %s: %w", l.Topic, err)))
	}
	fmt.Fprintf(env.Stderr, "dead letter %s is written to %s/%d at offset %d\n", l.ID, clean(again.Topic), again.Partition,
		again.Offset)
	return nil
}
