package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/command"
)

// jwk returns a key as a JWK, with changes.
func jwk(t *testing.T, key any, kid string, changes map[string]any) map[string]any {
	t.Helper()
	_, symmetric := key.([]byte)
	made, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{
		Marshal:  jwkset.JWKMarshalOptions{Private: symmetric},
		Metadata: jwkset.JWKMetadataOptions{KID: kid},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(made.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	for k, v := range changes {
		if v == nil {
			delete(m, k)
		} else {
			m[k] = v
		}
	}
	return m
}

func set(t *testing.T, keys ...map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// provider is an identity provider that answers with its current key set.
type provider struct {
	set   atomic.Pointer[[]byte]
	asked atomic.Int64
}

func (p *provider) RoundTrip(*http.Request) (*http.Response, error) {
	p.asked.Add(1)
	b := p.set.Load()
	if b == nil {
		return nil, errors.New("nobody is there")
	}
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: io.NopCloser(strings.NewReader(string(*b)))},
		nil
}

// ofProvider runs a test in a bubble, with a verifier that uses the provider's keys.
func ofProvider(t *testing.T, p *provider, test func(t *testing.T, v *Verifier)) {
	bubble.Test(t, func(t *testing.T) {
		cfg := command.Defaults[Config]()
		cfg.JWKSURL = "https://id.example.com/keys"
		v, err := New(cfg, noLog, &http.Client{Transport: p}, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = v.Run(t.Context()) }()
		synctest.Wait()
		test(t, v)
	})
}

// Each key is accepted with one algorithm only, and a token's header cannot name keys other than by their ID.
func TestPublishedKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{}
	b := set(t,
		jwk(t, &rsaKey.PublicKey, "r", map[string]any{"alg": nil}), // as some providers publish them
		jwk(t, &rsaKey.PublicKey, "ps", map[string]any{"alg": "PS256"}),
		jwk(t, &rsaKey.PublicKey, "enc", map[string]any{"use": "enc"}),
		jwk(t, &ecKey.PublicKey, "e", nil),
		jwk(t, edPublic, "d", nil),
		jwk(t, key, "shared", nil), // published by mistake
	)
	p.set.Store(&b)
	header := func(alg, kid string, more ...string) map[string]any {
		h := map[string]any{"alg": alg, "typ": "JWT", "kid": kid}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	ofProvider(t, p, func(t *testing.T, v *Verifier) {
		modulus := rsaKey.N.Bytes()
		for what, c := range map[string]struct {
			token string
			taken bool
		}{
			"RS256": {token(t, jwt.SigningMethodRS256, header("RS256", "r"), good(), rsaKey), true},
			"PS256": {
				token(t, jwt.SigningMethodPS256, header("PS256", "ps"), good(), rsaKey), true,
			},
			"ES256": {token(t, jwt.SigningMethodES256, header("ES256", "e"), good(), ecKey), true},
			"EdDSA": {token(t, jwt.SigningMethodEdDSA, header("EdDSA", "d"), good(), edKey), true},
			"a key that is for another alg": {
				token(t, jwt.SigningMethodRS512, header("RS512", "r"), good(), rsaKey), false,
			},
			"the kid of another key": {
				token(t, jwt.SigningMethodRS256, header("RS256", "e"), good(), rsaKey), false,
			},
			"the kid of another key of its kind": {
				token(t, jwt.SigningMethodRS256, header("RS256", "ps"), good(), rsaKey), false,
			},
			"a key for encryption":            {token(t, jwt.SigningMethodRS256, header("RS256", "enc"), good(), rsaKey), false},
			"an HMAC with the public key":     {token(t, jwt.SigningMethodHS256, header("HS256", "r"), good(), modulus), false},
			"an HMAC with a published secret": {token(t, jwt.SigningMethodHS256, header("HS256", "shared"), good(), key), false},
			"none": {
				token(t, jwt.SigningMethodNone, header("none", "r"), good(), jwt.UnsafeAllowNoneSignatureType), false,
			},
			"a kid that is not there": {
				token(t, jwt.SigningMethodRS256, header("RS256", "other"), good(), rsaKey), false,
			},
			"no kid": {
				token(t, jwt.SigningMethodRS256, map[string]any{"alg": "RS256"}, good(), rsaKey), false,
			},
			"a kid that is a number": {
				token(t, jwt.SigningMethodRS256, map[string]any{"alg": "RS256", "kid": 1}, good(), rsaKey), false,
			},
			"a kid that is a path": {
				token(t, jwt.SigningMethodRS256, header("RS256", "../../etc/passwd"), good(), rsaKey), false,
			},
			"jku and x5u beside a good one": {
				token(t, jwt.SigningMethodRS256, header("RS256", "r", "jku", "https://evil.example", "x5u", "https://evil.example"),
					good(), rsaKey),
				true,
			},
			"jku for a kid that is not there": {
				token(t, jwt.SigningMethodRS256, header("RS256", "other", "jku", "https://evil.example"), good(), rsaKey),
				false,
			},
		} {
			if _, err := v.Verify(c.token); (err == nil) != c.taken {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// A new key is found within minRefresh even while tokens with made-up IDs keep coming. The
// provider is not asked more often than that, and in between no token waits for it.
func TestAFloodOfUnknownKeysDelaysNoRotation(t *testing.T) {
	_, first, _ := ed25519.GenerateKey(rand.Reader)
	_, second, _ := ed25519.GenerateKey(rand.Reader)
	p := &provider{}
	before := set(t, jwk(t, first.Public(), "first", nil))
	p.set.Store(&before)
	signed := func(kid string, by ed25519.PrivateKey) string {
		return token(t, jwt.SigningMethodEdDSA, map[string]any{"alg": "EdDSA", "kid": kid}, good(), by)
	}
	ofProvider(t, p, func(t *testing.T, v *Verifier) {
		if err := v.Ready(); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(signed("first", first)); err != nil {
			t.Fatal(err)
		}
		flood := func(d time.Duration) {
			for i, end := 0, time.Now().Add(d); time.Now().Before(end); i++ {
				if _, err := v.Verify(signed(fmt.Sprint("made up ", i), second)); err == nil {
					t.Fatal("taken")
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		flood(5 * time.Second)
		rotated, asked := time.Now(), p.asked.Load()
		after := set(t, jwk(t, second.Public(), "second", nil))
		p.set.Store(&after)
		for {
			if _, err := v.Verify(signed("second", second)); err == nil {
				break
			}
			flood(100 * time.Millisecond)
		}
		if d := time.Since(rotated); d > minRefresh+time.Second {
			t.Errorf("a new key was found after %s", d)
		}
		if n := p.asked.Load() - asked; n > 2 {
			t.Errorf("the provider was asked %d times in %s", n, time.Since(rotated))
		}
		if _, err := v.Verify(signed("first", first)); err == nil {
			t.Error("a key that was taken away is still good")
		}
		// When the provider cannot be reached, the known keys stay valid.
		p.set.Store(nil)
		time.Sleep(time.Hour)
		if _, err := v.Verify(signed("second", second)); err != nil || v.Ready() != nil {
			t.Errorf("without the provider: %v, %v", err, v.Ready())
		}
	})
}

func TestNoKeysYet(t *testing.T) {
	p := &provider{}
	ofProvider(t, p, func(t *testing.T, v *Verifier) {
		if err := v.Ready(); err == nil || !strings.Contains(err.Error(), "nobody is there") {
			t.Errorf("ready: %v", err)
		}
		_, k, _ := ed25519.GenerateKey(rand.Reader)
		b := set(t, jwk(t, k.Public(), "k", nil))
		p.set.Store(&b)
		time.Sleep(2 * time.Second)
		if err := v.Ready(); err != nil {
			t.Error(err)
		}
	})
}

// A file of keys is checked at the start.
func TestKeyFiles(t *testing.T) {
	_, k, _ := ed25519.GenerateKey(rand.Reader)
	one := jwk(t, k.Public(), "one", nil)
	for what, c := range map[string]struct {
		file []byte
		want string
	}{
		"a good one":          {set(t, one, jwk(t, key, "shared", nil)), ""},
		"no JSON":             {[]byte("keys"), "not a JWK set"},
		"no keys":             {[]byte(`{"keys":[]}`), "no key for signatures"},
		"a key without an ID": {set(t, jwk(t, k.Public(), "", nil)), "no kid"},
		"an ID twice":         {set(t, one, one), "is used twice"},
		"a short secret":      {set(t, jwk(t, []byte("short"), "s", nil)), "needs 32"},
		"an alg of others":    {set(t, jwk(t, k.Public(), "s", map[string]any{"alg": "HS256"})), ""},
	} {
		cfg := command.Defaults[Config]()
		cfg.JWKSFile = filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(cfg.JWKSFile, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		err := cfg.Validate("127.0.0.1:8080")
		if what == "an alg of others" {
			if err == nil {
				t.Errorf("%s was taken", what)
			}
			continue
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	cfg := command.Defaults[Config]()
	cfg.JWKSFile = filepath.Join(t.TempDir(), "keys.json")
	_ = os.WriteFile(cfg.JWKSFile, set(t, one, jwk(t, key, "shared", nil)), 0o600)
	v, err := New(cfg, noLog, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, signed := range map[string]string{
		"Ed25519":  token(t, jwt.SigningMethodEdDSA, map[string]any{"alg": "EdDSA", "kid": "one"}, good(), k),
		"a secret": token(t, jwt.SigningMethodHS256, map[string]any{"alg": "HS256", "kid": "shared"}, good(), key),
	} {
		if _, err := v.Verify(signed); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestConfigurations(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"none":                 {func(*Config) {}, "no client could authenticate"},
		"keys over http":       {func(c *Config) { c.JWKSURL = "http://id.example.com/keys" }, "use https"},
		"keys of this machine": {func(c *Config) { c.JWKSURL = "http://127.0.0.1/keys" }, ""},
		"keys of nowhere":      {func(c *Config) { c.JWKSURL = "id.example.com" }, "not an http or https URL"},
		"an odd permission":    {func(c *Config) { c.Key, c.Permissions = key, "submit,fly" }, `"fly" is not one of`},
		"an odd mapping": {
			func(c *Config) { c.Key, c.PermissionMap = key, map[string]string{"pilot": "fly"} },
			"permission-map: pilot",
		},
		"no tenant's claim": {func(c *Config) { c.Key, c.TenantClaim = key, "" }, "must not be empty"},
		"a key and permissions": {
			func(c *Config) { c.Key, c.PermissionMap = key, map[string]string{"ops": "read+cancel"} }, "",
		},
	} {
		cfg := command.Defaults[Config]()
		c.change(&cfg)
		err := cfg.Validate("127.0.0.1:8080")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The configuration says in which claims the tenant, the user and the permissions are.
func TestMappedClaims(t *testing.T) {
	cfg := command.Defaults[Config]()
	cfg.Key, cfg.TenantClaim, cfg.SubjectClaim = key, "org.id", "https://example.com/user"
	cfg.PermissionsClaim, cfg.PermissionMap = "realm.roles", map[string]string{"operator": "read+cancel", "read": ""}
	v, err := New(cfg, noLog, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for roles, want := range map[string]Permissions{
		`["operator"]`: Read | Cancel, `"submit operator"`: Submit | Read | Cancel, `["read"]`: 0, `[7,"submit"]`: Submit,
		`"admin"`: Client | ReadTenant | CancelTenant, `"read:tenant erase"`: Read | ReadTenant | Erase, `{}`: 0, `null`: Client,
	} {
		body := good()
		body["org"], body["https://example.com/user"] = map[string]any{"id": "acme"}, "alice"
		body["realm"] = map[string]any{"roles": json.RawMessage(roles)}
		id, err := v.Verify(token(t, jwt.SigningMethodHS256, hs256, body, key))
		if err != nil || id.Tenant != "acme" || id.Subject != "alice" || id.Permissions != want {
			t.Errorf("%s: %+v, %v; want %s", roles, id, err, want)
		}
	}
	if id, err := v.Verify(but(t, nil)); err == nil {
		t.Errorf("without the claims: %+v", id)
	}
}
