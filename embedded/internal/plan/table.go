package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ackwire/ackwire/schemas/topic"
)

// Table returns the topics with each setting, the rule that it has to follow, and what its breach does.
func (p Plan) Table() string {
	var b strings.Builder
	for _, s := range p.Topics() {
		fmt.Fprintf(&b, "%s\n", s.Name)
		names := map[string]bool{topic.SettingPartitions: true}
		for _, rules := range []map[string]string{s.Configs, s.Promises, s.Tuning} {
			for name := range rules {
				names[name] = true
			}
		}
		configs := p.configs(s)
		configs[topic.SettingPartitions] = fmt.Sprint(s.Partitions)
		if n := p.replication(s); n > 0 {
			configs[topic.SettingReplication] = fmt.Sprint(n)
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			rule := "should be " + s.Tuning[name]
			if r, ok := s.Promises[name]; ok {
				rule = "must be " + r
			}
			value, set := configs[name]
			if !set {
				value = "(default)"
			}
			fmt.Fprintf(&b, "  %-25s %-14s %-26s %s\n", name, value, rule, s.Why[name])
		}
	}
	return b.String()
}
