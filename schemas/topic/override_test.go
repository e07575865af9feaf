package topic

import (
	"strings"
	"testing"
	"time"
)

// An operator's settings count when a topic is made and when it is verified.
func TestOverrides(t *testing.T) {
	n := Names{Prefix: "p."}
	set := []string{"status.retention.ms=1000", "status.partitions=7", "status.min.insync.replicas=1",
		"view.segment.ms=", "view.min.cleanable.dirty.ratio=0.5", "requests.partitions=9", "requests.replication=1",
		"dead.max.message.bytes=5", "nonsense"}
	s := n.StatusSpec(12).With(set)
	if s.Partitions != 7 || s.Promises[SettingPartitions] != "=7" || s.Configs["retention.ms"] != "1000" ||
		s.Promises["retention.ms"] != ">=1000" || s.Configs["min.insync.replicas"] != "1" {
		t.Errorf("%+v", s)
	}
	v := n.ViewSpec(12).With(set)
	if _, there := v.Configs["segment.ms"]; there || v.Tuning["segment.ms"] != "" {
		t.Error("segment.ms is not left to the broker")
	}
	if v.Partitions != 7 || v.Promises[SettingPartitions] != "=7" || v.Tuning["min.cleanable.dirty.ratio"] != "=0.5" {
		t.Errorf("%+v", v)
	}
	r := n.RequestsSpec("a", 12).With(set)
	if r.Partitions != 9 || r.Promises[SettingPartitions] != ">=9" || r.Promises[SettingReplication] != ">=1" {
		t.Errorf("%+v", r)
	}
	if d := n.DeadSpec().With(set); d.Tuning["max.message.bytes"] != ">=5" || d.Partitions != 1 {
		t.Errorf("%+v", d)
	}
	if n.StatusSpec(12).Partitions != 12 || n.StatusSpec(12).Promises[SettingPartitions] != "=12" {
		t.Error("the original was changed")
	}
}

// The retention that jobs need is not lowered, and a retention that an operator has set is not raised.
func TestAnOverrideDoesNotShortenJobs(t *testing.T) {
	long := Names{Prefix: "p."}.StatusSpec(1).Keeping(20*day, "jobs live long")
	if long.Made != ms(logRetention) {
		t.Errorf("made with %s", long.Made)
	}
	got := long.With([]string{"status.retention.ms=1000"})
	if got.Promises["retention.ms"] != ">="+ms(20*day) || got.Made != "" || got.Configs["retention.ms"] != "1000" {
		t.Errorf("%+v", got)
	}
}

func TestOverridesAreChecked(t *testing.T) {
	for s, want := range map[string]string{
		"status.cleanup.policy=compact": "it must be delete: " + whyPolicy, "status.retention.ms=long": "not a number",
		"nothing": "is not KIND.SETTING=VALUE", "x.partitions=1": `no kind of topic "x"`,
		"status.partitions=0": "between 1 and 10000", "status.partitions=": "between 1 and 10000",
		"view.partitions=3": "set status.partitions", "status.retention.ms=5": "", "status.x.y=z": "",
		"status.replication=2": "", "control.cleanup.policy=compact": "",
	} {
		err := CheckOverrides([]string{s})
		if want == "" && err != nil ||
			want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), s)) {
			t.Errorf("%s: %v", s, err)
		}
	}
	if err := CheckOverrides([]string{"a", "b"}); err == nil || strings.Count(err.Error(), "topic-settings: ") != 2 {
		t.Errorf("not all problems are told: %v", err)
	}
}

// The numbers of partitions of status and view are promises: other ones never start silently. Requests may grow.
func TestPartitionsAreRules(t *testing.T) {
	n := Names{Prefix: "p."}
	for _, s := range n.Specs([]string{"a"}, 5) {
		promise, tuning := s.Promises[SettingPartitions], s.Tuning[SettingPartitions]
		want := [2]string{"", "=5"}
		switch Kind(s.Kind) {
		case KindStatus, KindView, KindStreams:
			want = [2]string{"=5", ""}
		case KindRequests:
			want = [2]string{">=5", ""}
		case KindDead, KindAudit:
			want = [2]string{"", "=1"}
		}
		if [2]string{promise, tuning} != want {
			t.Errorf("%s: %q, %q", s.Name, promise, tuning)
		}
	}
	if s := n.StatusSpec(5).Keeping(time.Hour, "x"); s.Promises[SettingPartitions] != "=5" {
		t.Error("Keeping loses a rule")
	}
}

// TestAnyNumberOfPartitions: without a number a topic is made with the default, and an existing one may have any. A
// setting of the topic's kind is a rule again.
func TestAnyNumberOfPartitions(t *testing.T) {
	n := Names{Prefix: DefaultPrefix}
	for _, s := range []Spec{n.StatusSpec(0), n.RequestsSpec("a", 0), n.ControlSpec(0)} {
		_, promise := s.Promises[SettingPartitions]
		_, tuning := s.Tuning[SettingPartitions]
		if promise || tuning || s.Partitions != DefaultPartitions {
			t.Errorf("%+v", s)
		}
		set := s.With([]string{s.Kind + ".partitions=7"})
		rule := set.Promises[SettingPartitions] + set.Tuning[SettingPartitions]
		if set.Partitions != 7 || !strings.HasSuffix(rule, "=7") {
			t.Errorf("with a setting: %d, %q", set.Partitions, rule)
		}
	}
}
