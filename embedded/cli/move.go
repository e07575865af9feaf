package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker"
)

// A move brings a system to topics with another number of partitions of status: those of a new prefix. Each run does
// the next step that is safe, as far as Kafka shows what was done before, and says what comes after it:
//
//  1. It makes the topics of the new prefix, with the settings that those of the old one have.
//  2. With --close, once trackers and workers of the new prefix run, it marks the partitions of the old status: from
//     then on new jobs are made under the new prefix.
//  3. It counts the jobs that are left under the old prefix.

// moveTimeout bounds one run, which may read the whole topic view.
const moveTimeout = 30 * time.Minute

// move is one run of `ackwire topics grow --to`.
type move struct {
	cmd      *TopicsGrowCmd
	env      *Env
	cl       *kgo.Client
	old, new topic.Names
	lanes    []string // of the old prefix
}

// moved is what --json prints.
type moved struct {
	From       string              `json:"from"`
	To         string              `json:"to"`
	Partitions int32               `json:"partitions"`
	DryRun     bool                `json:"dryRun,omitempty"`
	Create     []string            `json:"create"` // topics that were made, or would be
	Closed     bool                `json:"closed"`
	Jobs       map[job.State]int64 `json:"jobs"` // that are left under the old prefix; null if they cannot be counted
	Open       int64               `json:"open"` // those that have not ended
	Behind     int64               `json:"behind"`
	Next       string              `json:"next"` // what to do now
}

func (m *move) run(ctx context.Context) error {
	r := moved{From: m.old.Prefix, To: m.new.Prefix, Partitions: m.cmd.Status, DryRun: m.cmd.DryRun, Create: []string{}}
	missing, err := m.plan(ctx)
	if err != nil {
		return err
	}
	for _, t := range missing {
		r.Create = append(r.Create, t.name)
	}
	if !m.cmd.DryRun {
		if err := m.create(ctx, missing); err != nil {
			return err
		}
	}
	if m.cmd.Close {
		if err := m.safeToClose(ctx, len(missing) > 0); err != nil {
			return err
		}
		if !m.cmd.DryRun {
			if err := m.close(ctx); err != nil {
				return err
			}
		}
	}
	left, err := tracker.CountLeft(ctx, m.cmd.client, m.old)
	switch {
	case errors.Is(err, tracker.ErrNoView):
	case err != nil:
		return err
	default:
		r.Jobs, r.Behind = left.Jobs, left.Behind
		for s, n := range left.Jobs {
			if !s.Terminal() {
				r.Open += n
			}
		}
	}
	r.Closed = left.Closed && err == nil || m.cmd.Close && !m.cmd.DryRun
	r.Next = m.next(r)
	return m.print(r)
}

// newTopic is a topic that is to be made.
type newTopic struct {
	name       string
	partitions int32
	replicas   int16
	configs    map[string]*string
}

// plan returns the topics of the new prefix that do not exist. Those that exist must have the wanted partitions.
func (m *move) plan(ctx context.Context) ([]newTopic, error) {
	adm := kadm.NewClient(m.cl)
	have, err := adm.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	status := have[m.old.Status()]
	if len(status.Partitions) == 0 {
		return nil, fmt.Errorf("there is no topic %s: see --topic-prefix", m.old.Status())
	}
	if n := len(status.Partitions); int(m.cmd.Status) <= n {
		return nil, fmt.Errorf("topic %s has %d partitions already: --status must be more", m.old.Status(), n)
	}
	var missing []newTopic
	for _, name := range have.Names() {
		rest, ok := strings.CutPrefix(name, m.old.Prefix)
		lane, isLane := m.old.Lane(name)
		if isLane {
			m.lanes = append(m.lanes, lane)
		}
		if !ok || !isLane && !slices.Contains([]string{m.old.Status(), m.old.View(), m.old.Deferred(), m.old.Control(),
			m.old.Dead()}, name) {
			continue
		}
		t := newTopic{
			name: m.new.Prefix + rest, partitions: m.cmd.Status, replicas: int16(have[name].Partitions.NumReplicas()),
		}
		if isLane {
			t.partitions = max(t.partitions, int32(len(have[name].Partitions)))
		} else if name == m.old.Dead() {
			t.partitions = int32(len(have[name].Partitions))
		}
		if made, ok := have[t.name]; ok {
			exact := name == m.old.Status() || name == m.old.View()
			if n := int32(len(made.Partitions)); exact && n != t.partitions {
				return nil, fmt.Errorf("topic %s exists with %d partitions, not %d: give its number, or another --to", t.name, n,
					t.partitions)
			}
			continue
		}
		t.configs, err = settingsOf(ctx, adm, name)
		if err != nil {
			return nil, err
		}
		missing = append(missing, t)
	}
	return missing, nil
}

// settingsOf returns the settings that were given to a topic.
func settingsOf(ctx context.Context, adm *kadm.Client, name string) (map[string]*string, error) {
	described, err := adm.DescribeTopicConfigs(ctx, name)
	var got kadm.ResourceConfig
	if err == nil {
		got, err = described.On(name, nil)
	}
	if err == nil {
		err = got.Err
	}
	if err != nil {
		return nil, fmt.Errorf("settings of topic %s: %w", name, err)
	}
	own := map[string]*string{}
	for _, c := range got.Configs {
		if c.Source == kmsg.ConfigSourceDynamicTopicConfig {
			own[c.Key] = c.Value
		}
	}
	return own, nil
}

func (m *move) create(ctx context.Context, topics []newTopic) error {
	adm := kadm.NewClient(m.cl)
	for _, t := range topics {
		_, err := adm.CreateTopic(ctx, t.partitions, t.replicas, t.configs, t.name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", t.name, err)
		}
	}
	for _, t := range topics {
		if err := kafka.AwaitPartitions(ctx, m.cl, t.name, t.partitions); err != nil {
			return err
		}
	}
	return nil
}

// safeToClose returns why new jobs would not be served under the new prefix.
func (m *move) safeToClose(ctx context.Context, fresh bool) error {
	if fresh {
		return fmt.Errorf("the topics of %s were not there yet: start its trackers and workers, and gateways with both "+
			"prefixes, before --close", m.new.Prefix)
	}
	s, err := kafka.SharesOf(ctx, m.cl, kafka.Consumed{Topic: m.new.Status(), Group: m.new.TrackerGroup()})
	if err != nil {
		return err
	}
	if s.Assigned < m.cmd.Status {
		return fmt.Errorf("trackers own %d of %d partitions of %s: start trackers with --topic-prefix %s before --close",
			s.Assigned, m.cmd.Status, m.new.Status(), m.new.Prefix)
	}
	for _, lane := range m.lanes {
		before, err := m.workers(ctx, m.old, lane)
		if err != nil {
			return err
		}
		after, err := m.workers(ctx, m.new, lane)
		if err != nil {
			return err
		}
		if before > 0 && after == 0 {
			return fmt.Errorf("no worker takes requests of lane %s under the new prefix: start workers with --topic-prefix %s "+
				"before --close", lane, m.new.Prefix)
		}
	}
	return nil
}

// workers returns how many workers take requests of a lane.
func (m *move) workers(ctx context.Context, names topic.Names, lane string) (int, error) {
	s, err := kafka.SharesOf(ctx, m.cl, kafka.Consumed{Topic: names.Requests(lane), Group: names.ProcessorGroup(lane)})
	return s.Members, err
}

// close writes the mark to each partition of the old status. To repeat it is harmless.
func (m *move) close(ctx context.Context) error {
	n, err := kafka.PartitionCount(ctx, m.cl, m.old.Status())
	if err != nil {
		return err
	}
	cl, err := m.cmd.client(kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	for p := range n {
		mark := &kgo.Record{Topic: m.old.Status(), Partition: p, Value: []byte(m.new.Prefix),
			Headers: []kgo.RecordHeader{{Key: topic.HeaderMark, Value: []byte(topic.MarkClosed)}}}
		if err := cl.ProduceSync(ctx, mark).FirstErr(); err != nil {
			return fmt.Errorf("write to %s[%d]: %w", mark.Topic, p, err)
		}
	}
	return nil
}

// next returns what to do after this run.
func (m *move) next(r moved) string {
	switch {
	case r.DryRun && len(r.Create) > 0:
		return "run the command without --dry-run"
	case !r.Closed:
		return fmt.Sprintf("start trackers and workers with --topic-prefix %s --partitions %d beside those of %s; restart "+
			"all gateways, one after the other, with --topic-prefix %s --partitions %d --former-topic-prefix %s; then run the "+
			"command with --close", r.To, r.Partitions, r.From, r.To, r.Partitions, r.From)
	case r.Jobs == nil:
		return fmt.Sprintf("wait until no job of %s is left, for as long as the longest schedule and retention: without a "+
			"topic view they cannot be counted", r.From)
	case r.Behind > 0:
		return "the trackers have not written all events to view yet: run the command again"
	case r.Open > 0:
		return fmt.Sprintf("let trackers and workers of %s run until its jobs have ended, and run the command again", r.From)
	case total(r.Jobs) > 0:
		return fmt.Sprintf("all jobs of %s have ended: clients can read them, and retry them, until they expire, so let its "+
			"trackers and workers run until then", r.From)
	}
	return fmt.Sprintf("no job is left under %s: restart gateways without --former-topic-prefix, stop its trackers and "+
		"workers, and delete its topics", r.From)
}

func total(jobs map[job.State]int64) (n int64) {
	for _, of := range jobs {
		n += of
	}
	return n
}

func (m *move) print(r moved) error {
	if m.cmd.JSON {
		b, err := plainjson.Marshal(r)
		if err == nil {
			fmt.Fprintf(m.env.Stdout, "%s\n", b)
		}
		return err
	}
	done := "made"
	if r.DryRun {
		done = "to be made"
	}
	for _, name := range r.Create {
		fmt.Fprintf(m.env.Stdout, "topic %s: %s\n", clean(name), done)
	}
	switch {
	case r.Closed:
		fmt.Fprintf(m.env.Stdout, "%s is closed: new jobs are made under %s\n", clean(r.From), clean(r.To))
	case r.Behind > 0:
		fmt.Fprintf(m.env.Stdout, "%s is not closed, by what its trackers have written to view so far: new jobs are made "+
			"there\n", clean(r.From))
	default:
		fmt.Fprintf(m.env.Stdout, "%s is not closed: new jobs are made there\n", clean(r.From))
	}
	if r.Jobs != nil {
		parts := []string{}
		for _, s := range job.States {
			if n := r.Jobs[s]; n > 0 {
				parts = append(parts, strconv.FormatInt(n, 10)+" "+string(s))
			}
		}
		fmt.Fprintf(m.env.Stdout, "jobs left under %s: %s\n", clean(r.From), cmp.Or(strings.Join(parts, ", "), "none"))
	}
	fmt.Fprintf(m.env.Stdout, "next: %s\n", clean(r.Next))
	return nil
}
