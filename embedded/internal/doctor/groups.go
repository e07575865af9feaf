package doctor

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/topic"
)

// groups examines the consumer groups of trackers and of the lanes' workers, and whether there are transactions.
func (d *doctor) groups(ctx context.Context) {
	said := map[string]bool{}
	for _, g := range d.Plan.Grants() {
		for _, a := range g.ACLs {
			if a.Resource == topic.ResourceGroup && !a.Prefixed && !said[a.Name] {
				said[a.Name] = true
				d.group(ctx, a.Name)
			}
		}
	}
	if d.has(topic.RoleTracker) && !d.Plan.NoView {
		d.transactions(ctx, d.Plan.Names.View()+"-doctor")
	}
}

func (d *doctor) group(ctx context.Context, name string) {
	var got kmsg.DescribeGroupsResponseGroup
	err := ask(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{name}
		resp, err := req.RequestWith(ctx, d.client)
		if err == nil && len(resp.Groups) == 1 {
			got = resp.Groups[0]
			err = kerr.ErrorForCode(got.ErrorCode)
		}
		return err
	})
	switch {
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		d.say(Unknown, CheckGroup, name, "%s may not describe it", d.self())
	case errors.Is(err, kerr.GroupIDNotFound) || err == nil && len(got.Members) == 0:
		d.say(OK, CheckGroup, name, "has no members now")
	case err != nil:
		d.say(Unknown, CheckGroup, name, "%v", err)
	case got.ProtocolType != "" && got.ProtocolType != "consumer":
		d.say(Wrong, CheckGroup, name, "is used by something else than consumers: its protocol is %s", got.ProtocolType)
	default:
		d.say(OK, CheckGroup, name, "has %d members and is %s", len(got.Members), got.State)
	}
}

// transactions makes a producer with a transactional ID that nobody else uses, if it may write: brokers keep the ID for
// a week.
func (d *doctor) transactions(ctx context.Context, id string) {
	if !d.Probe {
		d.say(Unknown, CheckGroup, id, "whether transactions work is tried only with --probe, as user of a tracker")
		return
	}
	err := ask(ctx, func(ctx context.Context) error { return kafka.Transactions(ctx, d.client, id) })
	denied, refused := errors.AsType[*kafka.Denied](err)
	switch {
	case err == nil:
		d.say(OK, CheckGroup, id, "transactions work")
	case refused:
		d.say(Unknown, CheckGroup, id, "%s may not use it: %s on %s is missing", d.self(), denied.Operation, denied.Name)
	case errors.Is(err, kafka.ErrNoTransactions):
		d.say(Wrong, CheckGroup, id, "%v: start trackers with --tracker-no-view", err)
	default:
		d.say(Unknown, CheckGroup, id, "%v", err)
	}
}
