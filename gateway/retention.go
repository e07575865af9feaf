package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
)

// The log must keep a job's records as long as the job may live: its payload is read again for each later attempt,
// and a tracker that has neither its disk nor the view folds status from the beginning. The gateway warns if a
// topic's retention is too short, as after topics were created by hand, or a type was given a longer life.

const (
	retentionInterval = time.Hour
	retentionRetry    = 2 * time.Second // after a failure, doubled each time; new topics are not known everywhere at once
	retentionTimeout  = 10 * time.Second
)

// need says how long a topic must keep its records.
type need struct {
	topic    string
	life     time.Duration
	jobType  string // the one that lives longest
	unending bool   // it has no deadline, so life is only a lower bound
}

// longest returns how long a job with a policy may live, from its acceptance until its retention is over. Without a
// deadline it adds up the attempts and the waits between them; unending reports that this is only a lower bound.
func longest(p job.Policy) (life time.Duration, unending bool) {
	if d := p.Deadline.Duration(); d > 0 {
		return d + p.Grace.Duration() + p.Retention.Duration(), false
	}
	perAttempt := max(p.Timeout.Duration(), p.Lease.Duration())
	wait := p.Backoff.Initial.Duration()
	life = p.Retention.Duration()
	for range p.Attempts {
		life += perAttempt + wait
		wait = time.Duration(float64(wait) * max(p.Backoff.Factor, 1))
		if limit := p.Backoff.Cap.Duration(); limit > 0 {
			wait = min(wait, limit)
		}
		if life > 10*365*24*time.Hour || wait < 0 {
			break // longer than any log is kept
		}
	}
	return life, true
}

// needs returns how long each topic must keep its records.
func needs(names topic.Names, types jobtypes.Set) []need {
	byTopic := map[string]need{}
	note := func(topic, jobType string, life time.Duration, unending bool) {
		if n, ok := byTopic[topic]; !ok || life > n.life {
			byTopic[topic] = need{topic, life, jobType, unending}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		t := types[name]
		life, unending := longest(t.Policy)
		note(names.Requests(t.Lane), name, life, unending)
		note(names.Status(), name, life, unending)
		note(names.Deferred(), name, maxSchedule+life, unending)
	}
	return slices.SortedFunc(maps.Values(byTopic), func(a, b need) int { return strings.Compare(a.topic, b.topic) })
}

// short returns what is wrong with a topic's retention settings; "" if nothing is.
func (n need) short(config map[string]string) string {
	if strings.Contains(config["cleanup.policy"], "compact") {
		return "it is compacted, which keeps the last record of a job and loses the others: set cleanup.policy=delete"
	}
	if b, err := strconv.ParseInt(config["retention.bytes"], 10, 64); err == nil && b >= 0 {
		return "retention.bytes is set, so a busy hour can remove what is still needed: set it to -1"
	}
	ms, err := strconv.ParseInt(config["retention.ms"], 10, 64)
	if err != nil || ms < 0 || ms >= n.life.Milliseconds() {
		return ""
	}
	return fmt.Sprintf("retention.ms keeps records for %s, and a job may live for %s: raise it, or give the type a "+
		"shorter retention or deadline",
		time.Duration(ms)*time.Millisecond, n.life.Round(time.Second))
}

// watchRetention compares the topics with the job types now and every hour until ctx ends.
func (g *Gateway) watchRetention(ctx context.Context) {
	retry := retentionRetry
	for {
		wait := retentionInterval
		switch err := g.checkRetention(ctx); {
		case err == nil:
			retry = retentionRetry
		case ctx.Err() == nil:
			level := slog.LevelWarn
			if retry == retentionRetry {
				level = slog.LevelDebug
			}
			g.log.Log(ctx, level, "how long topics are kept is not known", "err", err)
			wait, retry = retry, min(2*retry, retentionInterval)
		}
		if !pause.For(ctx, wait) {
			return
		}
	}
}

func (g *Gateway) checkRetention(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, retentionTimeout)
	defer cancel()
	all := needs(g.names, g.types)
	topics := make([]string, len(all))
	for i, n := range all {
		topics[i] = n.topic
	}
	described, err := kadm.NewClient(g.kafka).DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return err
	}
	for _, n := range all {
		rc, err := described.On(n.topic, nil)
		if err == nil {
			err = rc.Err
		}
		if err != nil {
			return fmt.Errorf("topic %s: %w", n.topic, err)
		}
		config := map[string]string{}
		for _, c := range rc.Configs {
			config[c.Key] = c.MaybeValue()
		}
		why := n.short(config)
		if why == "" {
			g.metrics.retentionShort.WithLabelValues(n.topic).Set(0)
			continue
		}
		g.metrics.retentionShort.WithLabelValues(n.topic).Set(1)
		g.log.Warn("a topic is not kept long enough: "+why, "topic", n.topic, "jobType", n.jobType, "longest", n.life,
			"unbounded", n.unending)
	}
	return nil
}
