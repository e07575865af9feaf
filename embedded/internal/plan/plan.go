// Package plan says what Ackwire needs in a Kafka: its topics with their settings, and the permissions of each role. It
// prints it in the forms in which administrators make topics and permissions. The rules themselves are those of package
// topic.
package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Plan is an Ackwire as an administrator of Kafka sees it.
type Plan struct {
	Names       topic.Names
	Types       jobtypes.Set
	Lanes       []string // instead of those of Types, if there are any
	Partitions  int32
	Replication int      // copies of each partition; 0 for the cluster's default
	Settings    []string // overrides, KIND.SETTING=VALUE

	Roles      []topic.Role      // the roles that run here; all if there are none
	Principals map[string]string // by role, or processor.LANE
	Create     bool              // processes may make topics themselves
	NoView     bool              // trackers run with --tracker-no-view: no topic view, and no transactions
}

// allLanes returns the lanes, with the one of webhooks.
func (p Plan) allLanes() []string {
	if len(p.Lanes) == 0 {
		return p.Types.Lanes()
	}
	lanes := append([]string{topic.WebhookLane}, p.Lanes...)
	slices.Sort(lanes)
	return slices.Compact(lanes)
}

func (p Plan) roles() []topic.Role {
	if len(p.Roles) == 0 {
		return topic.Roles
	}
	return p.Roles
}

// Topics returns the topics that the roles use, with the retention that the job types need.
func (p Plan) Topics() []topic.Spec {
	var specs []topic.Spec
	for _, s := range gateway.Keeping(p.Names, p.Types, p.Names.Specs(p.allLanes(), p.Partitions)) {
		if p.used(s.Name) && !(p.NoView && s.Kind == string(topic.KindView)) {
			specs = append(specs, s.With(p.Settings))
		}
	}
	return specs
}

// used reports whether a role may do anything with a topic but describe it.
func (p Plan) used(name string) bool {
	for _, g := range p.Grants() {
		for _, a := range g.ACLs {
			covers := a.Name == name || a.Prefixed && strings.HasPrefix(name, a.Name)
			if a.Resource == topic.ResourceTopic && covers {
				return true
			}
		}
	}
	return false
}

// Grant is what one principal of Kafka has to be permitted.
type Grant struct {
	Role      topic.Role
	Lane      string // of a processor; empty for the other roles
	Principal string // such as User:ackwire-gateway
	ACLs      []topic.ACL
}

// Name says which process the grant is for.
func (g Grant) Name() string {
	if g.Lane != "" {
		return string(g.Role) + " of lane " + g.Lane
	}
	return string(g.Role)
}

// Grants returns the permissions of each role, and of the processors of each lane. The processor of webhooks is one of
// them.
func (p Plan) Grants() []Grant {
	var all []Grant
	for _, role := range p.roles() {
		lanes := []string{""}
		if role == topic.RoleProcessor {
			lanes = p.allLanes()
			if len(p.Lanes) > 0 {
				lanes = p.Lanes
			}
		}
		for _, lane := range lanes {
			g := Grant{Role: role, Lane: lane, Principal: p.principal(role, lane)}
			g.ACLs = p.Names.ACLs(role, []string{lane})
			if p.NoView {
				g.ACLs = slices.DeleteFunc(g.ACLs, func(a topic.ACL) bool {
					return a.Name == p.Names.View() || a.Resource == topic.ResourceTransactional
				})
			}
			if p.Create && role != topic.RoleCommands {
				g.ACLs = append(g.ACLs, p.Names.CreateACLs()...)
			}
			all = append(all, g)
		}
	}
	return all
}

// principal returns who runs a role.
func (p Plan) principal(role topic.Role, lane string) string {
	name := string(role)
	if lane != "" {
		if v, ok := p.Principals[name+"."+lane]; ok {
			return v
		}
		if v, ok := p.Principals[name]; ok {
			return v
		}
		name += "-" + lane
	}
	if v, ok := p.Principals[name]; ok {
		return v
	}
	return "User:ackwire-" + name
}

// Validate reports all that is wrong with the plan.
func (p Plan) Validate() error {
	if err := p.Names.Validate(); err != nil {
		return err
	}
	for _, lane := range p.Lanes {
		if !topic.ValidLane(lane) {
			return fmt.Errorf("lanes: %q is not a lane's name", lane)
		}
	}
	if p.Partitions < 1 || p.Partitions > 10_000 {
		return fmt.Errorf("partitions must be between 1 and 10000, not %d", p.Partitions)
	}
	if p.Replication < 0 || p.Replication > 100 {
		return fmt.Errorf("replication must be between 0 and 100, not %d", p.Replication)
	}
	for _, who := range slices.Sorted(maps.Keys(p.Principals)) {
		role, lane, _ := strings.Cut(who, ".")
		if !slices.Contains(topic.Roles, topic.Role(role)) || lane != "" && role != string(topic.RoleProcessor) {
			return fmt.Errorf("principal: %q is not a role, nor processor.LANE", who)
		}
		if kind, name, ok := strings.Cut(p.Principals[who], ":"); !ok || kind == "" || name == "" {
			return fmt.Errorf("principal: %q is not TYPE:NAME, such as User:ackwire", p.Principals[who])
		}
	}
	return topic.CheckOverrides(p.Settings)
}

const minInSync = "min.insync.replicas"

// replication returns how many copies a topic has; 0 for the cluster's default.
func (p Plan) replication(s topic.Spec) int {
	if v, ok := s.Configs[topic.SettingReplication]; ok {
		n, _ := strconv.Atoi(v) // checked
		return n
	}
	return p.Replication
}

// Made returns the topics with the settings with which an administrator makes them.
func (p Plan) Made() []topic.Spec {
	all := p.Topics()
	for i, s := range all {
		all[i].Configs = p.configs(s)
		if n := p.replication(s); n > 0 {
			all[i].Configs[topic.SettingReplication] = strconv.Itoa(n)
		}
	}
	return all
}

// configs returns the settings with which an administrator makes a topic. With three copies it has the
// min.insync.replicas that is promised, for a cluster's default is 1.
func (p Plan) configs(s topic.Spec) map[string]string {
	configs := maps.Clone(s.Configs)
	delete(configs, topic.SettingReplication)
	_, set := configs[minInSync]
	low, promised := strings.CutPrefix(s.Promises[minInSync], ">=")
	left := slices.Contains(p.Settings, s.Kind+"."+minInSync+"=")
	if n, err := strconv.Atoi(low); !set && !left && promised && err == nil && p.replication(s) > n {
		configs[minInSync] = low
	}
	return configs
}
