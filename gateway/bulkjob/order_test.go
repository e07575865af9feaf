package bulkjob

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

func TestAnOrderIsReadAsItWasWritten(t *testing.T) {
	o := Order{
		V: orderVersion, Action: frame.BulkRetry, States: []job.State{job.Failed}, Tenant: "acme", RequestID: "r",
		Filter: frame.BulkFilter{"state": {"failed"}},
		By: byOf(auth.Identity{
			Tenant: "acme", Subject: "carol", Permissions: auth.Client | auth.CancelTenant, TokenID: "t",
		}),
	}
	for i := range maxWithoutBlobs {
		if err := o.Plan.add(uuid.NewString(), int64(i%3*100)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := o.encode()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 262144 {
		t.Errorf("%d bytes for %d jobs: more than inline-payload", len(b), maxWithoutBlobs)
	}
	got, err := decodeOrder(b)
	if err != nil || !reflect.DeepEqual(*got, o) {
		t.Errorf("%v, %+v", err, got)
	}
	id, err := got.By.identity()
	if err != nil || id.Permissions != auth.Client|auth.CancelTenant || id.Subject != "carol" {
		t.Errorf("%v, %+v", err, id)
	}
	for _, wrong := range []string{`{}`, `{"v":2}`, `{"v":1,"plan":"AA=="}`, `{"v":1,"plan":"` + strings.Repeat("/", 24) +
		`"}`, `{"v":1,"plan":7}`, `[]`} {
		if got, err := decodeOrder([]byte(wrong)); err == nil {
			t.Errorf("%s gives %+v", wrong, got)
		}
	}
}

// TestABulkActionReachesWhatASingleOrderWould: and no job that its client may not read.
func TestABulkActionReachesWhatASingleOrderWould(t *testing.T) {
	of := func(p auth.Permissions) auth.Identity {
		return auth.Identity{Tenant: "acme", Subject: "carol", Permissions: p}
	}
	for _, c := range []struct {
		what   string
		id     auth.Identity
		action frame.BulkAction
		may    bool
		own    bool
	}{
		{"a client retries its own", of(auth.Client), frame.BulkRetry, true, true},
		{"read:tenant alone", of(auth.Client | auth.ReadTenant), frame.BulkRetry, true, true},
		{"cancel:tenant without read:tenant", of(auth.Client | auth.CancelTenant), frame.BulkCancel, true, true},
		{"both", of(auth.Client | auth.CancelTenant | auth.ReadTenant), frame.BulkCancel, true, false},
		{"no submit", of(auth.Read | auth.Cancel), frame.BulkRetry, false, true},
		{"no read", of(auth.Submit | auth.Cancel), frame.BulkCancel, false, true},
		{"no erase", of(auth.Client), frame.BulkErase, false, true},
		{"erase", of(auth.Read | auth.Erase), frame.BulkErase, true, true},
		{"an operator has no erase", of(auth.Operate | auth.Read), frame.BulkErase, false, false},
		{"an operator cancels", of(auth.Operate | auth.Read), frame.BulkCancel, true, false},
		{"a grant", auth.Identity{Permissions: auth.Everything, Grant: &auth.Grant{}}, frame.BulkCancel, false, false},
	} {
		if got := May(c.id, c.action); got != c.may {
			t.Errorf("%s: may %t", c.what, got)
		}
		if got := Scope(c.id, c.action); got.Own != c.own {
			t.Errorf("%s: own %t", c.what, got.Own)
		}
	}
}
