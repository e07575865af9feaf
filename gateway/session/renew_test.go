package session

import (
	"strings"
	"testing"

	"github.com/ackwire/ackwire/gateway/auth"
)

// TestMineEndsWithItsPermission: a renewed token that may not read ends the watch of all jobs, and drops what waits for
// it.
func TestMineEndsWithItsPermission(t *testing.T) {
	for what, id := range map[string]auth.Identity{
		"no reading": {Tenant: "acme", Subject: "alice", Permissions: auth.Submit},
		"a grant": {
			Tenant: "acme", Subject: "alice", Permissions: auth.Client, Grant: &auth.Grant{Jobs: []string{"j"}},
		},
	} {
		b := newBare(t)
		b.follow("")
		b.now("j", 5, false)
		b.tell("j")
		b.s.identity = id
		b.s.renewed(id)
		if b.s.subject != nil {
			t.Errorf("%s: all jobs are watched", what)
		}
		frames, _, _ := b.s.out.Take(nil, nil, 1<<20)
		var sent []string
		for _, f := range frames {
			sent = append(sent, string(f.Bytes))
		}
		all := strings.Join(sent, " ")
		if !strings.Contains(all, `{"type":"unsubscribed","jobs":[],"mine":true,"error":"forbidden"}`) ||
			strings.Contains(all, `"status"`) {
			t.Errorf("%s: sent %s", what, all)
		}
	}
}
