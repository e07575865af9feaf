package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/embedded/internal/plan"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/topic"
)

// permissions examines what each role may do. A role whose principal is named is examined by the cluster's list of
// permissions, any other as the user as which the doctor is connected.
func (d *doctor) permissions(ctx context.Context) {
	var topics []string
	for _, s := range d.Plan.Topics() {
		topics = append(topics, s.Name)
	}
	for _, g := range d.Plan.Grants() {
		var lacks func(topic.ACL) ([]string, error)
		who := g.Principal
		if d.named(g) && g.Principal != d.me() {
			rules, err := d.rules(ctx)
			if errors.Is(err, kerr.SecurityDisabled) {
				d.say(OK, CheckPermission, g.Name(), "the cluster permits everybody everything: it has no authorizer")
				continue
			}
			if err != nil {
				d.say(Unknown, CheckPermission, g.Name(), "what %s may do cannot be listed by %s: %v; connect as %s instead, or "+
					"permit Describe on the cluster", who, d.self(), err, who)
				continue
			}
			lacks = func(a topic.ACL) ([]string, error) { return rules.lacks(who, a, topics), nil }
		} else {
			if me := d.me(); me != "" {
				who = me
			}
			lacks = func(a topic.ACL) ([]string, error) { return d.lacks(ctx, a, topics) }
		}
		d.grant(g, who, lacks)
	}
}

// named reports whether the principal of a grant was given, instead of being the default.
func (d *doctor) named(g plan.Grant) bool {
	for _, who := range []string{string(g.Role), string(g.Role) + "." + g.Lane} {
		if _, ok := d.Plan.Principals[who]; ok {
			return true
		}
	}
	return false
}

// grant examines the permissions of one role for one principal.
func (d *doctor) grant(g plan.Grant, who string, lacks func(topic.ACL) ([]string, error)) {
	good := true
	for _, a := range g.ACLs {
		missing, err := lacks(a)
		subject := a.Resource + " " + a.Name
		if a.Prefixed {
			subject += "*"
		}
		if err != nil {
			good = false
			d.say(Unknown, CheckPermission, subject, "%s: %v", g.Name(), err)
		}
		if len(missing) > 0 {
			good = false
			d.found(Finding{State: Wrong, Check: CheckPermission, Subject: subject, Setting: strings.Join(missing, ","),
				Text:    fmt.Sprintf("%s needs %s to %s (%s)", who, strings.Join(missing, " and "), a.Why, g.Name()),
				Command: plan.AddACL(d.Tools, who, a, missing)})
		}
	}
	if good {
		d.say(OK, CheckPermission, g.Name(), "%s may do all that is needed", who)
	}
}

// lacks asks Kafka which operations of a permission the doctor's own user lacks.
func (d *doctor) lacks(ctx context.Context, a topic.ACL, topics []string) (operations []string, err error) {
	err = ask(ctx, func(ctx context.Context) error {
		missing, err := kafka.Missing(ctx, d.client, topics, kafka.Permission(a))
		for _, m := range missing {
			if !slices.Contains(operations, m.Operation) {
				operations = append(operations, m.Operation)
			}
		}
		return err
	})
	return operations, err
}

// rules is a cluster's list of permissions.
type rules []kmsg.DescribeACLsResponseResource

// rules asks Kafka for all permissions.
func (d *doctor) rules(ctx context.Context) (all rules, err error) {
	err = ask(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
		req.Operation, req.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
		resp, err := req.RequestWith(ctx, d.client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil {
			all = resp.Resources
		}
		return err
	})
	return all, err
}

// lacks returns which operations of a permission a principal lacks. A permission for all topics with a prefix is needed
// at those of topics that have it.
func (r rules) lacks(who string, a topic.ACL, topics []string) (operations []string) {
	names := []string{a.Name}
	if a.Prefixed && a.Resource == topic.ResourceTopic {
		names = slices.DeleteFunc(slices.Clone(topics), func(t string) bool { return !strings.HasPrefix(t, a.Name) })
	}
	for _, operation := range a.Operations {
		if slices.ContainsFunc(names, func(name string) bool { return !r.permit(who, a.Resource, name, operation) }) {
			operations = append(operations, operation)
		}
	}
	return operations
}

// permit applies Kafka's rules: one that denies wins, and some operations include others.
func (r rules) permit(who, resource, name, operation string) bool {
	allowed := false
	for _, on := range r {
		if !covers(on, resource, name) {
			continue
		}
		for _, rule := range on.ACLs {
			if rule.Principal != who && rule.Principal != "User:*" {
				continue
			}
			switch rule.PermissionType {
			case kmsg.ACLPermissionTypeDeny:
				if same(rule.Operation, operation) {
					return false
				}
			case kmsg.ACLPermissionTypeAllow:
				allowed = allowed || same(rule.Operation, operation) || includes(rule.Operation, operation)
			}
		}
	}
	return allowed
}

// covers reports whether rules for a resource count for a name.
func covers(on kmsg.DescribeACLsResponseResource, resource, name string) bool {
	kind := map[string]kmsg.ACLResourceType{topic.ResourceTopic: kmsg.ACLResourceTypeTopic,
		topic.ResourceGroup: kmsg.ACLResourceTypeGroup, topic.ResourceTransactional: kmsg.ACLResourceTypeTransactionalId}
	if on.ResourceType != kind[resource] {
		return false
	}
	if on.ResourcePatternType == kmsg.ACLResourcePatternTypePrefixed {
		return strings.HasPrefix(name, on.ResourceName)
	}
	return on.ResourceName == name || on.ResourceName == "*"
}

// same reports whether a rule's operation is the named one, or all.
func same(op kmsg.ACLOperation, name string) bool {
	want, err := kmsg.ParseACLOperation(name)
	return err == nil && (op == want || op == kmsg.ACLOperationAll)
}

// includes reports whether who may do op may do the named operation, too.
func includes(op kmsg.ACLOperation, name string) bool {
	switch name {
	case topic.OpDescribe:
		return slices.Contains([]kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDelete,
			kmsg.ACLOperationAlter}, op)
	case topic.OpDescribeConfigs:
		return op == kmsg.ACLOperationAlterConfigs
	}
	return false
}
