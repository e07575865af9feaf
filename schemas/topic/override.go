package topic

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Override is an operator's own value for a setting of a kind of topic, written KIND.SETTING=VALUE.
type Override struct {
	Kind    Kind   // of the topics that it is for
	Setting string // as Kafka names it, or one of the constants Setting…
	Value   string // empty: the broker's default
}

// ParseOverride reads KIND.SETTING=VALUE. It knows no kinds and no settings: see CheckOverrides.
func ParseOverride(s string) (Override, error) {
	left, value, ok := strings.Cut(s, "=")
	kind, setting, ok2 := strings.Cut(left, ".")
	if !ok || !ok2 || kind == "" || setting == "" {
		return Override{}, fmt.Errorf("%q is not KIND.SETTING=VALUE, such as status.retention.ms=1209600000", s)
	}
	return Override{Kind(kind), setting, value}, nil
}

// CheckOverrides returns all that is wrong with overrides. A promised value cannot be changed, while a promised lower
// bound can.
func CheckOverrides(overrides []string) error {
	var problems []error
	for _, s := range overrides {
		o, err := ParseOverride(s)
		if err == nil {
			err = o.check()
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("topic-settings: %w", err))
		}
	}
	return errors.Join(problems...)
}

func (o Override) check() error {
	if !slices.Contains(Kinds, o.Kind) {
		return fmt.Errorf("%q: there is no kind of topic %q", o, o.Kind)
	}
	spec := o.Kind.spec("", 1)
	rule, promise := spec.Promises[o.Setting]
	switch {
	case o.Setting == SettingPartitions && asStatus(o.Kind):
		return fmt.Errorf("%q: %s has as many partitions as status; set status.partitions", o, o.Kind)
	case o.Setting == SettingPartitions:
		if n, err := strconv.ParseInt(o.Value, 10, 32); err != nil || n < 1 || n > 10_000 {
			return fmt.Errorf("%q: partitions must be a number between 1 and 10000", o)
		}
	case strings.HasPrefix(rule, ">=") || o.Setting == SettingReplication:
		if _, err := strconv.ParseInt(o.Value, 10, 64); err != nil && o.Value != "" {
			return fmt.Errorf("%q: the value is not a number", o)
		}
	case promise && o.Value != "" && "="+o.Value != rule:
		return fmt.Errorf("%q: it must be %s: %s", o, rule[1:], spec.Why[o.Setting])
	}
	return nil
}

// String returns KIND.SETTING=VALUE.
func (o Override) String() string { return string(o.Kind) + "." + o.Setting + "=" + o.Value }

// With returns s with those of the overrides that are for its kind: new values, and the rules that follow from them. A
// lower bound that is promised becomes the operator's value, except the one of Keeping. View and streams have as many
// partitions as status.
func (s Spec) With(overrides []string) Spec {
	s.Configs, s.Promises, s.Tuning = maps.Clone(s.Configs), maps.Clone(s.Promises), maps.Clone(s.Tuning)
	for _, text := range overrides {
		o, err := ParseOverride(text)
		follows := o.Kind == KindStatus && asStatus(Kind(s.Kind)) && o.Setting == SettingPartitions
		if err == nil && (o.Kind == Kind(s.Kind) || follows) {
			o.apply(&s)
		}
	}
	return s
}

// asStatus reports whether topics of a kind must have as many partitions as status.
func asStatus(k Kind) bool { return k == KindView || k == KindStreams }

func (o Override) apply(s *Spec) {
	kept := s.Made != "" && o.Setting == retention
	switch {
	case o.Setting == SettingPartitions:
		n, err := strconv.ParseInt(o.Value, 10, 32)
		if err != nil {
			return
		}
		for _, row := range Settings {
			if string(row.Kind) == s.Kind && row.Name == SettingPartitions {
				s.have(row, int32(n))
			}
		}
		return
	case kept:
		s.Made = "" // an operator's own retention is not changed
	case strings.HasPrefix(s.Promises[o.Setting], ">=") && o.Value != "":
		s.Promises[o.Setting] = ">=" + o.Value
	}
	if o.Value == "" {
		delete(s.Configs, o.Setting)
		delete(s.Tuning, o.Setting)
		return
	}
	s.Configs[o.Setting] = o.Value
	if rule, ok := s.Tuning[o.Setting]; ok {
		s.Tuning[o.Setting] = operator(rule) + o.Value
	}
}

// operator returns the beginning of a rule: "=" or ">=".
func operator(rule string) string { return rule[:strings.Index(rule, "=")+1] }
