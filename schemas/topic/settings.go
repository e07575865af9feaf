package topic

import (
	"maps"
	"strconv"
	"time"
)

// Kind is a kind of topic. All lanes' topics of requests are of one kind.
type Kind string

// Kinds of topics.
const (
	KindRequests Kind = "requests"
	KindDeferred Kind = "deferred"
	KindStatus   Kind = "status"
	KindView     Kind = "view"
	KindControl  Kind = "control"
	KindDead     Kind = "dead"
	KindAudit    Kind = "audit"
	KindStreams  Kind = "streams"
)

// Kinds are all kinds of topics.
var Kinds = []Kind{KindStatus, KindRequests, KindDeferred, KindView, KindControl, KindDead, KindAudit, KindStreams}

// Settings that are not among a topic's configuration in Kafka, but are compared like them.
const (
	SettingPartitions  = "partitions"
	SettingReplication = "replication"
)

// Setting is a row of Settings: what one setting of one kind of topic must be, and why.
type Setting struct {
	Kind Kind   // of the topics that have the setting
	Name string // as Kafka names it, or one of the constants Setting…
	// Value is the value with which the topic is made. If it is empty the broker's default is taken.
	Value string
	// Rule is what the setting of an existing topic is compared with: "=v", or ">=v" for numbers, of which -1 is the
	// largest. The v of SettingPartitions is the number that the processes are configured with.
	Rule string
	// Promise says that a guarantee of Ackwire hangs on the setting: no process starts on a topic that breaks the
	// rule. All other settings are tuning: a difference is only reported, and a cluster that refuses one does
	// without.
	Promise bool
	Why     string // what a broken rule does, for people
}

// Retention times of the topics.
const (
	day               = 24 * time.Hour
	logRetention      = 8 * day
	deferredRetention = 45 * day
	controlRetention  = time.Hour
	deadRetention     = 30 * day
	auditRetention    = 90 * day
	streamsRetention  = day

	// minRetention is the shortest retention of status and requests on which a process starts that does not know the
	// job types. A gateway knows them, and asks for as long as the longest job lives.
	minRetention = day
	// minDeferred is the same for deferred: jobs may be scheduled as far ahead.
	minDeferred = 30 * day
)

// minMessage is the size of the largest batch that a client sends, in bytes. It is below Kafka's default of
// max.message.bytes, 1048588.
const minMessage = "1000012"

const (
	whyPolicy  = "compaction keeps the last record of a job and loses the others"
	whyAppend  = "leases, deadlines and expiry go by it, and one client with a wrong clock would move them all"
	whyKept    = "a job is lost when its records are removed before it has ended"
	whyBytes   = "a busy hour would remove records that are still needed"
	whyMessage = "a batch with large payloads or results would be refused"
	whyInSync  = "a job that was acknowledged on one disk is lost with it"
	whyTable   = "the only copy of a job that status no longer holds is lost with one disk"
	whyCompact = "the table is compacted later, so restoring takes longer"
	whyStatus  = "the partition of each job follows from it, so all processes must expect the same number, which must " +
		"never change: set partitions to the topic's own number, if this is the right topic"
	whyView    = "the document of a job is in the partition with the number of the job's partition of status"
	whyStreams = "a job's streams are in the partition with the number of the job's partition of status"
	whyFew     = "fewer workers than expected can share a lane"
	whyOwn     = "the setting counts only when the topic is made; the topic's own number is used"
)

// Settings is the table of all settings of all topics. Topics are made from it, existing ones are compared with it,
// and the documentation and `ackwire topics` print it. Settings that it does not name are the broker's.
var Settings = []Setting{
	{KindStatus, "cleanup.policy", "delete", "=delete", true, whyPolicy},
	{KindStatus, "message.timestamp.type", "LogAppendTime", "=LogAppendTime", true, whyAppend},
	{KindStatus, "retention.ms", ms(logRetention), ">=" + ms(minRetention), true, whyKept},
	{KindStatus, "retention.bytes", "-1", "=-1", true, whyBytes},
	{KindStatus, "max.message.bytes", "", ">=" + minMessage, true, whyMessage},
	{KindStatus, "min.insync.replicas", "", ">=2", true, whyInSync},
	{KindStatus, SettingReplication, "", ">=3", true, whyInSync},
	{KindStatus, SettingPartitions, "", "=", true, whyStatus},

	{KindRequests, "cleanup.policy", "delete", "=delete", true, whyPolicy},
	{KindRequests, "message.timestamp.type", "LogAppendTime", "=LogAppendTime", true, whyAppend},
	{KindRequests, "retention.ms", ms(logRetention), ">=" + ms(minRetention), true, whyKept},
	{KindRequests, "retention.bytes", "-1", "=-1", true, whyBytes},
	{KindRequests, "max.message.bytes", "", ">=" + minMessage, true, whyMessage},
	{KindRequests, "min.insync.replicas", "", ">=2", true, whyInSync},
	{KindRequests, SettingReplication, "", ">=3", true, whyInSync},
	{KindRequests, SettingPartitions, "", ">=", true, whyFew},

	{KindDeferred, "cleanup.policy", "delete", "=delete", true, whyPolicy},
	{KindDeferred, "message.timestamp.type", "LogAppendTime", "=LogAppendTime", false,
		"with a client's clock that is behind, a broker removes a schedule too early"},
	{KindDeferred, "retention.ms", ms(deferredRetention), ">=" + ms(minDeferred), true,
		"a schedule is lost when its request is removed before its time"},
	{KindDeferred, "retention.bytes", "-1", "=-1", true, whyBytes},
	{KindDeferred, "max.message.bytes", "", ">=" + minMessage, true, whyMessage},
	{KindDeferred, "min.insync.replicas", "", ">=2", true, whyInSync},
	{KindDeferred, SettingReplication, "", ">=3", true, whyInSync},
	{KindDeferred, SettingPartitions, "", "=", false, whyOwn},

	{KindView, "cleanup.policy", "compact", "=compact", true,
		"without compaction documents are removed by age, and with both policies too"},
	{KindView, "delete.retention.ms", ms(day), ">=" + ms(time.Hour), false,
		"consumers of the table that are away for longer miss removals"},
	{KindView, "segment.ms", ms(time.Hour), "", false, whyCompact},
	{KindView, "min.cleanable.dirty.ratio", "0.2", "", false, whyCompact},
	{KindView, "max.message.bytes", "", ">=" + minMessage, true, whyMessage},
	{KindView, "min.insync.replicas", "", ">=2", true, whyTable},
	{KindView, SettingReplication, "", ">=3", true, whyTable},
	{KindView, SettingPartitions, "", "=", true, whyView},

	{KindControl, "cleanup.policy", "delete", "=delete", false, "orders to workers are kept for ever"},
	{KindControl, "message.timestamp.type", "LogAppendTime", "=LogAppendTime", false,
		"orders may be removed before workers read them"},
	{KindControl, "retention.ms", ms(controlRetention), ">=" + ms(5*time.Minute), false,
		"orders may be removed before workers read them"},
	{KindControl, SettingPartitions, "", "=", false, whyOwn},

	{KindDead, "cleanup.policy", "delete", "=delete", false, "dead letters have no keys by which they could be compacted"},
	{KindDead, "message.timestamp.type", "LogAppendTime", "=LogAppendTime", false,
		"the time of a dead letter is then that of a client"},
	{KindDead, "retention.ms", ms(deadRetention), ">=" + ms(day), false, "dead letters are removed too early"},
	{KindDead, "max.message.bytes", "", ">=" + minMessage, false, "large dead letters are dropped"},
	{KindDead, SettingPartitions, "", "=", false, whyOwn},

	{KindAudit, "cleanup.policy", "delete", "=delete", false, "of each tenant only the last record is kept"},
	{KindAudit, "message.timestamp.type", "LogAppendTime", "=LogAppendTime", false,
		"the time of a record is then that of a gateway's clock"},
	{KindAudit, "retention.ms", ms(auditRetention), ">=" + ms(30*day), false,
		"traces of what was done are removed too early"},
	{KindAudit, SettingPartitions, "", "=", false, whyOwn},

	{KindStreams, "cleanup.policy", "delete", "=delete", true, "compaction keeps the last piece of a job's streams and " +
		"loses the others"},
	{KindStreams, "message.timestamp.type", "LogAppendTime", "=LogAppendTime", false,
		"with a worker's clock that is behind, a broker removes what is still read"},
	{KindStreams, "retention.ms", ms(streamsRetention), ">=" + ms(time.Hour), false,
		"what a running job has written is gone before its readers come back"},
	{KindStreams, "max.message.bytes", "", ">=" + minMessage, true, whyMessage},
	{KindStreams, "min.insync.replicas", "", ">=2", true, "what was written on one disk is lost with it"},
	{KindStreams, SettingReplication, "", ">=3", true, "what was written on one disk is lost with it"},
	{KindStreams, SettingPartitions, "", "=", true, whyStreams},
}

const retention = "retention.ms"

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Spec describes a topic, which is created if it does not exist. Existing topics are compared with it and not changed.
// All maps are by the setting's name.
type Spec struct {
	Name       string // with the prefix
	Kind       string // a Kind
	Partitions int32  // number of partitions when it is created; a rule says how many an existing topic must have
	// Configs are the settings with which it is created; the broker's defaults apply to all others.
	Configs map[string]string
	// Promises are the rules (Setting.Rule) that an existing topic must keep, and Tuning those that it should.
	Promises, Tuning map[string]string
	Why              map[string]string // Setting.Why
	// Made is the retention.ms of a topic that a process has made which does not know the job types; empty unless Keeping
	// was called. A topic that is kept so long, but shorter than promised, is given the promised retention.
	Made string
}

// spec returns a topic with the settings of its kind. With 0 partitions it is created with DefaultPartitions, and an
// existing one may have any number.
func (k Kind) spec(name string, partitions int32) Spec {
	s := Spec{
		Name: name, Kind: string(k), Partitions: DefaultPartitions,
		Configs: map[string]string{}, Promises: map[string]string{}, Tuning: map[string]string{}, Why: map[string]string{},
	}
	for _, row := range Settings {
		if row.Kind != k {
			continue
		}
		s.Why[row.Name] = row.Why
		if row.Name == SettingPartitions {
			s.have(row, partitions)
			continue
		}
		if row.Value != "" {
			s.Configs[row.Name] = row.Value
		}
		switch {
		case row.Promise:
			s.Promises[row.Name] = row.Rule
		case row.Rule != "":
			s.Tuning[row.Name] = row.Rule
		default:
			s.Tuning[row.Name] = "=" + row.Value
		}
	}
	return s
}

// have sets the number of partitions, unless it is 0, with the rule that follows from it.
func (s *Spec) have(row Setting, partitions int32) {
	if partitions == 0 {
		return
	}
	s.Partitions = partitions
	rules := s.Tuning
	if row.Promise {
		rules = s.Promises
	}
	rules[row.Name] = row.Rule + strconv.Itoa(int(partitions))
}

// Keeping returns s with a retention of at least life, for the reason why.
func (s Spec) Keeping(life time.Duration, why string) Spec {
	s.Configs, s.Promises, s.Why = maps.Clone(s.Configs), maps.Clone(s.Promises), maps.Clone(s.Why)
	s.Made = s.Configs[retention]
	if made, err := strconv.ParseInt(s.Made, 10, 64); err != nil || made < life.Milliseconds() {
		s.Configs[retention] = ms(life)
	}
	s.Promises[retention], s.Why[retention] = ">="+ms(life), why
	return s
}
