package auth

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/grant"
)

const (
	jobA = "0198c5c4-0000-7000-8000-00000000000a"
	jobB = "0198c5c4-0000-7000-8000-00000000000b"
)

var (
	grantKey = strings.Repeat("g", 32)
	newerKey = strings.Repeat("n", 32)
	noLog    = certs.Env{Log: slog.New(slog.DiscardHandler)}
)

// granting returns a verifier whose file of keys for grants has the given lines.
func granting(t *testing.T, file string, lines ...string) *Verifier {
	t.Helper()
	writeKeys(t, file, lines...)
	cfg := command.Defaults[Config]()
	cfg.Key, cfg.GrantKeyFile = key, file
	v, err := New(cfg, noLog, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func writeKeys(t *testing.T, file string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func keyFile(t *testing.T) string { return filepath.Join(t.TempDir(), "grant.key") }

// grantBut returns a grant with good claims of which some are changed; nil removes one.
func grantBut(t *testing.T, by string, header, changes map[string]any) string {
	t.Helper()
	h := map[string]any{"alg": "HS256", "typ": grant.Type}
	c := map[string]any{
		"iss": grant.Issuer, "aud": "ackwire", "tenant": "acme", "sub": "alice", "jti": "1", "permissions": []string{"read"},
		"iat": time.Now().Unix(), "exp": in(time.Hour), "ackwire_grant": map[string]any{"jobs": []string{jobA}},
	}
	for to, from := range map[*map[string]any]map[string]any{&h: header, &c: changes} {
		for name, value := range from {
			(*to)[name] = value
			if value == nil {
				delete(*to, name)
			}
		}
	}
	return token(t, jwt.SigningMethodHS256, h, c, []byte(by))
}

// TestGrantClaims decides by its claims whether a grant is accepted; clocks may differ by 30 s.
func TestGrantClaims(t *testing.T) {
	file := keyFile(t)
	bubble.Test(t, func(t *testing.T) {
		v := granting(t, file, grantKey)
		type claims = map[string]any
		jobs := func(names ...string) claims { return claims{"ackwire_grant": claims{"jobs": names}} }
		hundred := make([]string, 101)
		for i := range hundred {
			hundred[i] = fmt.Sprintf("0198c5c4-0000-7000-8000-%012d", i)
		}
		for _, c := range []struct {
			what            string
			header, changes claims
			taken           bool
		}{
			{"a good one", nil, nil, true},
			{"the header of a token", claims{"typ": "JWT"}, nil, false},
			{"no typ", claims{"typ": nil}, nil, false},
			{"another typ", claims{"typ": "ACKWIRE-GRANT"}, nil, false},
			{"another algorithm", claims{"alg": "HS384"}, nil, false},
			{"no algorithm", claims{"alg": "none"}, nil, false},
			{"the issuer of tokens", nil, claims{"iss": Issuer}, false},
			{"another deployment", nil, claims{"aud": "staging"}, false},
			{"an audience in a list", nil, claims{"aud": []string{"staging", "ackwire"}}, true},
			{"no audience", nil, claims{"aud": nil}, false},
			{"no tenant", nil, claims{"tenant": nil}, false},
			{"no jti", nil, claims{"jti": nil}, false},
			{"no iat", nil, claims{"iat": nil}, false},
			{"no exp", nil, claims{"exp": nil}, false},
			{"an exp in fractions", nil, claims{"exp": float64(time.Now().Unix()) + 1.5}, true},
			{"no permissions", nil, claims{"permissions": nil}, false},
			{"permissions in a string", nil, claims{"permissions": "read"}, false},
			{"unknown permissions", nil, claims{"permissions": []string{"read", "fly"}}, true},
			{"no jobs", nil, claims{"ackwire_grant": nil}, false},
			{"empty jobs", nil, jobs(), false},
			{"100 jobs", nil, jobs(hundred[:100]...), true},
			{"101 jobs", nil, jobs(hundred...), false},
			{"something that is no job ID", nil, jobs("x"), false},
			{"types", nil, claims{"ackwire_grant": claims{"types": []string{"a"}}}, true},
			{"an unknown restriction", nil, claims{"ackwire_grant": claims{"types": []string{"a"}, "states": "x"}}, false},
			{"valid for a day", nil, claims{"exp": in(24 * time.Hour)}, true},
			{"valid for more", nil, claims{"exp": in(24*time.Hour + time.Second)}, false},
			{"made in the future, within the leeway", nil, claims{"iat": in(29 * time.Second)}, true},
			{"made in the future, beyond it", nil, claims{"iat": in(31 * time.Second)}, false},
			{"ended within the leeway", nil, claims{"iat": in(-time.Hour), "exp": in(-29 * time.Second)}, true},
			{"ended beyond it", nil, claims{"iat": in(-time.Hour), "exp": in(-31 * time.Second)}, false},
		} {
			id, err := v.Verify(grantBut(t, grantKey, c.header, c.changes))
			if taken := err == nil; taken != c.taken {
				t.Errorf("%s: %+v, %v", c.what, id, err)
			}
			if err != nil && (!errors.Is(err, ErrUnauthenticated) || id != Identity{}) {
				t.Errorf("%s: refused with %+v, %v", c.what, id, err)
			}
			if err == nil && (id.Grant == nil || id.Tenant != "acme" || id.Subject != "alice" || id.Permissions != Read) {
				t.Errorf("%s: %+v", c.what, id)
			}
		}
	})
}

// TestOnlyKeysForGrantsSignGrants: neither the key for tokens nor a stranger's makes grants, and the key for grants
// makes no tokens.
func TestOnlyKeysForGrantsSignGrants(t *testing.T) {
	v := granting(t, keyFile(t), grantKey)
	for what, by := range map[string]string{"the key for tokens": string(key), "another key": newerKey, "no key": ""} {
		if id, err := v.Verify(grantBut(t, by, nil, nil)); err == nil {
			t.Errorf("by %s: %+v", what, id)
		}
	}
	for _, header := range []map[string]any{hs256, {"alg": "HS256"}} {
		if id, err := v.Verify(token(t, jwt.SigningMethodHS256, header, good(), []byte(grantKey))); err == nil {
			t.Errorf("a token by the key for grants: %+v", id)
		}
	}
	without := verifier(t, key, "")
	if id, err := without.Verify(grantBut(t, grantKey, nil, nil)); err == nil {
		t.Errorf("without a key for grants: %+v", id)
	}
	reader := Identity{Tenant: "acme", Permissions: Read}
	if g, _, err := without.NewGrant(reader, asked(60)); problemCode(err) != code.Forbidden {
		t.Errorf("without a key for grants: %+v, %v", g, err)
	}
	same := command.Defaults[Config]()
	same.Key, same.GrantKeyFile = []byte(grantKey), keyFile(t)
	writeKeys(t, same.GrantKeyFile, newerKey, grantKey)
	if _, err := New(same, noLog, nil, nil); err == nil || strings.Contains(err.Error(), "ggg") {
		t.Errorf("one key for both: %v", err)
	}
}

// TestKeysForGrantsChange: a key is changed while gateways run, without an instant at which a grant is refused.
func TestKeysForGrantsChange(t *testing.T) {
	file, other := keyFile(t), keyFile(t)
	bubble.Test(t, func(t *testing.T) {
		// Two gateways, whose files do not change at the same time.
		gateways := []*Verifier{granting(t, file, grantKey), granting(t, other, grantKey)}
		files := []string{file, other}
		id := Identity{Tenant: "acme", Subject: "alice", Permissions: Client, Expires: time.Now().Add(time.Hour)}
		var made []string
		for step, lines := range [][]string{{grantKey}, {grantKey, newerKey}, {newerKey, grantKey}} {
			for i := range gateways {
				writeKeys(t, files[i], lines...)
				time.Sleep(2 * time.Second)
				for _, v := range gateways {
					g, _, err := v.NewGrant(id, asked(600))
					if err != nil {
						t.Fatal(err)
					}
					made = append(made, g.Token)
				}
				for _, token := range made {
					for which, v := range gateways {
						if _, err := v.Verify(token); err != nil {
							t.Errorf("step %d, gateway %d: %v", step, which, err)
						}
					}
				}
			}
		}
		writeKeys(t, file, newerKey)
		time.Sleep(2 * time.Second)
		if _, err := gateways[0].Verify(made[0]); err == nil {
			t.Error("a grant by the former key is taken after the change")
		}
		if _, err := gateways[0].Verify(made[len(made)-1]); err != nil {
			t.Errorf("a grant by the newer key: %v", err)
		}
		writeKeys(t, file, "short")
		time.Sleep(4 * time.Second)
		if _, err := gateways[0].Verify(made[len(made)-1]); err != nil {
			t.Errorf("after a file that cannot be used: %v", err)
		}
	})
}

// TestGrantsOfOtherDeployments: a grant does not open another deployment, even one that has the same key.
func TestGrantsOfOtherDeployments(t *testing.T) {
	file := keyFile(t)
	here := granting(t, file, grantKey)
	cfg := command.Defaults[Config]()
	cfg.Key, cfg.GrantKeyFile, cfg.Audience = key, file, "staging"
	there, err := New(cfg, noLog, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	stranger := granting(t, keyFile(t), newerKey)
	g, _, err := there.NewGrant(Identity{Tenant: "acme", Subject: "alice", Permissions: Client}, asked(600))
	if err != nil {
		t.Fatal(err)
	}
	for what, v := range map[string]*Verifier{"with the same key": here, "with another key": stranger} {
		if id, err := v.Verify(g.Token); err == nil {
			t.Errorf("%s: %+v", what, id)
		}
	}
	if _, err := there.Verify(g.Token); err != nil {
		t.Error(err)
	}
}

func asked(ttl float64, permissions ...string) frame.GrantRequest {
	return frame.GrantRequest{
		Jobs: []string{jobA}, GrantOptions: frame.GrantOptions{TTL: ttl, Permissions: permissions},
	}
}

func problemCode(err error) code.Code {
	p, _ := errors.AsType[frame.Problem](err)
	return p.Code
}

// TestNewGrant: a grant is never wider than its maker, and one that is made by a grant never lasts longer.
func TestNewGrant(t *testing.T) {
	file := keyFile(t)
	bubble.Test(t, func(t *testing.T) {
		v := granting(t, file, grantKey)
		now := time.Now()
		backend := Identity{
			Tenant: "acme", Subject: "backend", Permissions: Client | ReadTenant, Expires: now.Add(time.Minute),
		}
		reader := Identity{Tenant: "acme", Subject: "alice", Permissions: Read, Expires: now.Add(time.Hour)}
		submitter := Identity{Tenant: "acme", Subject: "alice", Permissions: Submit, Expires: now.Add(time.Hour)}
		anonymous := Identity{Tenant: "local", Permissions: Everything}
		ofJobs, ofType := reader, reader
		ofJobs.Grant, ofType.Grant = &Grant{Jobs: []string{jobA, jobB}}, &Grant{Types: []string{"a", "b"}}
		ended := ofJobs
		ended.Expires = now.Add(-10 * time.Second) // within the leeway
		scope := func(jobs, types []string) frame.GrantRequest {
			return frame.GrantRequest{Jobs: jobs, Types: types, GrantOptions: frame.GrantOptions{TTL: 60}}
		}
		otherJob := "0198c5c4-0000-7000-8000-00000000000c"
		for _, c := range []struct {
			what    string
			maker   Identity
			asked   frame.GrantRequest
			refused code.Code
			lasts   time.Duration
			grant   Grant
			may     Permissions
		}{
			{"read is what it permits", backend, asked(600), "", 10 * time.Minute, Grant{Jobs: []string{jobA}}, Read},
			{"no ttl", backend, asked(0), code.InvalidFrame, 0, Grant{}, 0},
			{"more than a day", backend, asked(86401), code.InvalidFrame, 0, Grant{}, 0},
			{"a day", backend, asked(86400), "", 24 * time.Hour, Grant{Jobs: []string{jobA}}, Read},
			{"two permissions", backend, asked(60, "cancel", "read:tenant"), "", time.Minute, Grant{Jobs: []string{jobA}},
				Cancel | ReadTenant | Read},
			{"one that its maker has not", backend, asked(60, "cancel:tenant"), code.Forbidden, 0, Grant{}, 0},
			{"read, by one who may not", submitter, asked(60), code.Forbidden, 0, Grant{}, 0},
			{"what there is not", backend, asked(60, "fly"), code.InvalidFrame, 0, Grant{}, 0},
			{"nothing", backend, scope(nil, nil), code.InvalidFrame, 0, Grant{}, 0},
			{"by a client without a token", anonymous, asked(60, "read", "cancel"), "", time.Minute,
				Grant{Jobs: []string{jobA}}, Read | Cancel},

			{"one of its jobs", ofJobs, asked(60), "", time.Minute, Grant{Jobs: []string{jobA}}, Read},
			{"another job", ofJobs, scope([]string{jobA, otherJob}, nil), code.Forbidden, 0, Grant{}, 0},
			{"a type of its jobs", ofJobs, scope(nil, []string{"a"}), "", time.Minute,
				Grant{Jobs: []string{jobA, jobB}, Types: []string{"a"}}, Read},
			{"a job of its types", ofType, asked(60), "", time.Minute,
				Grant{Jobs: []string{jobA}, Types: []string{"a", "b"}}, Read},
			{"one of its types", ofType, scope(nil, []string{"b"}), "", time.Minute, Grant{Types: []string{"b"}}, Read},
			{"another type", ofType, scope(nil, []string{"c"}), code.Forbidden, 0, Grant{}, 0},
			{"nothing, by a grant", ofJobs, scope(nil, nil), code.InvalidFrame, 0, Grant{}, 0},
			{"for longer", ofJobs, asked(7200), "", time.Hour, Grant{Jobs: []string{jobA}}, Read},
			{"more permissions", ofJobs, asked(60, "cancel"), code.Forbidden, 0, Grant{}, 0},
			{"after its end", ended, asked(60), code.Forbidden, 0, Grant{}, 0},
		} {
			if err := v.CheckGrant(c.maker, c.asked); problemCode(err) != c.refused {
				t.Errorf("%s: checked as %v", c.what, err)
			}
			g, _, err := v.NewGrant(c.maker, c.asked)
			if problemCode(err) != c.refused || (err == nil) != (c.refused == "") {
				t.Errorf("%s: %+v, %v", c.what, g, err)
			}
			if err != nil {
				continue
			}
			id, err := v.Verify(g.Token)
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
				continue
			}
			if id.Tenant != c.maker.Tenant || id.Subject != c.maker.Subject || id.Anonymous() || id.Permissions != c.may ||
				!reflect.DeepEqual(*id.Grant, c.grant) {
				t.Errorf("%s: %+v, %+v", c.what, id, id.Grant)
			}
			if lasts := time.Until(g.ExpiresAt); lasts != c.lasts || !id.Expires.Equal(g.ExpiresAt) {
				t.Errorf("%s: it lasts %s", c.what, lasts)
			}
		}
	})
}

// TestTokensWithTheClaimOfGrants: an identity provider's token may be restricted like a grant.
func TestTokensWithTheClaimOfGrants(t *testing.T) {
	v := verifier(t, key, "")
	type object = map[string]any
	for _, c := range []struct {
		what  string
		claim any
		want  *Grant // nil: the token is refused
	}{
		{"jobs", object{"jobs": []string{jobB, jobA}}, &Grant{Jobs: []string{jobA, jobB}}},
		{"types", object{"types": []string{"a"}}, &Grant{Types: []string{"a"}}},
		{"nothing", object{}, nil},
		{"a text", "all", nil},
		{"a null", nil, nil},
		{"no job ID", object{"jobs": []string{"all"}}, nil},
		{"what is not known", object{"jobs": []string{jobA}, "more": 1}, nil},
	} {
		claims := good()
		claims[grant.ScopeClaim] = c.claim
		id, err := v.Verify(token(t, jwt.SigningMethodHS256, hs256, claims, key))
		if (err == nil) != (c.want != nil) || err == nil && !reflect.DeepEqual(id.Grant, c.want) {
			t.Errorf("%s: %+v, %v", c.what, id.Grant, err)
		}
	}
	if id, err := v.Verify(but(t, nil)); err != nil || id.Grant != nil {
		t.Errorf("without the claim: %+v, %v", id.Grant, err)
	}
}

// TestIdentifyByURL: a grant in the URL is the request's identity, if it may stand there and nothing else is.
func TestIdentifyByURL(t *testing.T) {
	v := granting(t, keyFile(t), grantKey)
	v.cfg.AnonymousTenant = "local"
	narrow, wide := grantBut(t, grantKey, nil, nil), grantBut(t, grantKey, nil, map[string]any{
		"permissions": []string{"cancel"},
	})
	for _, c := range []struct {
		what, query, bearer string
		want                error
	}{
		{"one to read", "?grant=" + narrow, "", nil},
		{"one to cancel", "?grant=" + wide, "", ErrNotInURL},
		{"a token", "?grant=" + but(t, nil), "", ErrNotInURL},
		{"a token in the header, too", "?grant=" + narrow, but(t, nil), ErrTwoTokens},
		{"none", "?grant=", "", ErrUnauthenticated},
		{"two", "?grant=" + narrow + "&grant=" + narrow, "", ErrUnauthenticated},
		{"a forged one", "?grant=" + narrow[:len(narrow)-4] + "AAAA", "", ErrUnauthenticated},
	} {
		r := httptest.NewRequest("GET", "/v1/events"+c.query, nil)
		if c.bearer != "" {
			r.Header.Set("Authorization", "Bearer "+c.bearer)
		}
		id, present, err := v.Identify(r)
		if !present || !errors.Is(err, c.want) || (err == nil) != (id.Grant != nil) {
			t.Errorf("%s: %+v, %t, %v", c.what, id, present, err)
		}
	}
}

// TestWhatMayStandInAURL: only what is limited to jobs, and can only read them.
func TestWhatMayStandInAURL(t *testing.T) {
	for _, p := range slices.Sorted(slices.Values(PermissionNames())) {
		permissions, err := ParsePermissions(p)
		if err != nil {
			t.Fatal(err)
		}
		id := Identity{Grant: &Grant{Jobs: []string{jobA}}, Permissions: permissions}
		if want := p == "read" || p == "read:tenant" || p == "payloads"; id.InURL() != want {
			t.Errorf("%s: %t", p, id.InURL())
		}
		for _, g := range []*Grant{nil, {}, {Types: []string{"a"}}} {
			if id := (Identity{Grant: g, Permissions: Read}); id.InURL() {
				t.Errorf("%+v may", g)
			}
		}
	}
	for query, want := range map[string]string{
		"": "-", "?job=1": "-", "?grant=abc": "abc", "?%67rant=abc": "abc", "?job=1&grant=a.b": "a.b", "?grant=": "",
		"?grant=a&grant=b": "",
	} {
		got, ok := URLGrant(httptest.NewRequest("GET", "/v1/events"+query, io.Reader(nil)))
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%q: %q", query, got)
		}
	}
}
