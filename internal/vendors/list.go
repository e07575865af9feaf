package vendors

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// All are the vendors of docs/kafka.md.
func All() []Vendor {
	return []Vendor{MSKServerless(), RedpandaServerless(), ConfluentCloud(), WarpStream(), OldWarpStream(),
		EventHubsPremium(), EventHubsPreview(), EventHubsStandard()}
}

// admin are requests that no managed Kafka takes of its customers, or that need a newer broker than vendors have.
var admin = []kmsg.Key{
	kmsg.AlterReplicaLogDirs, kmsg.ElectLeaders, kmsg.UpdateFeatures, kmsg.DescribeUserSCRAMCredentials,
	kmsg.AlterUserSCRAMCredentials, kmsg.ConsumerGroupHeartbeat, kmsg.ConsumerGroupDescribe, kmsg.ShareGroupHeartbeat,
	kmsg.ShareGroupDescribe, kmsg.ShareFetch, kmsg.ShareAcknowledge, kmsg.DescribeTopicPartitions,
}

// MSKServerless is Amazon MSK Serverless. Settings: Amazon MSK Developer Guide, "Configuration properties for MSK
// Serverless clusters". Versions: those that a cluster listed in the pull request 1113 of tchiotludo/akhq, which are
// Kafka 2.8's without DeleteRecords and ACLs. The text of the refusal is the one in the pull request 9606 of
// strimzi/strimzi-kafka-operator; its code is not known, and INVALID_CONFIG is assumed. Connections: IAM only.
func MSKServerless() Vendor {
	allowed := map[string]Bounds{"cleanup.policy": {}, "compression.type": {}, "max.message.bytes": {Max: 8 << 20},
		"message.timestamp.difference.max.ms": {}, "message.timestamp.type": {}, "retention.bytes": {}, "retention.ms": {}}
	return Vendor{
		Name: "Amazon MSK Serverless", Brokers: 3,
		Topics: TopicRules{
			Settings: allowed, Refusal: kerr.InvalidConfig, Replication: 3,
			Text: func(name, _ string, _ Bounds) string {
				return fmt.Sprintf("Amazon MSK Serverless can't alter topic configuration %s. Only the following topic "+
					"configurations can be altered: cleanup.policy, compression.type, max.message.bytes, "+
					"message.timestamp.difference.max.ms, message.timestamp.type, retention.bytes, retention.ms", name)
			},
			// min.insync.replicas is that of clusters with three zones ("The default Amazon MSK configuration"), assumed.
			Defaults: map[string]string{"retention.bytes": "268435456000", "min.insync.replicas": "2"},
		},
		Versions: versions(kversion.V2_8_0(), no(append(slices.Clone(admin), kmsg.DeleteRecords, kmsg.DescribeACLs,
			kmsg.CreateACLs, kmsg.DeleteACLs, kmsg.AlterPartitionAssignments)...)),
	}
}

// RedpandaServerless is Redpanda Cloud's Serverless. Topics: Redpanda Cloud, "Topics Overview" and "Topic Configuration
// Properties"; that segment.ms and less than a day of retention are refused, and with which texts, is in the issue 450
// of karafka/karafka-web. That min.insync.replicas is neither taken nor told is in the issue 135 of
// redpanda-data/redpanda. Which of the settings of compaction it takes is not known: none is assumed.
func RedpandaServerless() Vendor {
	return Vendor{
		Name: "Redpanda Serverless", Brokers: 3,
		Topics: TopicRules{
			Settings: map[string]Bounds{"cleanup.policy": {}, "compression.type": {}, "max.message.bytes": {Max: 20 << 20},
				"message.timestamp.type": {}, "retention.bytes": {}, "retention.ms": {Min: 24 * 3600 * 1000}},
			Refusal: kerr.InvalidConfig, Replication: 3,
			Text: func(name, value string, b Bounds) string {
				if b.Min > 0 {
					return fmt.Sprintf("%s %s is too small, must be at least 24h", name, value)
				}
				return fmt.Sprintf("cannot set %q", name)
			},
			Defaults: map[string]string{"max.message.bytes": "8388608", "retention.ms": "604800000"},
			Tells: []string{"cleanup.policy", "compression.type", "max.message.bytes", "message.timestamp.type",
				"retention.bytes", "retention.ms"},
		},
		Versions: versions(kversion.V3_0_0(), no(admin...)),
	}
}

// ConfluentCloud is Confluent Cloud, all types of clusters. Settings: Confluent Cloud, "Configuration Reference for
// Topics in Confluent Cloud". The text and POLICY_VIOLATION are those in the issue 8861 of thingsboard/thingsboard; the
// least segment.ms is assumed to be 4 h.
func ConfluentCloud() Vendor {
	return Vendor{
		Name: "Confluent Cloud", Brokers: 3,
		Topics: TopicRules{
			Settings: map[string]Bounds{"cleanup.policy": {}, "delete.retention.ms": {}, "max.compaction.lag.ms": {},
				"max.message.bytes": {Max: 8 << 20}, "message.timestamp.type": {}, "min.compaction.lag.ms": {},
				"min.insync.replicas": {Min: 1, Max: 2}, "retention.bytes": {}, "retention.ms": {Min: 3600 * 1000},
				"segment.bytes": {Min: 50 << 20}, "segment.ms": {Min: 4 * 3600 * 1000}},
			Refusal: kerr.PolicyViolation, Replication: 3,
			Text: func(name, value string, b Bounds) string {
				if b.Min > 0 {
					return fmt.Sprintf("Config property '%s' with value '%s' is lower than the minimum allowed value of %d.",
						name, value, b.Min)
				}
				return fmt.Sprintf("Altering topic config property '%s' is disallowed.", name)
			},
			Defaults: map[string]string{"max.message.bytes": "2097164", "min.insync.replicas": "2"},
		},
		Versions: versions(kversion.V3_9_0(), no(append(slices.Clone(admin), kmsg.DescribeLogDirs,
			kmsg.AlterPartitionAssignments)...)),
	}
}

// WarpStream is WarpStream. Requests: WarpStream, "Protocol and Feature Support", which names the only ones that it
// takes. A setting that it does not know is ignored, as is the replication factor; that it tells of one replica, and
// of neither min.insync.replicas nor ignored settings, is assumed.
func WarpStream() Vendor {
	none := no(admin...)
	for k := range int16(100) {
		none[kmsg.Key(k)] = -1
	}
	for _, k := range []kmsg.Key{
		kmsg.Produce, kmsg.InitProducerID, kmsg.Fetch, kmsg.ListOffsets, kmsg.Metadata, kmsg.OffsetCommit,
		kmsg.OffsetFetch, kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.Heartbeat, kmsg.SyncGroup, kmsg.OffsetDelete,
		kmsg.ApiVersions, kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.ListGroups, kmsg.AlterConfigs, kmsg.DescribeConfigs,
		kmsg.DescribeCluster, kmsg.DescribeGroups, kmsg.DeleteGroups, kmsg.LeaveGroup, kmsg.CreateACLs, kmsg.DescribeACLs,
		kmsg.DeleteACLs, kmsg.CreatePartitions, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.EndTxn,
		kmsg.TxnOffsetCommit, kmsg.DescribeTransactions, kmsg.ListTransactions, kmsg.SASLHandshake, kmsg.SASLAuthenticate,
	} {
		delete(none, k)
	}
	const one = "--topic-settings=status.replication=1,requests.replication=1,deferred.replication=1,view.replication=1," +
		"streams.replication=1"
	return Vendor{
		Name: "WarpStream", Brokers: 3, Flags: []string{one},
		Topics: TopicRules{
			Settings: map[string]Bounds{"cleanup.policy": {}, "message.timestamp.type": {}, "retention.ms": {},
				"retention.bytes": {}, "max.message.bytes": {}, "delete.retention.ms": {}},
			Ignores: true, Replicas: 1,
			Tells: []string{"cleanup.policy", "message.timestamp.type", "retention.ms", "max.message.bytes"},
		},
		Versions: versions(kversion.V3_6_0(), none),
	}
}

// OldWarpStream is a WarpStream without transactions, as a former version of "Protocol and Feature Support" has it.
func OldWarpStream() Vendor {
	v := WarpStream()
	v.Name = "WarpStream, agents without transactions"
	v.Tracker = []string{"--tracker-no-view"}
	v.Versions = versions(v.Versions, no(kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.EndTxn, kmsg.TxnOffsetCommit,
		kmsg.DescribeTransactions, kmsg.ListTransactions))
	return v
}

// EventHubsPremium is Azure Event Hubs, Premium and Dedicated, without its preview of transactions.
//
//   - Versions: those that namespaces listed in the issue 945 of aio-libs/aiokafka and 209 of
//     Azure/azure-event-hubs-for-kafka.
//   - Topics: Azure Event Hubs, "Recommended configurations for Apache Kafka clients" (partitions and retention are
//     not set by an AdminClient; connections are closed on requests of more than 1046528 bytes), "Event Hubs quotas
//     and limits" (90 days), and the template reference of Microsoft.EventHub namespaces/eventhubs (records have the
//     time of their append by default).
//   - Compression: the issue 144 of twmb/franz-go.
//   - Transactions: "Transactions in Apache Kafka for Azure Event Hubs". The text of the refusal is that in the issue
//     390 of camunda-community-hub/zeebe-kafka-exporter.
//
// A namespace is one broker. It is assumed that CreateTopics is refused with POLICY_VIOLATION, and which settings are
// told.
func EventHubsPremium() Vendor {
	return Vendor{
		Name: "Azure Event Hubs Premium and Dedicated", Brokers: 1,
		Flags: []string{"--topics=verify", "--kafka-compression=gzip"}, Tracker: []string{"--tracker-no-view"},
		Topics: TopicRules{
			Never:        "Topics are made in the portal or with the resource manager.",
			MaxRetention: 90 * 24 * 3600 * 1000,
			Tells:        []string{"cleanup.policy", "retention.ms"},
		},
		Versions: versions(kversion.V2_8_0(), eventHubs(no(kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.EndTxn,
			kmsg.TxnOffsetCommit))),
		Coordinator: "FindCoordinator asked for coordinator with type code 1 which is not supported. " +
			"type code 1 is only supported in Premium or Dedicated sku.",
		Codecs: []Codec{None, Gzip}, MaxRequest: 1046528,
	}
}

// eventHubs returns the versions of requests that a namespace takes.
func eventHubs(all map[kmsg.Key]int16) map[kmsg.Key]int16 {
	for k := range int16(100) {
		if _, ok := all[kmsg.Key(k)]; !ok && k > kmsg.OffsetForLeaderEpoch.Int16() {
			switch kmsg.Key(k) {
			case kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.EndTxn, kmsg.TxnOffsetCommit:
			default:
				all[kmsg.Key(k)] = -1
			}
		}
	}
	for k, v := range map[kmsg.Key]int16{kmsg.Produce: 7, kmsg.Fetch: 6, kmsg.ListOffsets: 7, kmsg.Metadata: 5,
		kmsg.OffsetCommit: 8, kmsg.OffsetFetch: 8, kmsg.FindCoordinator: 4, kmsg.JoinGroup: 7, kmsg.Heartbeat: 4,
		kmsg.LeaveGroup: 4, kmsg.SyncGroup: 5, kmsg.DescribeGroups: 5, kmsg.ListGroups: 4, kmsg.SASLHandshake: 1,
		kmsg.ApiVersions: 3, kmsg.CreateTopics: 6, kmsg.DeleteTopics: 2, kmsg.DeleteRecords: -1, kmsg.InitProducerID: 1,
		kmsg.OffsetForLeaderEpoch: 0, kmsg.DescribeConfigs: 2, kmsg.SASLAuthenticate: 1, kmsg.CreatePartitions: 1,
		kmsg.DeleteGroups: 0} {
		all[k] = v
	}
	return all
}

// EventHubsPreview is EventHubsPremium with the preview of transactions.
func EventHubsPreview() Vendor {
	v := EventHubsPremium()
	v.Name, v.Tracker, v.Coordinator = "Azure Event Hubs Premium and Dedicated, transactions in preview", nil, ""
	v.Versions = versions(kversion.V2_8_0(), eventHubs(map[kmsg.Key]int16{}))
	return v
}

// EventHubsStandard is Azure Event Hubs, Standard: it keeps records for 7 days at most ("Event Hubs quotas and
// limits"), and jobs may be scheduled for 30 days.
func EventHubsStandard() Vendor {
	v := EventHubsPremium()
	v.Name, v.Topics.MaxRetention = "Azure Event Hubs Standard", 7*24*3600*1000
	v.Refused = "topic ackwire.deferred: retention.ms is 604800000 and must be at least "
	return v
}
