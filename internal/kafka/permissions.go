package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/pause"
)

// permissionsInterval is the time between two of a Keeper's checks of permissions. A check is one
// request for topics and one for each group.
const permissionsInterval = time.Minute

// Permission is what the user of a process must be allowed to do with a resource of Kafka. Names of resources and
// operations are those of kafka-acls.sh.
type Permission struct {
	Resource   string // topic, group or transactional-id
	Name       string
	Prefixed   bool // Name is the beginning of the names of several resources
	Operations []string
	Why        string // what the process does with it
}

// Denied is a permission that this process's user does not have.
type Denied struct {
	Operation, Resource, Name string // as kafka-acls.sh names them
	Why                       string // what the permission is for, if that is known
	cause                     error
}

// Error implements error.
func (d *Denied) Error() string {
	text := fmt.Sprintf("permission missing: this process's user needs %s on %s %s", d.Operation, d.Resource, d.Name)
	if d.Why != "" {
		text += " to " + d.Why
	}
	return text
}

// Unwrap returns the broker's error.
func (d *Denied) Unwrap() error { return d.cause }

// Missing asks a broker which of the permissions this process's user lacks. A permission for all topics with a prefix
// is looked for at those of examples that have the prefix, and at the prefix itself without such an example. What a
// broker does not tell counts as permitted: there are some that know nothing of permissions.
func Missing(ctx context.Context, cl *kgo.Client, examples []string, needed ...Permission) ([]*Denied, error) {
	topics := map[string]authorized{}
	for _, p := range needed {
		if p.Resource == resourceTopic {
			for _, name := range p.at(examples) {
				topics[name] = authorized{}
			}
		}
	}
	if err := authorizedTopics(ctx, cl, topics); err != nil {
		return nil, err
	}
	lacking := make([][]*Denied, len(needed))
	together(len(needed), func(i int) {
		p := needed[i]
		for _, name := range p.at(examples) {
			var may authorized
			switch p.Resource {
			case resourceTopic:
				may = topics[name]
			case resourceGroup:
				may = authorizedGroup(ctx, cl, name)
			case resourceTransactional:
				may = authorizedTransactions(ctx, cl, name)
			}
			lacking[i] = append(lacking[i], p.missing(name, may)...)
		}
	})
	return slices.Concat(lacking...), ctx.Err()
}

// Resources of permissions.
const (
	resourceTopic         = "topic"
	resourceGroup         = "group"
	resourceTransactional = "transactional-id"
)

// at returns the names of the resources at which to look for the permission.
func (p Permission) at(examples []string) (names []string) {
	if !p.Prefixed || p.Resource != resourceTopic {
		return []string{p.Name}
	}
	for _, name := range examples {
		if strings.HasPrefix(name, p.Name) {
			names = append(names, name)
		}
	}
	if names == nil {
		return []string{p.Name}
	}
	return names
}

// authorized is what a broker says that this process's user may do with a resource.
type authorized struct {
	refused error // why it may not even be described; nil if it may
	told    bool  // operations is known
	bits    int32 // a bit for each operation (KIP-430)
}

// tell returns what a broker's answer says. Who may do anything with a resource may describe it.
func tell(code int16, bits int32) authorized {
	switch err := kerr.ErrorForCode(code); {
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed),
		errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return authorized{refused: err}
	case errors.Is(err, kerr.GroupIDNotFound): // what may be done with it may be told all the same (KIP-1043)
	case err != nil:
		return authorized{}
	}
	return authorized{told: bits != math.MinInt32 && bits&(1<<kmsg.ACLOperationDescribe) != 0, bits: bits}
}

// missing returns the operations of the permission that the user may not do with the resource name.
func (p Permission) missing(name string, may authorized) (missing []*Denied) {
	for _, operation := range p.Operations {
		op, err := kmsg.ParseACLOperation(operation)
		if err != nil {
			continue
		}
		// A user who may not describe a resource may neither read nor write it; about its settings that says nothing.
		lacks := may.told && may.bits&(1<<op) == 0 || may.refused != nil && op != kmsg.ACLOperationDescribeConfigs
		if lacks {
			missing = append(missing, &Denied{operation, p.Resource, name, p.Why, may.refused})
		}
	}
	return missing
}

// authorizedTopics fills in what may be done with the topics that are the keys of all.
func authorizedTopics(ctx context.Context, cl *kgo.Client, all map[string]authorized) error {
	if len(all) == 0 {
		return nil
	}
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true
	for name := range all {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl) // not from the client's cache
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	for _, t := range resp.Topics {
		if t.Topic != nil {
			all[*t.Topic] = tell(t.ErrorCode, t.AuthorizedOperations)
		}
	}
	return nil
}

// authorizedGroup asks what may be done with a group, which need not exist.
func authorizedGroup(ctx context.Context, cl *kgo.Client, name string) authorized {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups, req.IncludeAuthorizedOperations = []string{name}, true
	resp, err := req.RequestWith(ctx, cl)
	switch {
	case errors.Is(err, kerr.GroupAuthorizationFailed): // from the search for the coordinator
		return authorized{refused: kerr.GroupAuthorizationFailed}
	case err != nil || len(resp.Groups) != 1:
		return authorized{}
	}
	may := tell(resp.Groups[0].ErrorCode, resp.Groups[0].AuthorizedOperations)
	if !may.told && may.refused == nil {
		return authorizedReading(ctx, cl, name)
	}
	return may
}

// authorizedReading asks whether a group may be read, of which the broker has not told what may be done with it, as it
// does for one that does not exist. A heartbeat of nobody changes nothing, and needs the permission.
func authorizedReading(ctx context.Context, cl *kgo.Client, name string) authorized {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation = name, -1
	resp, err := req.RequestWith(ctx, cl)
	if err != nil || !errors.Is(kerr.ErrorForCode(resp.ErrorCode), kerr.GroupAuthorizationFailed) {
		return authorized{}
	}
	return authorized{told: true, bits: 1 << kmsg.ACLOperationDescribe}
}

// authorizedTransactions asks whether a transactional ID may be used. Brokers tell only whether it may be described,
// which those who may write with it may.
func authorizedTransactions(ctx context.Context, cl *kgo.Client, name string) authorized {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = 1, name, []string{name}
	resp, err := req.RequestWith(ctx, cl)
	switch {
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return authorized{refused: kerr.TransactionalIDAuthorizationFailed}
	case err != nil:
		return authorized{}
	}
	code := resp.ErrorCode
	for _, c := range resp.Coordinators {
		code = c.ErrorCode
	}
	return tell(code, math.MinInt32)
}

// Denials returns an error that names missing permissions in one line; nil if there are none.
func Denials(missing []*Denied) error {
	if len(missing) == 0 {
		return nil
	}
	errs, texts := make([]error, len(missing)), make([]string, len(missing))
	for i, d := range missing {
		errs[i], texts[i] = d, d.Error()
		if i > 0 {
			_, texts[i], _ = strings.Cut(texts[i], "user ")
		}
	}
	return &severalDenied{strings.Join(texts, "; "), errs}
}

// severalDenied is the error of at least one missing permission.
type severalDenied struct {
	text string
	all  []error
}

// Error implements error.
func (d *severalDenied) Error() string { return d.text }

// Unwrap returns a Denied for each of them.
func (d *severalDenied) Unwrap() []error { return d.all }

// Need sets which permissions the service needs. Those for settings of topics count only if topics are verified.
func (k *Keeper) Need(all ...Permission) {
	for _, p := range all {
		if k.cfg.Mode == TopicsOff {
			p.Operations = slices.DeleteFunc(slices.Clone(p.Operations), func(op string) bool { return op == "DescribeConfigs" })
		}
		k.needed = append(k.needed, p)
	}
}

// permitted returns which permissions are missing, as one error.
func (k *Keeper) permitted(ctx context.Context, cl *kgo.Client, topics []Topic) error {
	examples := make([]string, len(topics))
	for i, t := range topics {
		examples[i] = t.Name
	}
	missing, err := Missing(ctx, cl, examples, k.needed...)
	if err != nil {
		return err
	}
	return Denials(missing)
}

// watchPermissions asks for the permissions every permissionsInterval until ctx ends. An error that says nothing about
// them, such as that of a broker that does not answer, changes nothing.
func (k *Keeper) watchPermissions(ctx context.Context, cl *kgo.Client) {
	for pause.For(ctx, permissionsInterval) {
		try, cancel := context.WithTimeout(ctx, boundsOf(cl).Ask)
		k.mu.Lock()
		topics := slices.Clone(k.topics)
		k.mu.Unlock()
		err := k.permitted(try, cl, topics)
		cancel()
		if _, denied := errors.AsType[*Denied](err); err != nil && !denied {
			k.log.Debug("permissions are not known", "err", err)
			continue
		}
		k.mu.Lock()
		changed := fmt.Sprint(err) != fmt.Sprint(k.denied)
		k.denied = err
		k.mu.Unlock()
		switch {
		case changed && err != nil:
			k.log.Error("Kafka refuses this process what it needs", "err", err)
		case changed:
			k.log.Info("Kafka permits all that this process needs")
		}
	}
}
