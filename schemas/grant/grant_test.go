package grant

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	jobA = "0198c5c4-0000-7000-8000-00000000000a"
	jobB = "0198c5c4-0000-7000-8000-00000000000b"
)

var key = []byte(strings.Repeat("k", MinKeyBytes))

// jobIDs returns n different job IDs.
func jobIDs(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("0198c5c4-0000-7000-8000-%012d", i))
	}
	return ids
}

func made(t *testing.T) Claims {
	t.Helper()
	c, err := New("acme", "alice", Scope{Jobs: []string{jobA}}, []string{"read"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSign checks a grant against RFC 7515, without the code that made it.
func TestSign(t *testing.T) {
	now := time.Unix(1_780_000_000, 999)
	c, err := New("acme", "alice", Scope{Jobs: []string{jobB, strings.ToUpper(jobA), jobA}}, []string{"read"}, now,
		10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	part := strings.Split(token, ".")
	var got [2]map[string]any
	for i := range got {
		b, err := base64.RawURLEncoding.DecodeString(part[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &got[i]); err != nil {
			t.Fatal(err)
		}
	}
	if id, _ := got[1]["jti"].(string); len(id) < 20 {
		t.Errorf("jti is %q", id)
	}
	delete(got[1], "jti")
	want := [2]map[string]any{{"alg": "HS256", "typ": "ackwire-grant"}, {
		"iss": "ackwire-grant", "aud": "ackwire", "tenant": "acme", "sub": "alice", "iat": 1_780_000_000.,
		"exp": 1_780_000_600., "permissions": []any{"read"}, "ackwire_grant": map[string]any{"jobs": []any{jobA, jobB}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it says %v", got)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(part[0] + "." + part[1]))
	if sum := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); sum != part[2] {
		t.Errorf("it is signed %s", part[2])
	}
}

// TestBounds: no grant is made beyond the bounds.
func TestBounds(t *testing.T) {
	one := Scope{Jobs: []string{jobA}}
	for _, c := range []struct {
		what        string
		tenant, sub string
		scope       Scope
		permissions []string
		ttl         time.Duration
		taken       bool
	}{
		{"a second", "a", "b", one, []string{"read"}, time.Second, true},
		{"less", "a", "b", one, []string{"read"}, time.Second - 1, false},
		{"a day", "a", "b", one, []string{"read"}, 24 * time.Hour, true},
		{"more", "a", "b", one, []string{"read"}, 24*time.Hour + 1, false},
		{"100 jobs", "a", "b", Scope{Jobs: jobIDs(100)}, []string{"read"}, time.Hour, true},
		{"101 jobs", "a", "b", Scope{Jobs: jobIDs(101)}, []string{"read"}, time.Hour, false},
		{"a type", "a", "b", Scope{Types: []string{"report.generate"}}, []string{"read"}, time.Hour, true},
		{"101 types", "a", "b", Scope{Types: jobIDs(101)}, []string{"read"}, time.Hour, false},
		{"nothing", "a", "b", Scope{}, []string{"read"}, time.Hour, false},
		{"jobs and types", "a", "b", Scope{Jobs: one.Jobs, Types: []string{"x"}}, []string{"read"}, time.Hour, true},
		{"no job ID", "a", "b", Scope{Jobs: []string{"x"}}, []string{"read"}, time.Hour, false},
		{"an empty type", "a", "b", Scope{Types: []string{""}}, []string{"read"}, time.Hour, false},
		{"no permission", "a", "b", one, nil, time.Hour, false},
		{"an empty one", "a", "b", one, []string{""}, time.Hour, false},
		{"no tenant", "", "b", one, []string{"read"}, time.Hour, false},
		{"no subject", "a", "", one, []string{"read"}, time.Hour, true},
		{"a long subject", "a", strings.Repeat("x", 129), one, []string{"read"}, time.Hour, false},
	} {
		claims, err := New(c.tenant, c.sub, c.scope, c.permissions, time.Now(), c.ttl)
		if (err == nil) != c.taken {
			t.Errorf("%s: %+v, %v", c.what, claims, err)
		}
		if token, err := claims.Sign(key); (err == nil) != c.taken {
			t.Errorf("%s: signed %q, %v", c.what, token, err)
		}
	}
	if token, err := made(t).Sign(key[1:]); err == nil {
		t.Errorf("a short key signs %s", token)
	}
}

// TestAGrantOf100JobsFits: a grant with all that it may hold is a token that gateways read.
func TestAGrantOf100JobsFits(t *testing.T) {
	c, err := New(strings.Repeat("t", maxName), strings.Repeat("s", maxName), Scope{Jobs: jobIDs(MaxJobs)},
		[]string{"read", "cancel"}, time.Now(), MaxTTL)
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Sign(key)
	if err != nil || len(token) > MaxBytes {
		t.Errorf("%d bytes, %v", len(token), err)
	}
	types := make([]string, MaxJobs)
	for i := range types {
		types[i] = fmt.Sprintf("%0128d", i)
	}
	if c, err = New("acme", "alice", Scope{Types: types}, []string{"read"}, time.Now(), MaxTTL); err != nil {
		t.Fatal(err)
	}
	if token, err = c.Sign(key); err == nil {
		t.Errorf("one of %d bytes is made", len(token))
	}
}

// TestCheck: claims that somebody else has written are refused, one fault at a time.
func TestCheck(t *testing.T) {
	for what, break_ := range map[string]func(*Claims){
		"issuer":         func(c *Claims) { c.Issuer = "ackwire" },
		"audience":       func(c *Claims) { c.Audience = "" },
		"jti":            func(c *Claims) { c.ID = "" },
		"no iat":         func(c *Claims) { c.IssuedAt = 0 },
		"ends before":    func(c *Claims) { c.Expires = c.IssuedAt },
		"over a day":     func(c *Claims) { c.Expires = c.IssuedAt + 86401 },
		"overflow":       func(c *Claims) { c.IssuedAt, c.Expires = 1<<62, -1<<62 },
		"33 permissions": func(c *Claims) { c.Permissions = jobIDs(33) },
		"permissions":    func(c *Claims) { c.Permissions = nil },
		"scope":          func(c *Claims) { c.Scope = Scope{} },
		"not UTF-8":      func(c *Claims) { c.Subject = "\xff" },
	} {
		c := made(t)
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		break_(&c)
		if c.Check() == nil {
			t.Errorf("%s: taken", what)
		}
	}
}
