package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/service"
)

// Times of a Keeper's checks after the start.
const (
	TopicsInterval = time.Hour
	topicsSoon     = time.Minute     // while a promise is broken, so that mending it is seen
	topicLag       = 5 * time.Second // how long a broker may not know a topic that another one has made
)

// Keeper makes a service's topics and watches their settings.
type Keeper struct {
	cfg     Topics
	service string
	log     *slog.Logger
	wrong   *prometheus.GaugeVec // by service, topic and setting; nil without metrics
	needed  []Permission         // set by Need before all else, then only read

	mu     sync.Mutex // guards all below
	topics []Topic    // those of Ensure
	err    error      // what the last check has found
	denied error      // which permissions were missing at the last look
	said   map[string]bool
}

// NewKeeper returns the keeper of a service's topics.
func NewKeeper(cfg Topics, service string, env service.Env) *Keeper {
	k := &Keeper{cfg: cfg, service: service, log: env.Log, said: map[string]bool{}}
	if env.Metrics != nil {
		const name, help = "topic_wrong",
			"1 for a setting of a topic on which a promise hangs and that is not as it must be; /readyz says why."
		labels := []string{"service", "topic", "setting"}
		if d, ok := env.Metrics.(meter.Definer); ok {
			d.Define(meter.Definition{Name: meter.Namespace + "_kafka_" + name, Type: "gauge", Help: help, Labels: labels})
		}
		k.wrong = shared(env.Metrics, prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: meter.Namespace,
			Subsystem: "kafka", Name: name, Help: help}, labels))
	}
	return k
}

// Ensure makes the topics that are missing, unless the mode forbids it, and verifies all. The error names each
// promise that is broken, or each permission that is missing. Later checks include the topics.
func (k *Keeper) Ensure(ctx context.Context, cl *kgo.Client, topics ...Topic) error {
	k.mu.Lock()
	known := slices.Concat(k.topics, topics)
	k.mu.Unlock()
	if err := k.permitted(ctx, cl, known); err != nil {
		return err
	}
	if k.cfg.Mode == TopicsOff {
		return nil
	}
	if err := possible(topics); err != nil {
		return err
	}
	if k.cfg.Mode != TopicsVerify {
		created, left, err := makeTopics(ctx, cl, topics)
		for _, name := range created {
			k.log.Info("topic created", "topic", name)
		}
		for _, r := range left {
			k.log.Warn("the cluster refuses a setting, which was left out", "topic", r.topic, "setting", r.setting,
				"reason", r.reason)
		}
		if err != nil {
			return err
		}
	}
	k.add(topics)
	found, err := k.compare(ctx, cl, topics)
	if err == nil && k.cfg.Mode != TopicsVerify {
		found, err = k.raise(ctx, cl, topics, found)
	}
	if err != nil {
		return err
	}
	return k.judge(topics, found)
}

// compare is Compare. A broker may learn of a new topic later than the one that made it: after topics were made,
// those that are missing are asked for again, for as long as topicLag.
func (k *Keeper) compare(ctx context.Context, cl *kgo.Client, topics []Topic) (found []Difference, err error) {
	missing := func(d Difference) bool { return d.Setting == settingTopic }
	for end := time.Now().Add(topicLag); ; {
		found, err = Compare(ctx, cl, topics...)
		known := err != nil || k.cfg.Mode == TopicsVerify || !slices.ContainsFunc(found, missing)
		if known || time.Now().After(end) || !pause.For(ctx, topicLag/50) {
			return found, err
		}
	}
}

func (k *Keeper) add(topics []Topic) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range topics {
		if i := slices.IndexFunc(k.topics, func(k Topic) bool { return k.Name == t.Name }); i >= 0 {
			k.topics[i] = t
			continue
		}
		k.topics = append(k.topics, t)
	}
}

// judge logs each difference once, and returns the promises that are broken. That a cluster is small is one warning,
// however many topics it has.
func (k *Keeper) judge(topics []Topic, found []Difference) error {
	k.measure(topics, found)
	broken := &Broken{}
	for _, d := range found {
		switch {
		case d.Promise:
			broken.Promises = append(broken.Promises, d)
		case d.Few && k.first("few"):
			k.log.Warn("this cluster has fewer brokers than keep records when a disk is lost, and is for development only",
				"at_least", manyBrokers)
		case !d.Few && k.first(d.String()):
			k.log.Warn("a topic is not as it should be: "+d.String(), "topic", d.Topic, "setting", d.Setting)
		}
	}
	if len(broken.Promises) > 0 {
		return broken
	}
	return nil
}

// Broken is the error of topics that break promises.
type Broken struct{ Promises []Difference }

// Error implements error: it names each promise, and the command that mends it.
func (b *Broken) Error() string {
	lines := make([]string, len(b.Promises))
	for i, d := range b.Promises {
		lines[i] = d.mended()
	}
	return strings.Join(lines, "; ")
}

// Partitions reports whether a topic has another number of partitions than it must have.
func (b *Broken) Partitions(topic string) bool {
	return slices.ContainsFunc(b.Promises, func(d Difference) bool {
		return d.Topic == topic && d.Setting == settingPartitions
	})
}

// first reports whether text was not said before.
func (k *Keeper) first(text string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.said[text]
	k.said[text] = true
	return !before
}

// measure sets the metrics of all promises of topics.
func (k *Keeper) measure(topics []Topic, found []Difference) {
	if k.wrong == nil {
		return
	}
	for _, t := range topics {
		for setting := range t.Promises {
			k.wrong.WithLabelValues(k.service, t.Name, setting).Set(0)
		}
		k.wrong.WithLabelValues(k.service, t.Name, settingTopic).Set(0)
	}
	for _, d := range found {
		if d.Promise {
			k.wrong.WithLabelValues(k.service, d.Topic, d.Setting).Set(1)
		}
	}
}

// Run checks the topics of Ensure every TopicsInterval until ctx ends. An error that says nothing about the topics,
// such as that of a broker that does not answer, changes nothing.
func (k *Keeper) Run(ctx context.Context, cl *kgo.Client) {
	var permissions sync.WaitGroup
	permissions.Go(func() { k.watchPermissions(ctx, cl) })
	defer permissions.Wait()
	if k.cfg.Mode == TopicsOff {
		return
	}
	wait := TopicsInterval
	for pause.For(ctx, wait) {
		k.mu.Lock()
		topics := append([]Topic(nil), k.topics...)
		k.mu.Unlock()
		wait = k.again(ctx, cl, topics)
	}
}

// again is one check of Run; it returns when to check next.
func (k *Keeper) again(ctx context.Context, cl *kgo.Client, topics []Topic) time.Duration {
	try, cancel := context.WithTimeout(ctx, boundsOf(cl).Steps)
	defer cancel()
	found, err := Compare(try, cl, topics...)
	if _, denied := errors.AsType[*Denied](err); err != nil && !denied {
		k.log.Debug("topics are not checked", "err", err)
		return topicsSoon
	}
	if err == nil {
		err = k.judge(topics, found)
	}
	k.mu.Lock()
	changed := fmt.Sprint(err) != fmt.Sprint(k.err)
	k.err = err
	k.mu.Unlock()
	if changed && err != nil {
		k.log.Error("a topic breaks a promise", "err", err)
	}
	if err != nil {
		return topicsSoon
	}
	return TopicsInterval
}

// Err returns which promises the last check of Run has found broken, and which permissions missing; nil if none.
func (k *Keeper) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return errors.Join(k.err, k.denied)
}
