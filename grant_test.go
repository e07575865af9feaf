package ackwire_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire"
)

// TestGrantKey makes grants offline; embedded/sim shows that gateways take them.
func TestGrantKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := ackwire.GrantKey{Secret: []byte(strings.Repeat("k", 32)), Audience: "staging"}
		request := ackwire.GrantRequest{Jobs: []string{"0198c5c4-0000-7000-8000-00000000000a"}, TTL: 10 * time.Minute}
		g, err := key.Grant("acme", "alice", request)
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(g.Expires); left != 10*time.Minute || strings.Count(g.Token, ".") != 2 {
			t.Errorf("%s, valid for %s", g.Token, left)
		}
		if again, err := key.Grant("acme", "alice", request); err != nil || again.Token == g.Token {
			t.Errorf("two grants are the same, %v", err)
		}
		request.TTL = 25 * time.Hour
		if g, err := key.Grant("acme", "alice", request); err == nil {
			t.Errorf("for a day and an hour: %+v", g)
		}
		request.TTL = time.Hour
		key.Secret = key.Secret[1:]
		if g, err := key.Grant("acme", "alice", request); err == nil || strings.Contains(err.Error(), "kkk") {
			t.Errorf("with a short key: %+v, %v", g, err)
		}
	})
}
