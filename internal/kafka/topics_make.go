package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Settings of a topic that are not among its configuration in Kafka.
const (
	settingPartitions  = "partitions"
	settingReplication = "replication"
)

// refusal is a setting that a cluster did not take when a topic was created.
type refusal struct{ topic, setting, reason string }

// makeTopics creates the topics that do not exist. Settings that the cluster refuses are left out if they are only
// tuning, and returned; otherwise the error says which it refuses.
func makeTopics(ctx context.Context, cl *kgo.Client, topics []Topic) (created []string, left []refusal, err error) {
	adm := kadm.NewClient(cl)
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	have, err := adm.ListTopics(ctx, names...)
	if err != nil {
		return nil, nil, fmt.Errorf("list topics: %w", err)
	}
	for _, t := range topics {
		if have.Has(t.Name) {
			continue
		}
		made, refused, err := makeTopic(ctx, adm, t)
		left = append(left, refused...)
		if err != nil {
			return created, left, err
		}
		if made {
			created = append(created, t.Name)
		}
	}
	return created, left, nil
}

// makeTopic creates one topic; made is false if another process was quicker.
func makeTopic(ctx context.Context, adm *kadm.Client, t Topic) (made bool, left []refusal, err error) {
	configs := maps.Clone(t.Configs)
	replicas := int64(-1) // the broker's default
	if v, ok := configs[settingReplication]; ok {
		if replicas, err = strconv.ParseInt(v, 10, 16); err != nil {
			return false, nil, fmt.Errorf("topic %s: replication: %w", t.Name, err)
		}
		delete(configs, settingReplication)
	}
	for {
		values := map[string]*string{}
		for k, v := range configs {
			values[k] = kadm.StringPtr(v)
		}
		resp, err := adm.CreateTopic(ctx, t.Partitions, int16(replicas), values, t.Name)
		switch {
		case errors.Is(err, kerr.TopicAlreadyExists):
			return false, left, nil
		case err == nil:
			return true, left, nil
		case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
			return false, left, &Denied{Operation: "Create", Resource: resourceTopic, Name: t.Name, cause: err}
		case !refusesSettings(err):
			return false, left, fmt.Errorf("create topic %s: %w", t.Name, err)
		}
		out := leaveOut(t, configs, resp.ErrMessage)
		if len(out) == 0 {
			return false, left, refusedTopic(t, configs, resp.ErrMessage, err)
		}
		for _, name := range out {
			left = append(left, refusal{t.Name, name, cmpMessage(resp.ErrMessage, err)})
			delete(configs, name)
		}
	}
}

// refusesSettings reports whether an error of CreateTopics may come from a setting.
func refusesSettings(err error) bool {
	return errors.Is(err, kerr.InvalidConfig) || errors.Is(err, kerr.PolicyViolation) ||
		errors.Is(err, kerr.InvalidRequest)
}

// leaveOut returns which settings to leave out: the tuning that the broker's message names, else all tuning if it names
// no setting.
func leaveOut(t Topic, configs map[string]string, message string) []string {
	var tuning, named []string
	words := words(message)
	promise := false
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		if _, ok := t.Promises[name]; ok {
			promise = promise || words[name]
			continue
		}
		tuning = append(tuning, name)
		if words[name] {
			named = append(named, name)
		}
	}
	if len(named) > 0 || promise {
		return named
	}
	return tuning
}

// words returns the words of a broker's message: retention.ms is not among those of "delete.retention.ms is unknown.".
func words(message string) map[string]bool {
	all := map[string]bool{}
	for _, w := range strings.FieldsFunc(message, func(r rune) bool {
		return r != '.' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		all[strings.Trim(w, ".")] = true
	}
	return all
}

// refusedTopic returns the error for a topic that the cluster does not make with the settings on which promises hang.
// It says what is lost without the setting that the message names, or else how to make the topic by other means.
func refusedTopic(t Topic, configs map[string]string, message string, err error) error {
	var all, why []string
	words := words(message)
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		all = append(all, name+"="+configs[name])
		if words[name] {
			why = append(why, name+"="+configs[name]+": without it "+t.Why[name])
		}
	}
	if len(why) > 0 {
		return fmt.Errorf("create topic %s: the cluster refuses a setting that Ackwire needs: %w: %s (%s)", t.Name, err,
			cmpMessage(message, err), strings.Join(why, "; "))
	}
	return fmt.Errorf("create topic %s: the cluster does not make it: %w: %s; make it and the others with the "+
		"cluster's own tools, this one with %s, and start with --topics verify", t.Name, err, cmpMessage(message, err),
		strings.Join(all, " "))
}

func cmpMessage(message string, err error) string {
	if message != "" {
		return message
	}
	return err.Error()
}
