package topic

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Every row of the table is of a known kind, is there once, has a rule that can be read, and says why.
func TestSettings(t *testing.T) {
	seen := map[Kind]map[string]bool{}
	for _, s := range Settings {
		if !slices.Contains(Kinds, s.Kind) {
			t.Errorf("%s of the unknown kind %q", s.Name, s.Kind)
		}
		if seen[s.Kind] == nil {
			seen[s.Kind] = map[string]bool{}
		}
		if seen[s.Kind][s.Name] {
			t.Errorf("%s of %s is there twice", s.Name, s.Kind)
		}
		seen[s.Kind][s.Name] = true
		if !strings.HasPrefix(s.Rule, "=") && !strings.HasPrefix(s.Rule, ">=") && (s.Promise || s.Rule != "") {
			t.Errorf("%s of %s has the rule %q", s.Name, s.Kind, s.Rule)
		}
		if s.Rule == "" && s.Value == "" || s.Why == "" {
			t.Errorf("%s of %s says nothing", s.Name, s.Kind)
		}
		if v, equal := strings.CutPrefix(s.Rule, "="); equal && s.Value != v {
			t.Errorf("%s of %s is made with %q and must be %q", s.Name, s.Kind, s.Value, v)
		}
	}
	// The guarantees that docs/security.md and DESIGN.md give.
	for _, kind := range []Kind{KindStatus, KindRequests} {
		spec := kind.spec("t", 1)
		for name, rule := range map[string]string{"cleanup.policy": "=delete", "message.timestamp.type": "=LogAppendTime",
			"retention.bytes": "=-1", "min.insync.replicas": ">=2", SettingReplication: ">=3"} {
			if spec.Promises[name] != rule {
				t.Errorf("%s of %s must be %q, not %q", name, kind, rule, spec.Promises[name])
			}
		}
	}
	for _, name := range []string{"segment.ms", "min.cleanable.dirty.ratio", "delete.retention.ms"} {
		for _, s := range Settings {
			if s.Name == name && s.Promise {
				t.Errorf("%s of %s is tuning: managed clusters refuse it", name, s.Kind)
			}
		}
	}
}

func TestSpecs(t *testing.T) {
	n := Names{Prefix: "p."}
	var names []string
	for _, s := range n.Specs([]string{"b", "webhooks", "b", "a"}, 5) {
		names = append(names, s.Name)
		if want := int32(5); s.Partitions != want && s.Name != "p.dead" && s.Name != "p.audit" {
			t.Errorf("%s has %d partitions", s.Name, s.Partitions)
		}
	}
	want := []string{
		"p.status", "p.view", "p.deferred", "p.control", "p.dead", "p.audit", "p.streams", "p.requests.webhooks",
		"p.requests.ackwire-bulk", "p.requests.b", "p.requests.a",
	}
	if !slices.Equal(names, want) {
		t.Errorf("topics %q, want %q", names, want)
	}
}

// A retention for longer jobs lengthens that of new topics, and never shortens it.
func TestKeeping(t *testing.T) {
	s := Names{Prefix: "p."}.StatusSpec(1)
	long, short := s.Keeping(20*day, "jobs live long"), s.Keeping(time.Hour, "jobs are short")
	if long.Configs["retention.ms"] != ms(20*day) || long.Promises["retention.ms"] != ">="+ms(20*day) ||
		long.Why["retention.ms"] != "jobs live long" {
		t.Errorf("%+v", long)
	}
	if short.Configs["retention.ms"] != ms(logRetention) || short.Promises["retention.ms"] != ">=3600000" {
		t.Errorf("%+v", short)
	}
	if s.Configs["retention.ms"] != ms(logRetention) || s.Promises["retention.ms"] != ">="+ms(minRetention) {
		t.Error("the original was changed")
	}
}
