package kafka

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/service"
)

// kept is a topic with a promise of each form and with tuning.
func kept() Topic {
	return Topic{Name: "log", Kind: "status", Partitions: 2,
		Configs: map[string]string{"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime",
			"retention.ms": "691200000", "segment.ms": "3600000"},
		Promises: map[string]string{"cleanup.policy": "=delete", "message.timestamp.type": "=LogAppendTime",
			"retention.ms": ">=86400000", "min.insync.replicas": ">=2", "replication": ">=3"},
		Tuning: map[string]string{"segment.ms": "=3600000"},
		Why:    map[string]string{"cleanup.policy": "records are lost", "retention.ms": "jobs are lost"}}
}

func keeper(w *world, c Topics, r *prometheus.Registry) *Keeper {
	env := service.Env{Log: slog.New(slog.DiscardHandler), Metrics: r}
	return NewKeeper(c, "tracker", env)
}

// No process starts on a topic that was made beforehand and breaks a promise: the reason names topic, setting and
// value, and the metric too.
func TestNoStartOnATopicThatBreaksAPromise(t *testing.T) {
	for setting, value := range map[string]string{"message.timestamp.type": "CreateTime", "cleanup.policy": "compact",
		"retention.ms": "3600000"} {
		inBubble(t, func(t *testing.T, w *world) {
			bad := kept()
			bad.Configs = maps.Clone(bad.Configs)
			bad.Configs[setting] = value
			if _, err := EnsureTopics(t.Context(), w.cl, bad); err != nil {
				t.Fatal(err)
			}
			for _, mode := range []string{TopicsCreate, TopicsVerify} {
				r := prometheus.NewRegistry()
				k := keeper(w, Topics{Mode: mode}, r)
				err := k.Ensure(t.Context(), w.cl, kept())
				if err == nil || !strings.Contains(err.Error(), "topic log: "+setting+" is "+value+" and must be") {
					t.Errorf("%s: %v", mode, err)
				}
				if n := testutil.ToFloat64(k.wrong.WithLabelValues("tracker", "log", setting)); n != 1 {
					t.Errorf("%s: the metric is %v", setting, n)
				}
			}
			off := keeper(w, Topics{Mode: TopicsOff}, prometheus.NewRegistry())
			if err := off.Ensure(t.Context(), w.cl, kept()); err != nil {
				t.Errorf("off: %v", err)
			}
		})
	}
}

// verify makes nothing, and says what is missing.
func TestVerifyMakesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		k := keeper(w, Topics{Mode: TopicsVerify}, prometheus.NewRegistry())
		err := k.Ensure(t.Context(), w.cl, kept())
		if err == nil || !strings.Contains(err.Error(), "topic log does not exist") {
			t.Errorf("%v", err)
		}
		if _, err := Describe(t.Context(), w.cl, "log"); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("it was made: %v", err)
		}
	})
}

// What breaks after the start is found by the next check, and what is mended soon after.
func TestATopicThatIsAlteredLater(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		k := keeper(w, Topics{}, prometheus.NewRegistry())
		if err := k.Ensure(t.Context(), w.cl, kept()); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); <-done }()
		go func() { defer close(done); k.Run(ctx, w.cl) }()
		alter := func(v string) {
			if _, err := kadm.NewClient(w.cl).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig,
				Name: "retention.ms", Value: &v}}, "log"); err != nil {
				t.Fatal(err)
			}
		}
		alter("1000")
		time.Sleep(TopicsInterval + time.Second)
		if err := k.Err(); err == nil || !strings.Contains(err.Error(), "retention.ms is 1000") {
			t.Errorf("an hour later: %v", err)
		}
		alter("-1")
		time.Sleep(topicsSoon + time.Second)
		if err := k.Err(); err != nil {
			t.Errorf("when it is mended: %v", err)
		}
	})
}

// A topic that an earlier process made without knowing how long jobs live is kept longer; one that somebody has made by
// hand for a shorter time is not changed, nor is any in mode verify. What cannot be raised names the command.
func TestRetentionIsRaised(t *testing.T) {
	const need = "1728000000" // 20 days
	longer := kept()
	longer.Configs, longer.Promises = maps.Clone(longer.Configs), maps.Clone(longer.Promises)
	longer.Made, longer.Configs["retention.ms"], longer.Promises["retention.ms"] = "691200000", need, ">="+need
	const command = "(kafka-configs.sh --alter --topic log --add-config retention.ms=" + need + ")"
	for name, c := range map[string]struct {
		have, mode string
		refuse     bool
		want, now  string
	}{
		"made by a tracker":     {"691200000", TopicsCreate, false, "", need},
		"made for shorter jobs": {"864000000", TopicsCreate, false, "", need},
		"made for longer jobs":  {"2000000000", TopicsCreate, false, "", "2000000000"},
		"made by hand":          {"3600000", TopicsCreate, false, command, "3600000"},
		"verify":                {"691200000", TopicsVerify, false, command, "691200000"},
		"no permission to raise it": {"691200000", TopicsCreate, true, command + "; permission missing: this process's " +
			"user needs AlterConfigs on topic log", "691200000"},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			there := kept()
			there.Configs = maps.Clone(there.Configs)
			there.Configs["retention.ms"] = c.have
			if _, err := EnsureTopics(t.Context(), w.cl, there); err != nil {
				t.Fatal(err)
			}
			if c.refuse {
				w.cluster.ControlKey(kmsg.IncrementalAlterConfigs.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
					resp := r.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
					rr := kmsg.NewIncrementalAlterConfigsResponseResource()
					rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, "log"
					rr.ErrorCode = kerr.TopicAuthorizationFailed.Code
					resp.Resources = append(resp.Resources, rr)
					return resp, nil, true
				})
			}
			err := keeper(w, Topics{Mode: c.mode}, prometheus.NewRegistry()).Ensure(t.Context(), w.cl, longer)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %v", name, err)
			}
			now, err := topicConfig(t.Context(), w.cl, "log")
			if err != nil || now["retention.ms"] != c.now {
				t.Errorf("%s: retention.ms is %s, not %s: %v", name, now["retention.ms"], c.now, err)
			}
		})
	}
}

// No topic is made with a setting that breaks its own promise.
func TestNoTopicIsMadeThatBreaksAPromise(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		short := kept()
		short.Configs = maps.Clone(short.Configs)
		short.Configs["retention.ms"] = "1000"
		err := keeper(w, Topics{}, prometheus.NewRegistry()).Ensure(t.Context(), w.cl, short)
		const want = "topic-settings: status.retention.ms: topic log: retention.ms is 1000"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
		if _, err := Describe(t.Context(), w.cl, "log"); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("it was made: %v", err)
		}
	})
}

// Another number of partitions than promised stops the start; more are no difference where the rule allows them.
func TestPartitionsAreCompared(t *testing.T) {
	for rule, broken := range map[string]bool{"=2": true, ">=4": true, "=3": false, ">=2": false, ">=3": false} {
		inBubble(t, func(t *testing.T, w *world) {
			there := kept()
			there.Partitions = 3
			if _, err := EnsureTopics(t.Context(), w.cl, there); err != nil {
				t.Fatal(err)
			}
			there.Promises = maps.Clone(there.Promises)
			there.Promises["partitions"] = rule
			for _, mode := range []string{TopicsCreate, TopicsVerify} {
				err := keeper(w, Topics{Mode: mode}, prometheus.NewRegistry()).Ensure(t.Context(), w.cl, there)
				if (err != nil) != broken || broken && !strings.Contains(err.Error(), "topic log: partitions is 3 and must be") {
					t.Errorf("%s, %s: %v", rule, mode, err)
				}
			}
		})
	}
}

// A cluster of three brokers must keep three copies; a smaller one is only warned of.
func TestReplicationIsJudgedByTheCluster(t *testing.T) {
	have := map[string]string{"replication": "1", "min.insync.replicas": "1", "partitions": "2"}
	for brokers, promise := range map[int]bool{1: false, 2: false, 3: true, 30: true} {
		found := kept().differences(have, brokers)
		if len(found) != 2 || found[0].Promise != promise || found[1].Promise != promise {
			t.Errorf("%d brokers: %v", brokers, found)
		}
	}
}

// That a cluster is small is said once, and not for each topic.
func TestASmallClusterIsOneWarning(t *testing.T) {
	k := keeper(nil, Topics{}, prometheus.NewRegistry())
	var said bytes.Buffer
	k.log = slog.New(slog.NewTextHandler(&said, nil))
	have := map[string]string{"replication": "1", "min.insync.replicas": "1", "segment.ms": "1"}
	for _, name := range []string{"log", "other"} {
		topic := kept()
		topic.Name = name
		if err := k.judge([]Topic{topic}, topic.differences(have, 1)); err != nil {
			t.Errorf("one broker: %v", err)
		}
	}
	if got := said.String(); strings.Count(got, "development only") != 1 || strings.Count(got, "segment.ms is 1") != 2 {
		t.Errorf("two topics of a small cluster, each with wrong tuning:\n%s", got)
	}
}

// refuse makes the broker answer CreateTopics with an error while a request has one of the settings.
func (w *world) refuse(code *kerr.Error, message string, settings ...string) {
	w.cluster.ControlKey(kmsg.CreateTopics.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		req := r.(*kmsg.CreateTopicsRequest)
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, c := range req.Topics[0].Configs {
			for _, s := range settings {
				if c.Name == s {
					rt := kmsg.NewCreateTopicsResponseTopic()
					rt.Topic, rt.ErrorCode = req.Topics[0].Topic, code.Code
					rt.ErrorMessage = &message
					resp.Topics = append(resp.Topics, rt)
					return resp, nil, true
				}
			}
		}
		return nil, nil, false
	})
}

// Tuning that a cluster refuses is left out; a promise that it refuses stops the start with the reason.
func TestWhatAClusterRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.refuse(kerr.InvalidConfig, "unknown property", "segment.ms")
		k := keeper(w, Topics{}, prometheus.NewRegistry())
		if err := k.Ensure(t.Context(), w.cl, kept()); err != nil {
			t.Errorf("tuning: %v", err)
		}
	})
	inBubble(t, func(t *testing.T, w *world) {
		w.refuse(kerr.PolicyViolation, "cleanup.policy is not allowed", "cleanup.policy")
		k := keeper(w, Topics{}, prometheus.NewRegistry())
		err := k.Ensure(t.Context(), w.cl, kept())
		if err == nil || !strings.Contains(err.Error(), "cleanup.policy=delete: without it records are lost") ||
			strings.Contains(err.Error(), "retention.ms") {
			t.Errorf("a promise: %v", err)
		}
	})
	inBubble(t, func(t *testing.T, w *world) {
		w.refuse(kerr.PolicyViolation, "Ask your administrator.", "cleanup.policy")
		k := keeper(w, Topics{}, prometheus.NewRegistry())
		err := k.Ensure(t.Context(), w.cl, kept())
		for _, want := range []string{"create topic log: ", "Ask your administrator.", "retention.ms=691200000",
			"start with --topics verify"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("topics that are not made at all: %v, without %q", err, want)
			}
		}
	})
	inBubble(t, func(t *testing.T, w *world) {
		w.refuse(kerr.TopicAuthorizationFailed, "", "segment.ms")
		err := keeper(w, Topics{}, prometheus.NewRegistry()).Ensure(t.Context(), w.cl, kept())
		if _, ok := errors.AsType[*Denied](err); !ok || !strings.Contains(err.Error(), "needs Create on topic log") {
			t.Errorf("no permission: %v", err)
		}
	})
}

// A process that may not read settings names the permission in one line.
func TestNoPermissionToDescribeConfigs(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.cluster.ControlKey(kmsg.DescribeConfigs.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			resp := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
			for _, res := range r.(*kmsg.DescribeConfigsRequest).Resources {
				rr := kmsg.NewDescribeConfigsResponseResource()
				rr.ResourceType, rr.ResourceName = res.ResourceType, res.ResourceName
				rr.ErrorCode = kerr.TopicAuthorizationFailed.Code
				resp.Resources = append(resp.Resources, rr)
			}
			return resp, nil, true
		})
		err := keeper(w, Topics{}, prometheus.NewRegistry()).Ensure(t.Context(), w.cl, kept())
		if err == nil || err.Error() !=
			"permission missing: this process's user needs DescribeConfigs on topic log" {
			t.Errorf("%v", err)
		}
	})
}

// A topic is made, although the broker that is asked for it learns of it only later. A process that only verifies says
// that the topic is missing.
func TestATopicThatABrokerDoesNotKnowYet(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		left := 5
		w.cluster.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			asked := req.(*kmsg.MetadataRequest)
			if len(asked.Topics) != 1 || left == 0 {
				return nil, nil, false
			}
			left--
			resp := asked.ResponseKind().(*kmsg.MetadataResponse)
			topic := kmsg.NewMetadataResponseTopic()
			topic.Topic, topic.ErrorCode = asked.Topics[0].Topic, kerr.UnknownTopicOrPartition.Code
			resp.Topics = append(resp.Topics, topic)
			return resp, nil, true
		})
		log := kept()
		log.Promises = nil
		if err := keeper(w, Topics{}, prometheus.NewRegistry()).Ensure(t.Context(), w.cl, log); err != nil || left > 0 {
			t.Errorf("%v, %d answers left", err, left)
		}
		left = 1 << 20
		err := keeper(w, Topics{Mode: TopicsVerify}, prometheus.NewRegistry()).Ensure(t.Context(), w.cl, log)
		if err == nil || !strings.Contains(err.Error(), "topic log does not exist") {
			t.Errorf("verify: %v", err)
		}
	})
}

// Of the settings that a broker's message names, only the refused one is left out, though its name contains another's.
func TestWhichSettingIsLeftOut(t *testing.T) {
	topic := Topic{Promises: map[string]string{"cleanup.policy": "=compact"}}
	configs := map[string]string{"cleanup.policy": "compact", "delete.retention.ms": "1", "retention.ms": "2",
		"segment.ms": "3"}
	for message, want := range map[string][]string{
		"cannot set \"segment.ms\"":                       {"segment.ms"},
		"delete.retention.ms is unknown.":                 {"delete.retention.ms"},
		"retention.ms 2 is too small":                     {"retention.ms"},
		"can't alter segment.ms. Only: cleanup.policy.":   {"segment.ms"},
		"cleanup.policy must be delete":                   nil,
		"the request does not satisfy the configured one": {"delete.retention.ms", "retention.ms", "segment.ms"},
		"": {"delete.retention.ms", "retention.ms", "segment.ms"},
	} {
		if got := leaveOut(topic, configs, message); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
}
