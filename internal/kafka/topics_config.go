package kafka

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Topics has the settings by which a process makes and verifies its topics.
type Topics struct {
	Mode     string   `name:"topics" help:"What to do with topics at the start: create makes those that are missing and verifies all; verify makes none, and needs no permission to; off does neither." enum:"create,verify,off" default:"create"`
	Settings []string `name:"topic-settings" help:"Settings of topics other than the built-in ones, by kind of topic: status, requests, deferred, view, control or dead. Without a value the broker's default is taken. Partitions and replication count as settings." placeholder:"KIND.SETTING=VALUE" sep:","`
}

// Modes of Topics.
const (
	TopicsCreate = "create"
	TopicsVerify = "verify"
	TopicsOff    = "off"
)

// override is one of Topics.Settings.
type override struct{ kind, setting, value string }

func parseOverride(s string) (o override, ok bool) {
	left, value, ok := strings.Cut(s, "=")
	kind, setting, ok2 := strings.Cut(left, ".")
	return override{kind, setting, value}, ok && ok2 && kind != "" && setting != ""
}

// Check reports every problem of the settings. all are the topics of a system, at least one of each kind.
func (c Topics) Check(all ...Topic) error {
	var problems []error
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("topic-settings: "+format, args...))
	}
	if !slices.Contains([]string{"", TopicsCreate, TopicsVerify, TopicsOff}, c.Mode) {
		problems = append(problems, fmt.Errorf("topics: %q is not create, verify or off", c.Mode))
	}
	for _, s := range c.Settings {
		o, ok := parseOverride(s)
		at := slices.IndexFunc(all, func(t Topic) bool { return t.Kind == o.kind })
		switch {
		case !ok:
			problem("%q is not KIND.SETTING=VALUE, such as status.retention.ms=1209600000", s)
			continue
		case at < 0:
			problem("%q: there is no kind of topic %q", s, o.kind)
			continue
		}
		rule, promise := all[at].Promises[o.setting]
		_, number := strings.CutPrefix(rule, ">=")
		if number || o.setting == settingPartitions || o.setting == settingReplication {
			if _, err := strconv.ParseInt(o.value, 10, 64); err != nil && o.value != "" {
				problem("%q: the value is not a number", s)
			}
		} else if promise && o.value != "" && "="+o.value != rule {
			problem("%q: it must be %s: %s", s, rule[1:], all[at].Why[o.setting])
		}
		if n, _ := strconv.ParseInt(o.value, 10, 32); o.setting == settingPartitions && (n < 1 || n > 10_000) {
			problem("%q: partitions must be between 1 and 10000", s)
		}
	}
	return errors.Join(problems...)
}

// apply returns t with the settings of c: new values, and the rules that follow from them. A lower bound that is
// promised becomes what the operator sets.
func (c Topics) apply(t Topic) Topic {
	t.Configs, t.Promises, t.Tuning = maps.Clone(t.Configs), maps.Clone(t.Promises), maps.Clone(t.Tuning)
	if t.Configs == nil {
		t.Configs = map[string]string{}
	}
	for _, s := range c.Settings {
		o, ok := parseOverride(s)
		switch {
		case !ok || o.kind != t.Kind:
		case o.setting == settingPartitions:
			if n, err := strconv.ParseInt(o.value, 10, 32); err == nil {
				t.Partitions = int32(n)
			}
		case o.value == "":
			delete(t.Configs, o.setting)
			delete(t.Tuning, o.setting)
		default:
			t.Configs[o.setting] = o.value
			if strings.HasPrefix(t.Promises[o.setting], ">=") && !(t.Kept && o.setting == "retention.ms") {
				t.Promises[o.setting] = ">=" + o.value
			}
			if rule, ok := t.Tuning[o.setting]; ok {
				t.Tuning[o.setting] = rule[:strings.Index(rule, "=")+1] + o.value
			}
		}
	}
	return t
}
