package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/gateway/intake"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
)

// The log must keep a job's records as long as the job may live: its payload is read again for each later attempt,
// and a tracker that has neither its disk nor the view folds status from the beginning. The gateway does not start on
// topics that are kept for a shorter time, as after they were made by hand, or a type was given a longer life.

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
		note(names.Deferred(), name, intake.MaxSchedule+life, unending)
	}
	return slices.SortedFunc(maps.Values(byTopic), func(a, b need) int { return strings.Compare(a.topic, b.topic) })
}

// topics returns the topics that the gateway uses, with the retention that their jobs need.
func (g *Gateway) topics() []kafka.Topic {
	specs := []topic.Spec{g.names.StatusSpec(g.cfg.Partitions), g.names.DeferredSpec(g.cfg.Partitions)}
	if g.cfg.Audit != AuditOff {
		specs = append(specs, g.names.AuditSpec())
	}
	for _, lane := range g.types.Lanes() {
		specs = append(specs, g.names.RequestsSpec(lane, g.cfg.Partitions))
	}
	if g.cfg.Bulk.Mode == BulkOn {
		specs = append(specs, g.names.RequestsSpec(topic.BulkLane, g.cfg.Partitions))
	}
	specs = Keeping(g.names, g.types, specs)
	topics := make([]kafka.Topic, len(specs))
	for i, s := range specs {
		topics[i] = kafka.Topic(s.With(g.cfg.Topics.Settings))
	}
	return topics
}

// Keeping returns topics with the retention that jobs of the types need.
func Keeping(names topic.Names, types jobtypes.Set, specs []topic.Spec) []topic.Spec {
	all := map[string]need{}
	for _, n := range needs(names, types) {
		all[n.topic] = n
	}
	kept := slices.Clone(specs)
	for i, s := range kept {
		if n, ok := all[s.Name]; ok {
			kept[i] = s.Keeping(n.life, n.why())
		}
	}
	return kept
}

// why says for what a topic must be kept so long.
func (n need) why() string {
	bound := ""
	if n.unending {
		bound = " at least"
	}
	return fmt.Sprintf("a job of type %s may exist for%s %s: raise it, or give the type a shorter retention or deadline",
		n.jobType, bound, n.life.Round(time.Second))
}
