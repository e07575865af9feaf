package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/topic"
)

// TopicsGrowCmd adds partitions to the topics of a running system.
type TopicsGrowCmd struct {
	KafkaFlags `embed:""`
	Requests   int32    `help:"Number of partitions that topics of requests are to have. Jobs go on meanwhile." placeholder:"N"`
	Lane       []string `help:"Lanes whose topics of requests are meant; unless given all that exist." placeholder:"LANE"`
	Status     int32    `help:"Number of partitions that status, and all topics with it, are to have under the prefix of --to. Jobs stay where they are until they expire, and new ones are made there." placeholder:"N"`
	To         string   `help:"The new topic prefix, for --status." placeholder:"PREFIX"`
	Close      bool     `help:"With --status: from now on make new jobs under the new prefix. All gateways must know both by then (--former-topic-prefix)."`
	DryRun     bool     `name:"dry-run" help:"Print what would be done, and change nothing."`
}

// Help returns the text that kong prints below the flags.
func (c *TopicsGrowCmd) Help() string {
	return "Partitions of requests bound how many workers can share a lane, those of status how many trackers can share " +
		"the jobs. Kafka cannot remove partitions. The number of partitions of status never changes: a system gets more by " +
		"moving to topics with another prefix. " +
		"The command may be repeated: it does only what is missing, and says what comes next."
}

// Bounds of the command.
const (
	maxPartitions = 10_000
	growTimeout   = 2 * time.Minute
	// sharedWithin is how long workers have to take requests from new partitions until the command says that they do not.
	sharedWithin = 40 * time.Second
	sharedPause  = time.Second
)

// Validate reports what is wrong with the flags. The flag parser calls it.
func (c *TopicsGrowCmd) Validate() error {
	for name, n := range map[string]int32{"requests": c.Requests, "status": c.Status} {
		if n < 0 || n > maxPartitions {
			return fmt.Errorf("--%s must be from 1 to %d", name, maxPartitions)
		}
	}
	moves := c.To != "" || c.Close
	switch {
	case (c.Requests == 0) == (c.Status == 0):
		return errors.New("give either --requests or --status")
	case c.Requests > 0 && moves:
		return errors.New("--to and --close belong to --status")
	case c.Status > 0 && len(c.Lane) > 0:
		return errors.New("--lane belongs to --requests")
	case c.Status > 0 && c.To == "":
		return errors.New("--status needs --to with the new topic prefix")
	case c.Status > 0 && c.To == c.TopicPrefix:
		return errors.New("--to must be another prefix than --topic-prefix")
	case c.Status > 0:
		if err := (topic.Names{Prefix: c.To}).Validate(); err != nil {
			return fmt.Errorf("--to: %w", err)
		}
	}
	return c.Kafka.Check()
}

// Run implements the command.
func (c *TopicsGrowCmd) Run(env *Env) error {
	timeout := growTimeout
	if c.Status > 0 {
		timeout = moveTimeout
	}
	ctx, cancel := context.WithTimeout(env.Context, timeout)
	defer cancel()
	cl, err := c.client()
	if err != nil {
		return refused(err)
	}
	defer cl.Close()
	if c.Status > 0 {
		m := &move{cmd: c, env: env, cl: cl, old: topic.Names{Prefix: c.TopicPrefix}, new: topic.Names{Prefix: c.To}}
		err = m.run(ctx)
	} else {
		err = c.growRequests(ctx, env, cl)
	}
	if err != nil {
		return refused(err)
	}
	return nil
}

func (c *TopicsGrowCmd) growRequests(ctx context.Context, env *Env, cl *kgo.Client) error {
	names := topic.Names{Prefix: c.TopicPrefix}
	lanes, err := c.lanes(ctx, cl, names)
	if err != nil {
		return err
	}
	topics := make([]string, len(lanes))
	for i, lane := range lanes {
		topics[i] = names.Requests(lane)
	}
	plan, err := kafka.PlanGrowth(ctx, cl, c.Requests, topics...)
	if err != nil {
		return err
	}
	if !c.DryRun {
		if err := kafka.Grow(ctx, cl, plan); err != nil {
			return err
		}
	}
	for i, g := range plan {
		if err := c.tell(ctx, env, cl, g, names.ProcessorGroup(lanes[i])); err != nil {
			return err
		}
	}
	return nil
}

// lanes returns the lanes whose topics are meant.
func (c *TopicsGrowCmd) lanes(ctx context.Context, cl *kgo.Client, names topic.Names) ([]string, error) {
	if len(c.Lane) > 0 {
		return c.Lane, nil
	}
	topics, err := kadm.NewClient(cl).ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	var lanes []string
	for _, name := range topics.Names() {
		if lane, ok := names.Lane(name); ok {
			lanes = append(lanes, lane)
		}
	}
	if len(lanes) == 0 {
		return nil, fmt.Errorf("there is no topic %sLANE: see --topic-prefix", names.Requests(""))
	}
	slices.Sort(lanes)
	return lanes, nil
}

// grown is what became of one topic, as --json prints it.
type grown struct {
	Topic    string `json:"topic"`
	From     int32  `json:"from"`
	To       int32  `json:"to"`
	DryRun   bool   `json:"dryRun,omitempty"`
	Workers  int    `json:"workers"`
	Assigned int32  `json:"assigned"` // partitions that have a worker
}

// tell prints what became of one topic. It waits until the workers that are connected share all partitions.
func (c *TopicsGrowCmd) tell(ctx context.Context, env *Env, cl *kgo.Client, g kafka.Growth, group string) error {
	r := grown{Topic: g.Topic, From: g.From, To: g.To, DryRun: c.DryRun}
	if !c.DryRun {
		shares, err := awaitShares(ctx, cl, g, group)
		if err != nil {
			return err
		}
		r.Workers, r.Assigned = shares.Members, shares.Assigned
	}
	if c.JSON {
		b, err := plainjson.Marshal(r)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "%s\n", b)
	} else {
		fmt.Fprintln(env.Stdout, clean(r.String()))
	}
	if r.Workers > 0 && r.Assigned < r.To {
		return fmt.Errorf("the workers of group %s take requests from %d of %d partitions so far: clients that are not "+
			"Ackwire's may need their metadata.max.age.ms (5 minutes by default) to notice; repeat the command to see",
			group, r.Assigned, r.To)
	}
	return nil
}

// String says it in one line.
func (r grown) String() string {
	switch {
	case r.From == r.To && r.DryRun:
		return fmt.Sprintf("topic %s has %d partitions: nothing to do", r.Topic, r.To)
	case r.DryRun:
		return fmt.Sprintf("topic %s has %d partitions and would get %d", r.Topic, r.From, r.To)
	}
	workers := fmt.Sprintf("%d workers share %d of them", r.Workers, r.Assigned)
	if r.From == r.To {
		return fmt.Sprintf("topic %s had %d partitions already; %s", r.Topic, r.To, workers)
	}
	return fmt.Sprintf("topic %s had %d partitions and now has %d; %s", r.Topic, r.From, r.To, workers)
}

// awaitShares waits until a group that has members shares all partitions, for at most sharedWithin.
func awaitShares(ctx context.Context, cl *kgo.Client, g kafka.Growth, group string) (kafka.Shares, error) {
	ctx, cancel := context.WithTimeout(ctx, sharedWithin)
	defer cancel()
	var last kafka.Shares
	for {
		shares, err := kafka.SharesOf(ctx, cl, kafka.Consumed{Topic: g.Topic, Group: group})
		switch {
		case err == nil:
			last = shares
			if shares.Members == 0 || shares.Assigned >= g.To {
				return last, nil
			}
		case !errors.Is(err, context.DeadlineExceeded):
			return last, err
		}
		if !pause.For(ctx, sharedPause) {
			return last, nil
		}
	}
}
