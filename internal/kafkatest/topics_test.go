package kafkatest

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
)

// A topic that was made beforehand with a setting that breaks a promise is refused by name, whatever the mode; ours is
// accepted. All cases are on one broker.
func TestTopicsThatWereMadeBeforehand(t *testing.T) {
	c := Start(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ours := func(name string) kafka.Topic {
		return kafka.Topic{Name: name, Kind: "status", Partitions: 3,
			Configs: map[string]string{"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime",
				"retention.ms": "691200000", "retention.bytes": "-1"},
			Promises: map[string]string{"cleanup.policy": "=delete", "message.timestamp.type": "=LogAppendTime",
				"retention.ms": ">=86400000", "retention.bytes": "=-1", "max.message.bytes": ">=1000012",
				"min.insync.replicas": ">=2", "replication": ">=3", "partitions": "=3"}}
	}
	for name, bad := range map[string][2]string{
		"createtime": {"message.timestamp.type", "CreateTime"}, "compacted": {"cleanup.policy", "compact"},
		"both": {"cleanup.policy", "compact,delete"}, "hour": {"retention.ms", "3600000"},
		"small": {"max.message.bytes", "1000"}, "bytes": {"retention.bytes", "1000000"},
	} {
		settings := map[string]*string{"message.timestamp.type": kadm.StringPtr("LogAppendTime"), bad[0]: &bad[1]}
		if _, err := kadm.NewClient(cl).CreateTopic(ctx, 3, 1, settings, name); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []string{kafka.TopicsCreate, kafka.TopicsVerify} {
			k := kafka.NewKeeper(kafka.Topics{Mode: mode}, "test", service.Env{Log: slog.New(slog.DiscardHandler)})
			err := k.Ensure(ctx, cl, ours(name))
			if err == nil || !strings.Contains(err.Error(), "topic "+name+": "+bad[0]+" is "+bad[1]+" and must be") {
				t.Errorf("%s, %s: %v", name, mode, err)
			}
		}
	}
	// One replica is said, and no more: a single broker is for development. Another number of partitions stops the start.
	var said strings.Builder
	env := service.Env{Log: slog.New(slog.NewTextHandler(&said, nil))}
	if err := kafka.NewKeeper(kafka.Topics{}, "test", env).Ensure(ctx, cl, ours("good")); err != nil {
		t.Errorf("our own topic: %v", err)
	}
	other := ours("good")
	other.Promises["partitions"] = "=5"
	err = kafka.NewKeeper(kafka.Topics{}, "test", env).Ensure(ctx, cl, other)
	if err == nil || !strings.Contains(err.Error(), "topic good: partitions is 3 and must be 5") {
		t.Errorf("another number of partitions: %v", err)
	}
	if n := strings.Count(said.String(), "development only"); n != 2 { // once for each keeper
		t.Errorf("one replica is said %d times: %s", n, said.String())
	}
}
