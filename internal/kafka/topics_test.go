package kafka

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// listenOnce gives kfake a listener that is there already.
func listenOnce(l net.Listener) func(string, string) (net.Listener, error) {
	return func(string, string) (net.Listener, error) { return l, nil }
}

func TestTopicsAreMadeOnceWithTheirSettings(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		want := []Topic{
			{Name: "requests", Partitions: 5, Configs: map[string]string{"retention.ms": "3600000"}},
			{Name: "control", Partitions: 1},
		}
		created, err := EnsureTopics(t.Context(), w.cl, want...)
		if err != nil || !slices.Equal(created, []string{"requests", "control"}) {
			t.Fatalf("created %q, %v", created, err)
		}
		if n, err := PartitionCount(t.Context(), w.cl, "requests"); err != nil || n != 5 {
			t.Errorf("requests has %d partitions, %v", n, err)
		}
		configs, err := kadm.NewClient(w.cl).DescribeTopicConfigs(t.Context(), "requests")
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, c := range configs[0].Configs {
			found = found || c.Key == "retention.ms" && c.MaybeValue() == "3600000"
		}
		if !found {
			t.Error("requests was made without its retention")
		}
		if again, err := EnsureTopics(t.Context(), w.cl, want...); err != nil || len(again) > 0 {
			t.Errorf("the second time: created %q, %v", again, err)
		}
	})
}

// An existing topic with another partition count is left as it is, since an operator may have chosen the
// count, and its own count is what readers get.
func TestAnExistingTopicIsLeftAsItIs(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		created, err := EnsureTopics(t.Context(), w.cl, Topic{Name: topic, Partitions: 12}, Topic{Name: "new", Partitions: 2})
		if err != nil || !slices.Equal(created, []string{"new"}) {
			t.Errorf("created %q, %v", created, err)
		}
		if n, err := PartitionCount(t.Context(), w.cl, topic); err != nil || n != 3 {
			t.Errorf("%d partitions, %v", n, err)
		}
	})
}

func TestATopicThatCannotBeMadeIsNamed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		created, err := EnsureTopics(t.Context(), w.cl, Topic{Name: "good", Partitions: 1}, Topic{Name: "bad", Partitions: 0})
		if !errors.Is(err, kerr.InvalidPartitions) || !strings.HasPrefix(err.Error(), "create topic bad: ") ||
			!slices.Equal(created, []string{"good"}) {
			t.Errorf("created %q, %v", created, err)
		}
	})
}

func TestDescribe(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		d, err := Describe(t.Context(), w.cl, topic)
		if err != nil || d.Partitions != 3 || d.ClusterID == "" || d.TopicID == [16]byte{} {
			t.Errorf("got %+v, %v", d, err)
		}
		if _, err := Describe(t.Context(), w.cl, "missing"); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("a topic that does not exist: %v", err)
		}
		// The client may still hold the answer from before: a broker is asked.
		if _, err := EnsureTopics(t.Context(), w.cl, Topic{Name: "missing", Partitions: 4}); err != nil {
			t.Fatal(err)
		}
		if n, err := PartitionCount(t.Context(), w.cl, "missing"); err != nil || n != 4 {
			t.Errorf("just made: %d partitions, %v", n, err)
		}
	})
}

// Where keys lie is Kafka's default partitioner's business; the hashes are those of the
// tests of Apache Kafka's Utils.murmur2.
func TestPartitionIsKafkasDefault(t *testing.T) {
	for key, hash := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
	} {
		for _, n := range []int32{1, 3, 12, 100} {
			if got, want := Partition(key, n), (hash&0x7fffffff)%n; got != want {
				t.Errorf("%s of %d: %d, want %d", key, n, got, want)
			}
		}
	}
}
