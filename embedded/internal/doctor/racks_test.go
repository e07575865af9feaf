package doctor

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Only a partition that is led in another rack, and has a replica in sync in ours, shows whether reads go there.
func TestFarPartitions(t *testing.T) {
	name := "t"
	racks := rackOf([]kmsg.MetadataResponseBroker{{NodeID: 1, Rack: kmsg.StringPtr("a")},
		{NodeID: 2, Rack: kmsg.StringPtr("b")}, {NodeID: 3}})
	for why, c := range map[string]struct {
		leader int32
		isr    []int32
		want   bool
	}{
		"led in our rack": {1, []int32{1, 2}, false}, "led elsewhere": {2, []int32{2, 1}, true},
		"led by a broker without a rack": {3, []int32{3, 1}, true}, "no replica here": {2, []int32{2, 3}, false},
	} {
		got := findFar(&kmsg.MetadataResponse{Topics: []kmsg.MetadataResponseTopic{{Topic: &name,
			Partitions: []kmsg.MetadataResponseTopicPartition{{Partition: 5, Leader: c.leader, ISR: c.isr}}}}}, "a", racks)
		if (got != nil) != c.want || got != nil && (got.partition != 5 || got.leader != c.leader || got.topic != name) {
			t.Errorf("%s: %+v", why, got)
		}
	}
}

func TestPreferredReplica(t *testing.T) {
	answer := func(code int16) *kmsg.FetchResponse {
		p := kmsg.NewFetchResponseTopicPartition()
		p.ErrorCode, p.PreferredReadReplica = code, 7
		return &kmsg.FetchResponse{Topics: []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{p}}}}
	}
	if b, err := preferredIn(answer(0)); b != 7 || err != nil {
		t.Errorf("%d, %v", b, err)
	}
	if _, err := preferredIn(answer(kerr.TopicAuthorizationFailed.Code)); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("%v", err)
	}
	if _, err := preferredIn(&kmsg.FetchResponse{}); err == nil {
		t.Error("an empty answer")
	}
}
