package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Difference is a setting of an existing topic that breaks a rule.
type Difference struct {
	Topic   string
	Setting string // "topic" if there is no such topic
	Have    string
	Want    string // a rule, such as =delete or >=2
	Promise bool   // no service may start on it
	Few     bool   // a cluster of so few brokers cannot do better
	Why     string
}

// settingTopic is the setting of a Difference for a topic that does not exist.
const settingTopic = "topic"

// String says in one line what is wrong and why.
func (d Difference) String() string {
	if d.Setting == settingTopic {
		return fmt.Sprintf("topic %s does not exist: make it, or start with --topics create", d.Topic)
	}
	return "topic " + d.Topic + ": " + d.Brief()
}

// Brief returns String without the topic.
func (d Difference) Brief() string {
	word := "should"
	if d.Promise {
		word = "must"
	}
	want := strings.TrimPrefix(d.Want, "=")
	if v, ok := strings.CutPrefix(d.Want, ">="); ok {
		want = "at least " + v
	}
	return fmt.Sprintf("%s is %s and %s be %s: %s", d.Setting, d.Have, word, want, d.Why)
}

// Command returns the command, without the options that connect, by which an administrator mends the difference; empty
// if no single command does.
func (d Difference) Command() string {
	value := strings.TrimLeft(d.Want, ">=")
	switch {
	case d.Setting == settingTopic, d.Setting == settingReplication:
		return ""
	case d.Setting == settingPartitions && strings.HasPrefix(d.Want, ">="):
		return fmt.Sprintf("kafka-topics.sh --alter --topic %s --partitions %s", d.Topic, value)
	case d.Setting == settingPartitions:
		return ""
	}
	return fmt.Sprintf("kafka-configs.sh --alter --topic %s --add-config %s=%s", d.Topic, d.Setting, value)
}

// manyBrokers is the size of a cluster from which replication is judged. A smaller one is for development: nothing
// that it could be told would keep jobs when a disk is lost.
const manyBrokers = 3

// Compare asks a broker for topics, and returns where they differ from what they must and should be.
func Compare(ctx context.Context, cl *kgo.Client, topics ...Topic) ([]Difference, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, t := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(t.Name)
		req.Topics = append(req.Topics, rt)
	}
	meta, err := req.RequestWith(ctx, cl) // not from the client's cache
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	there := map[string]kmsg.MetadataResponseTopic{}
	for _, t := range meta.Topics {
		if t.Topic != nil {
			there[*t.Topic] = t
		}
	}
	configs := make([]described, len(topics))
	together(len(topics), func(i int) {
		switch got, ok := there[topics[i].Name]; {
		case !ok, got.ErrorCode == kerr.UnknownTopicOrPartition.Code, got.ErrorCode == kerr.TopicAuthorizationFailed.Code:
		default:
			configs[i].settings, configs[i].err = topicConfig(ctx, cl, topics[i].Name)
		}
	})
	var all []Difference
	for i, t := range topics {
		got := there[t.Name]
		switch err := kerr.ErrorForCode(got.ErrorCode); {
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			return all, &Denied{Operation: "Describe", Resource: "topic", Name: t.Name, cause: err}
		case errors.Is(err, kerr.UnknownTopicOrPartition) || got.Topic == nil:
			all = append(all, Difference{Topic: t.Name, Setting: settingTopic, Have: "missing", Promise: true})
			continue
		}
		have := configs[i].settings
		if err := configs[i].err; err != nil {
			return all, err
		}
		have[settingPartitions] = strconv.Itoa(len(got.Partitions))
		if len(got.Partitions) > 0 {
			have[settingReplication] = strconv.Itoa(len(got.Partitions[0].Replicas))
		}
		all = append(all, t.differences(have, len(meta.Brokers))...)
	}
	return all, nil
}

// described is the answer to a question for a topic's settings.
type described struct {
	settings map[string]string
	err      error
}

// asked bounds the requests that together sends at the same time.
const asked = 16

// together calls ask for each index below n, several at a time: a cluster that is far away or slow answers many
// requests in the time of one.
func together(n int, ask func(i int)) {
	var all sync.WaitGroup
	room := make(chan struct{}, asked)
	for i := range n {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			ask(i)
		})
	}
	all.Wait()
}

// TopicSetting returns the value of one setting of a topic in Kafka, or an empty string if the broker does not tell.
func TopicSetting(ctx context.Context, cl *kgo.Client, topic, name string) (string, error) {
	have, err := topicConfig(ctx, cl, topic)
	return have[name], err
}

// topicConfig returns a topic's settings in Kafka.
func topicConfig(ctx context.Context, cl *kgo.Client, name string) (map[string]string, error) {
	described, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, name)
	var got kadm.ResourceConfig
	if err == nil {
		got, err = described.On(name, nil)
	}
	if err == nil {
		err = got.Err
	}
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return nil, &Denied{Operation: "DescribeConfigs", Resource: "topic", Name: name, cause: err}
	case err != nil:
		return nil, fmt.Errorf("settings of topic %s: %w", name, err)
	}
	have := map[string]string{}
	for _, c := range got.Configs {
		have[c.Key] = c.MaybeValue()
	}
	return have, nil
}

// differences compares a topic's settings in a cluster of so many brokers with its rules.
func (t Topic) differences(have map[string]string, brokers int) (all []Difference) {
	check := func(rules map[string]string, promise bool) {
		for _, name := range slices.Sorted(maps.Keys(rules)) {
			d := Difference{Topic: t.Name, Setting: name, Have: have[name], Want: rules[name], Promise: promise,
				Why: t.Why[name]}
			if (name == settingReplication || name == "min.insync.replicas") && brokers < manyBrokers {
				d.Promise, d.Few = false, true
				d.Why += fmt.Sprintf("; this cluster has %d brokers, and is for development only", brokers)
			}
			if v, ok := have[name]; ok && !follows(v, rules[name]) {
				all = append(all, d)
			}
		}
	}
	check(t.Promises, true)
	check(t.Tuning, false)
	return all
}

// follows reports whether a value keeps a rule. Settings that a vendor describes without a value are not judged.
func follows(v, rule string) bool {
	if v == "" {
		return true
	}
	low, ok := strings.CutPrefix(rule, ">=")
	if !ok {
		return "="+v == rule
	}
	want, err := strconv.ParseInt(low, 10, 64)
	have, err2 := strconv.ParseInt(v, 10, 64)
	return err == nil && err2 == nil && (have == -1 || want != -1 && have >= want)
}
