package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/schemas/topic"
)

// racks examines whether reads go to the nearest replica (KIP-392).
func (d *doctor) racks(ctx context.Context) {
	rack := d.Kafka.Rack
	if rack == "" {
		return
	}
	known := rackOf(d.brokers)
	names := map[string]bool{}
	for _, r := range known {
		names[r] = true
	}
	if !names[rack] {
		d.say(Advice, CheckRack, rack, "no broker is in this rack (kafka-rack); broker.rack is one of: %s",
			strings.Join(sorted(names), ", "))
		return
	}
	far, err := d.far(ctx, rack, known)
	if err != nil {
		d.say(Unknown, CheckRack, rack, "whether reads go to the nearest replica is not known: %v", err)
		return
	}
	if far == nil {
		d.say(OK, CheckRack, rack, "brokers are in this rack; there is no partition by which to see that reads go to them")
		return
	}
	preferred, err := d.preferred(ctx, rack, *far)
	switch {
	case err != nil:
		d.say(Unknown, CheckRack, rack, "whether reads go to the nearest replica is not known: reading %s/%d: %v", far.topic,
			far.partition, err)
	case known[preferred] == rack:
		d.say(OK, CheckRack, rack, "reads of %s/%d, whose leader is in rack %s, go to broker %d in this rack", far.topic,
			far.partition, known[far.leader], preferred)
	default:
		d.say(Advice, CheckRack, rack, "reads of %s/%d go to its leader in rack %s, though a replica is in this rack: set "+
			"replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector at the brokers", far.topic,
			far.partition, known[far.leader])
	}
}

// rackOf returns the rack of each broker that has one.
func rackOf(brokers []kmsg.MetadataResponseBroker) map[int32]string {
	racks := map[int32]string{}
	for _, b := range brokers {
		if b.Rack != nil {
			racks[b.NodeID] = *b.Rack
		}
	}
	return racks
}

func sorted(names map[string]bool) (all []string) {
	for name := range names {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// farPartition is a partition whose leader is in another rack, and that has a replica in ours.
type farPartition struct {
	topic     string
	id        [16]byte
	partition int32
	leader    int32
}

// far returns such a partition of a topic that is read from the nearest replica; nil if there is none.
func (d *doctor) far(ctx context.Context, rack string, racks map[int32]string) (far *farPartition, err error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, s := range d.Plan.Topics() {
		if s.Kind == string(topic.KindRequests) || s.Kind == string(topic.KindView) {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = kmsg.StringPtr(s.Name)
			req.Topics = append(req.Topics, t)
		}
	}
	err = ask(ctx, func(ctx context.Context) error {
		meta, err := req.RequestWith(ctx, d.client)
		if err == nil {
			far = findFar(meta, rack, racks)
		}
		return err
	})
	return far, err
}

func findFar(meta *kmsg.MetadataResponse, rack string, racks map[int32]string) *farPartition {
	for _, t := range meta.Topics {
		for _, p := range t.Partitions {
			here := slices.ContainsFunc(p.ISR, func(id int32) bool { return racks[id] == rack })
			if t.Topic != nil && racks[p.Leader] != rack && here {
				return &farPartition{*t.Topic, t.TopicID, p.Partition, p.Leader}
			}
		}
	}
	return nil
}

// preferred asks the leader of a partition at which broker a process in the rack should read; -1 for the leader. It
// reads no record.
func (d *doctor) preferred(ctx context.Context, rack string, p farPartition) (broker int32, err error) {
	err = ask(ctx, func(ctx context.Context) error {
		ends, err := kadm.NewClient(d.client).ListEndOffsets(ctx, p.topic)
		if err != nil {
			return err
		}
		end, ok := ends.Lookup(p.topic, p.partition)
		if !ok {
			return errors.New("its end is not known")
		}
		if end.Err != nil {
			return end.Err
		}
		req := kmsg.NewPtrFetchRequest()
		req.Rack, req.MaxBytes = rack, 1
		t, fp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
		fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes = p.partition, end.Offset, 1
		t.Topic, t.TopicID, t.Partitions = p.topic, p.id, []kmsg.FetchRequestTopicPartition{fp}
		req.Topics = []kmsg.FetchRequestTopic{t}
		resp, err := d.client.Broker(int(p.leader)).RetriableRequest(ctx, req)
		if err != nil {
			return err
		}
		broker, err = preferredIn(resp.(*kmsg.FetchResponse))
		return err
	})
	return broker, err
}

// preferredIn returns the broker that the answer about one partition prefers.
func preferredIn(resp *kmsg.FetchResponse) (broker int32, err error) {
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return -1, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return -1, errors.New("the answer is about something else")
	}
	p := resp.Topics[0].Partitions[0]
	return p.PreferredReadReplica, kerr.ErrorForCode(p.ErrorCode)
}
