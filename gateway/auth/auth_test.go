package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/command"
)

var key = []byte("a key of the tests, long enough: 32+")

func verifier(t *testing.T, key []byte, anonymous string) *Verifier {
	t.Helper()
	cfg := command.Defaults[Config]()
	cfg.Key, cfg.AnonymousTenant = key, anonymous
	v, err := New(cfg, noLog, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// token makes tokens that Sign would not make: with any header and any claims.
func token(t *testing.T, method jwt.SigningMethod, header map[string]any, body any, by any) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(header) + "." + part(body)
	sig, err := method.Sign(signed, by)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// good returns the claims of a token that is accepted.
func good() map[string]any {
	return map[string]any{
		"iss": Issuer, "aud": Issuer, "sub": "s", "tenant": "alice",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
}

var hs256 = map[string]any{"alg": "HS256", "typ": "JWT"}

// but returns a token with good claims of which some are changed; nil removes one.
func but(t *testing.T, changes map[string]any) string {
	t.Helper()
	c := good()
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return token(t, jwt.SigningMethodHS256, hs256, c, key)
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

// Claims decide whether a token is accepted; clocks may differ by 30 s.
func TestClaims(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		v := verifier(t, key, "local")
		for _, c := range []struct {
			what    string
			changes map[string]any
			taken   bool
		}{
			{"a good one", nil, true},
			{"an audience in a list", map[string]any{"aud": []string{"other", Issuer}}, true},
			{"unknown claims", map[string]any{"roles": []string{"admin"}}, true},
			{"no sub", map[string]any{"sub": nil}, false},
			{"an empty sub", map[string]any{"sub": ""}, false},
			{"no iat", map[string]any{"iat": nil}, true},
			{"no exp", map[string]any{"exp": nil}, false},
			{"an exp of 0", map[string]any{"exp": 0}, false},
			{"an exp in the year 9999", map[string]any{"exp": 253402300799}, true},
			{"an exp in the year 10000", map[string]any{"exp": 253402300800}, false},
			{"an exp beyond all time", map[string]any{"exp": 1e300}, false},
			{"a negative exp", map[string]any{"exp": -62135596800}, false},
			{"an exp in words", map[string]any{"exp": "tomorrow"}, false},
			{"expired within the leeway", map[string]any{"exp": in(-29 * time.Second)}, true},
			{"expired by the leeway", map[string]any{"exp": in(-30 * time.Second)}, false},
			{"expired beyond the leeway", map[string]any{"exp": in(-31 * time.Second)}, false},
			{"expired long ago", map[string]any{"exp": in(-24 * time.Hour)}, false},
			{"not before long ago", map[string]any{"nbf": in(-time.Hour)}, true},
			{"not before soon, within the leeway", map[string]any{"nbf": in(29 * time.Second)}, true},
			{"not before soon, beyond the leeway", map[string]any{"nbf": in(31 * time.Second)}, false},
			{"issued soon, within the leeway", map[string]any{"iat": in(29 * time.Second)}, true},
			{"issued soon, beyond the leeway", map[string]any{"iat": in(31 * time.Second)}, false},
			{"another issuer", map[string]any{"iss": "other"}, false},
			{"no issuer", map[string]any{"iss": nil}, false},
			{"an issuer in capitals", map[string]any{"iss": "Ackwire"}, false},
			{"another audience", map[string]any{"aud": "other"}, false},
			{"no audience", map[string]any{"aud": nil}, false},
			{"an empty list of audiences", map[string]any{"aud": []string{}}, false},
			{"no tenant", map[string]any{"tenant": nil}, false},
			{"an empty tenant", map[string]any{"tenant": ""}, false},
			{"a tenant that is a number", map[string]any{"tenant": 7}, false},
			{"a tenant that is a list", map[string]any{"tenant": []string{"alice"}}, false},
			{"a tenant of 128 bytes", map[string]any{"tenant": strings.Repeat("x", 128)}, true},
			{"a tenant of 129 bytes", map[string]any{"tenant": strings.Repeat("x", 129)}, false},
			{"a subject of 129 bytes", map[string]any{"sub": strings.Repeat("x", 129)}, false},
			{"a subject that is a number", map[string]any{"sub": 7}, false},
		} {
			id, err := v.Verify(but(t, c.changes))
			if taken := err == nil; taken != c.taken {
				t.Errorf("%s: %+v, %v", c.what, id, err)
			}
			if err != nil && (!errors.Is(err, ErrUnauthenticated) || id != Identity{}) {
				t.Errorf("%s: refused with %+v, %v", c.what, id, err)
			}
			if err == nil && (id.Tenant == "" || id.Anonymous() || !id.Expires.After(time.Now().Add(-Leeway))) {
				t.Errorf("%s: identity %+v", c.what, id)
			}
		}
	})
}

// A client is warned in time to renew its token, and its sessions end when the leeway after the expiry is over.
func TestWarnings(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		for left, want := range map[time.Duration]time.Duration{
			-time.Minute: 0, 0: 0, 10 * time.Second: 9 * time.Second, time.Minute: 54 * time.Second,
			10 * time.Minute: 9 * time.Minute, time.Hour: 59 * time.Minute,
		} {
			id := Identity{Expires: time.Now().Add(left)}
			if warn, over := id.UntilWarning(), id.UntilOver(); warn != want || over != left+Leeway {
				t.Errorf("%s before the end: warned in %s, over in %s", left, warn, over)
			}
		}
		far := Identity{Expires: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}
		if far.UntilWarning() < 100*365*24*time.Hour || far.UntilOver() < 100*365*24*time.Hour {
			t.Errorf("the year 9999: warned in %s, over in %s", far.UntilWarning(), far.UntilOver())
		}
	})
}

// Only a HS256 signature by the configured key is accepted.
func TestSignatures(t *testing.T) {
	v := verifier(t, key, "")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	hmac := func(alg any) string {
		return token(t, jwt.SigningMethodHS256, map[string]any{"alg": alg, "typ": "JWT"}, good(), key)
	}
	ok := but(t, nil)
	parts := strings.Split(ok, ".")
	if _, err := v.Verify(ok); err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string]string{
		"no algorithm": token(t, jwt.SigningMethodNone, map[string]any{"alg": "none"}, good(),
			jwt.UnsafeAllowNoneSignatureType),
		"no algorithm in capitals": token(t, jwt.SigningMethodNone, map[string]any{"alg": "NONE"}, good(),
			jwt.UnsafeAllowNoneSignatureType),
		"none over a right signature":       hmac("none"),
		"no alg at all":                     token(t, jwt.SigningMethodHS256, map[string]any{"typ": "JWT"}, good(), key),
		"an alg that is a number":           hmac(256),
		"RS256 in the header, an HMAC":      hmac("RS256"),
		"HS512 in the header, HS256 signed": hmac("HS512"),
		"hs256 in small letters":            hmac("hs256"),
		"RS256 by some key":                 token(t, jwt.SigningMethodRS256, map[string]any{"alg": "RS256"}, good(), rsaKey),
		"HS384 by the right key":            token(t, jwt.SigningMethodHS384, map[string]any{"alg": "HS384"}, good(), key),
		"HS512 by the right key":            token(t, jwt.SigningMethodHS512, map[string]any{"alg": "HS512"}, good(), key),
		"another key": token(t, jwt.SigningMethodHS256, hs256, good(),
			[]byte("another key of the tests, 32 and more")),
		"an empty key": token(t, jwt.SigningMethodHS256, hs256, good(), []byte{}),
		"a key of its own in the header": token(t, jwt.SigningMethodHS256, map[string]any{"alg": "HS256",
			"jwk": map[string]any{"kty": "oct", "k": "eA"}}, good(), []byte("x")),
		"no signature":                    parts[0] + "." + parts[1] + ".",
		"half a signature":                ok[:len(ok)-20],
		"a signature in another spelling": parts[0] + "." + parts[1] + "." + parts[2][:42] + otherSpelling(parts[2][42]),
		"a padded signature":              ok + "=",
		"other claims": parts[0] + "." + strings.Split(but(t, map[string]any{"tenant": "bob"}), ".")[1] +
			"." + parts[2],
		"two tokens":                      ok + ok,
		"a line end after it":             ok + "\n",
		"a line end in the signature":     ok[:len(ok)-9] + "\r\n" + ok[len(ok)-9:],
		"a blank before it":               " " + ok,
		"nothing":                         "",
		"a dot":                           ".",
		"two dots":                        "..",
		"three dots":                      "...",
		"four parts":                      ok + ".x",
		"five parts, as an encrypted one": "a.b.c.d.e",
		"garbage":                         "not a token",
		"garbage in three parts":          "not.a.token",
		"claims that are a list":          token(t, jwt.SigningMethodHS256, hs256, []int{1}, key),
		"claims that are null":            token(t, jwt.SigningMethodHS256, hs256, nil, key),
		"NULs":                            "\x00.\x00.\x00",
		"a huge token, rightly signed":    but(t, map[string]any{"x": strings.Repeat("x", 8<<10)}),
		"a megabyte of dots":              strings.Repeat(".", 1<<20),
		"a megabyte":                      strings.Repeat("x", 1<<20),
	} {
		id, err := v.Verify(bad)
		if !errors.Is(err, ErrUnauthenticated) || (id != Identity{}) {
			t.Errorf("%s: %+v, %v", what, id, err)
		}
	}
}

// otherSpelling changes the unused bits of the last base64 character.
func otherSpelling(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

// Without a key no token is accepted, not even one that is signed with an empty key.
func TestWithoutAKey(t *testing.T) {
	for _, none := range [][]byte{nil, {}} {
		v := verifier(t, none, "local")
		for _, by := range [][]byte{key, {}} {
			if id, err := v.Verify(token(t, jwt.SigningMethodHS256, hs256, good(), by)); !errors.Is(err, ErrUnauthenticated) {
				t.Errorf("key %v: %+v, %v", none, id, err)
			}
		}
	}
}

func TestSign(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const ttl = time.Hour
		v := verifier(t, key, "")
		signed, err := Sign(key, "alice", "s", time.Now(), ttl)
		if err != nil {
			t.Fatal(err)
		}
		want := Identity{Tenant: "alice", Subject: "s", Expires: time.Now().Add(ttl)}
		id, err := v.Verify(signed)
		if err != nil || id.Tenant != want.Tenant || id.Subject != want.Subject || !id.Expires.Equal(want.Expires) ||
			id.Anonymous() {
			t.Errorf("got %+v, %v, want %+v", id, err, want)
		}
		time.Sleep(ttl + Leeway - time.Second)
		if _, err := v.Verify(signed); err != nil {
			t.Errorf("within the leeway: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := v.Verify(signed); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("beyond the leeway: %v", err)
		}
	})
	long := strings.Repeat("x", 129)
	for what, sign := range map[string]func() (string, error){
		"a short key":    func() (string, error) { return Sign(key[:31], "alice", "", time.Now(), time.Hour) },
		"no key":         func() (string, error) { return Sign(nil, "alice", "", time.Now(), time.Hour) },
		"no tenant":      func() (string, error) { return Sign(key, "", "", time.Now(), time.Hour) },
		"a long tenant":  func() (string, error) { return Sign(key, long, "", time.Now(), time.Hour) },
		"a long subject": func() (string, error) { return Sign(key, "alice", long, time.Now(), time.Hour) },
		"no ttl":         func() (string, error) { return Sign(key, "alice", "", time.Now(), 0) },
		"a negative ttl": func() (string, error) { return Sign(key, "alice", "", time.Now(), -time.Hour) },
	} {
		if signed, err := sign(); err == nil || signed != "" {
			t.Errorf("%s: %q, %v", what, signed, err)
		}
	}
}

// A token comes in the Authorization header or, from browsers, as a subprotocol.
func TestToken(t *testing.T) {
	const protocol = "Sec-Websocket-Protocol" // in its canonical spelling
	for _, c := range []struct {
		what    string
		header  http.Header
		token   string
		present bool
	}{
		{"none", http.Header{}, "", false},
		{"a header", http.Header{"Authorization": {"Bearer a.b.c"}}, "a.b.c", true},
		{"a scheme in any case", http.Header{"Authorization": {"bEARER a.b.c"}}, "a.b.c", true},
		{"blanks around", http.Header{"Authorization": {"Bearer   a.b.c "}}, "a.b.c", true},
		{"no token after the scheme", http.Header{"Authorization": {"Bearer"}}, "", true},
		{"another scheme", http.Header{"Authorization": {"Basic YTpi"}}, "", true},
		{"a token without a scheme", http.Header{"Authorization": {"a.b.c"}}, "", true},
		{"only other subprotocols", http.Header{protocol: {"ackwire.v1, graphql-ws"}}, "", false},
		{"a subprotocol", http.Header{protocol: {"ackwire.v1, ackwire.bearer.a.b.c"}}, "a.b.c", true},
		{"a subprotocol in front", http.Header{protocol: {"ackwire.bearer.a.b.c,ackwire.v1"}}, "a.b.c", true},
		{"a subprotocol in a second header", http.Header{protocol: {"ackwire.v1", "ackwire.bearer.a.b.c"}}, "a.b.c", true},
		{"two tokens", http.Header{protocol: {"ackwire.bearer.a.b.c, ackwire.bearer.d.e.f"}}, "a.b.c", true},
		{"an empty token", http.Header{protocol: {"ackwire.v1, ackwire.bearer."}}, "", true},
		{"the prefix in capitals", http.Header{protocol: {"ACKWIRE.BEARER.a.b.c"}}, "", false},
		{
			"both: the header", http.Header{"Authorization": {"Bearer a.b.c"}, protocol: {"ackwire.bearer.d.e.f"}},
			"a.b.c", true,
		},
		{
			"another scheme and a subprotocol",
			http.Header{"Authorization": {"Basic YTpi"}, protocol: {"ackwire.bearer.d.e.f"}}, "", true,
		},
	} {
		got, present := Token(&http.Request{Header: c.header})
		if got != c.token || present != c.present {
			t.Errorf("%s: got %q, %v", c.what, got, present)
		}
	}
}

// A token that is present is always verified: a bad one does not count as missing.
func TestIdentify(t *testing.T) {
	ok := but(t, nil)
	for _, c := range []struct {
		what      string
		anonymous string
		header    http.Header
		tenant    string
		present   bool
	}{
		{"a good token", "", http.Header{"Authorization": {"Bearer " + ok}}, "alice", true},
		{"a good token where none is needed", "local", http.Header{"Authorization": {"Bearer " + ok}}, "alice", true},
		{
			"a good token in a subprotocol", "local",
			http.Header{"Sec-Websocket-Protocol": {"ackwire.v1, ackwire.bearer." + ok}}, "alice", true,
		},
		{"a bad token", "", http.Header{"Authorization": {"Bearer x"}}, "", true},
		{"a bad token where none is needed", "local", http.Header{"Authorization": {"Bearer x"}}, "", true},
		{"an empty token where none is needed", "local", http.Header{"Authorization": {"Bearer "}}, "", true},
		{"another scheme where no token is needed", "local", http.Header{"Authorization": {"Basic YTpi"}}, "", true},
		{
			"a bad subprotocol where no token is needed", "local",
			http.Header{"Sec-Websocket-Protocol": {"ackwire.bearer.x"}}, "", true,
		},
		{"no token where none is needed", "local", http.Header{}, "local", false},
		{"no token where one is", "", http.Header{}, "", false},
	} {
		id, present, err := verifier(t, key, c.anonymous).Identify(&http.Request{Header: c.header, URL: &url.URL{}})
		if id.Tenant != c.tenant || present != c.present || (err == nil) != (c.tenant != "") ||
			err != nil && !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: %+v, %v, %v", c.what, id, present, err)
		}
		if err == nil && id.Anonymous() == present {
			t.Errorf("%s: anonymous is %v", c.what, id.Anonymous())
		}
	}
}

func TestAnonymous(t *testing.T) {
	if id, ok := verifier(t, key, "local").Anonymous(); !ok || id.Tenant != "local" || id.Subject != "" ||
		!id.Anonymous() {
		t.Errorf("got %+v, %v", id, ok)
	}
	if id, ok := verifier(t, key, "").Anonymous(); ok {
		t.Errorf("got %+v", id)
	}
}
