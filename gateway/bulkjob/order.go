package bulkjob

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/google/uuid"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// orderVersion is the version of the payload of a bulk action's job.
const orderVersion = 1

// Order is the payload of a bulk action's job.
type Order struct {
	V      int              `json:"v"`
	Action frame.BulkAction `json:"action"`
	// States are those in which a job must still be.
	States []job.State `json:"states"`
	// Filter and Tenant tell people what was asked for; the plan says which jobs those were.
	Filter frame.BulkFilter `json:"filter"`
	Tenant string           `json:"tenant"`
	By     By               `json:"by"`
	// RequestID is that of the order, for the records of the audit.
	RequestID string `json:"requestId,omitempty"`
	Plan      Plan   `json:"plan"`
}

// By is who ordered a bulk action, with the permissions of that moment.
type By struct {
	Tenant      string `json:"tenant"`
	Subject     string `json:"subject,omitempty"`
	Permissions string `json:"permissions"` // names, separated by spaces
	TokenID     string `json:"tokenId,omitempty"`
}

func byOf(id auth.Identity) By {
	return By{Tenant: id.Tenant, Subject: id.Subject, Permissions: id.Permissions.String(), TokenID: id.TokenID}
}

// identity returns the identity with which the bulk action gives its orders.
func (b By) identity() (auth.Identity, error) {
	p, err := auth.ParsePermissions(b.Permissions)
	return auth.Identity{Tenant: b.Tenant, Subject: b.Subject, Permissions: p, TokenID: b.TokenID}, err
}

// encode returns the order as a payload.
func (o *Order) encode() ([]byte, error) { return plainjson.Marshal(o) }

// decodeOrder reads the payload of a bulk action's job.
func decodeOrder(payload []byte) (*Order, error) {
	var o Order
	if err := json.Unmarshal(payload, &o); err != nil {
		return nil, fmt.Errorf("read the bulk action: %w", err)
	}
	if o.V != orderVersion {
		return nil, fmt.Errorf("read the bulk action: version %d is not known", o.V)
	}
	return &o, nil
}

// Scope returns which jobs a bulk action of the identity may reach: those that it may read and order.
func Scope(id auth.Identity, a frame.BulkAction) *auth.Scope {
	order, read := id.Scope(needed(a)), id.Scope(auth.Read)
	if order.Covers(read) {
		return read
	}
	return order
}

// needed returns the permission that one order of an action needs.
func needed(a frame.BulkAction) auth.Permissions {
	switch a {
	case frame.BulkRetry:
		return auth.Submit
	case frame.BulkErase:
		return auth.Erase
	default:
		return auth.Cancel
	}
}

// May reports whether the identity may order bulk actions of this kind: it must be allowed to read, and to give the
// single order. A grant is not: it is limited to some jobs or types, which a bulk action's job is not.
func May(id auth.Identity, a frame.BulkAction) bool {
	ordered := id.MayOrder(needed(a))
	if a == frame.BulkErase {
		ordered = id.May(auth.Erase)
	}
	return id.Grant == nil && id.May(auth.Read) && ordered
}

// Needs returns the permissions of May, for people.
func Needs(a frame.BulkAction) string { return (auth.Read | needed(a)).String() }

// Plan lists the jobs of a bulk action. A job takes 20 bytes of memory, and about 23 in a payload.
type Plan struct {
	ids    [][16]byte
	rounds []uint32
}

// Len returns the number of jobs.
func (p *Plan) Len() int { return len(p.ids) }

// Job returns the ID and the round of a job.
func (p *Plan) Job(i int) (id string, round int64) {
	return uuid.UUID(p.ids[i]).String(), int64(p.rounds[i])
}

// add adds a job.
func (p *Plan) add(id string, round int64) error {
	u, err := uuid.Parse(id)
	if err != nil {
		return fmt.Errorf("job %q: %w", id, err)
	}
	if round < 0 || round > math.MaxUint32 {
		return fmt.Errorf("job %s: round %d", id, round)
	}
	p.ids, p.rounds = append(p.ids, u), append(p.rounds, uint32(round))
	return nil
}

// MarshalJSON implements json.Marshaler: base64 of the jobs, each its ID's 16 bytes and its round as a varint.
func (p Plan) MarshalJSON() ([]byte, error) {
	packed := make([]byte, 0, 17*len(p.ids))
	for i, id := range p.ids {
		packed = binary.AppendUvarint(append(packed, id[:]...), uint64(p.rounds[i]))
	}
	return plainjson.Marshal(packed)
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Plan) UnmarshalJSON(b []byte) error {
	var packed []byte
	if err := json.Unmarshal(b, &packed); err != nil {
		return err
	}
	n := len(packed) / 17
	*p = Plan{ids: make([][16]byte, 0, n), rounds: make([]uint32, 0, n)}
	for len(packed) > 0 {
		if len(packed) < 17 {
			return errPlan
		}
		id := [16]byte(packed)
		round, size := binary.Uvarint(packed[16:])
		if size <= 0 || round > math.MaxUint32 || len(p.ids) == frame.MaxBulk {
			return errPlan
		}
		p.ids, p.rounds = append(p.ids, id), append(p.rounds, uint32(round))
		packed = packed[16+size:]
	}
	return nil
}

var errPlan = errors.New("the plan of the bulk action is not readable")
