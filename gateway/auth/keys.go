package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"

	"github.com/ackwire/ackwire/internal/pause"
)

// pinned is a key and the only algorithm with which it may be used.
type pinned struct {
	alg string
	key any
}

// keySet holds keys by their ID (kid).
type keySet map[string]pinned

// parseKeys reads a JWK set (RFC 7517). Each key is pinned to its alg or, without one, to the usual algorithm of its
// kind. Keys for encryption are ignored. Symmetric keys are accepted only if the set is secret.
func parseKeys(b []byte, secret bool) (keySet, error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("not a JWK set (RFC 7517): %w", err)
	}
	keys := keySet{}
	var problems []error
	for i, m := range set.Keys {
		jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{Private: secret}, jwkset.JWKValidateOptions{})
		if err != nil {
			problems = append(problems, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		if m.USE != "" && m.USE != jwkset.UseSig {
			continue
		}
		alg, key, err := algorithm(jwk)
		switch {
		case err != nil:
		case m.KID == "":
			err = errors.New("it has no kid")
		case keys[m.KID].key != nil:
			err = fmt.Errorf("kid %q is used twice", m.KID)
		}
		if _, symmetric := key.([]byte); symmetric && err == nil && !secret {
			err = errors.New("a symmetric key that is published is no secret")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		keys[m.KID] = pinned{alg, key}
	}
	if len(keys) == 0 {
		return nil, errors.Join(append(problems, errors.New("there is no key for signatures in it"))...)
	}
	if secret { // the operator can correct a file, but not a provider's set: there bad keys are only skipped
		return keys, errors.Join(problems...)
	}
	return keys, nil
}

// algorithm returns the algorithm to which a key is pinned, and the key that verifies signatures.
func algorithm(jwk jwkset.JWK) (alg string, key any, err error) {
	usual := ""
	switch k := jwk.Key().(type) {
	case *rsa.PublicKey:
		usual, key = "RS256", k
	case *rsa.PrivateKey:
		usual, key = "RS256", &k.PublicKey
	case *ecdsa.PublicKey:
		usual, key = ecdsaAlg(k), k
	case *ecdsa.PrivateKey:
		usual, key = ecdsaAlg(&k.PublicKey), &k.PublicKey
	case ed25519.PublicKey:
		usual, key = "EdDSA", k
	case ed25519.PrivateKey:
		usual, key = "EdDSA", k.Public()
	case []byte:
		if len(k) < MinKeyBytes {
			return "", nil, fmt.Errorf("it has %d bytes, HS256 needs %d", len(k), MinKeyBytes)
		}
		usual, key = "HS256", k
	default:
		return "", nil, fmt.Errorf("keys of kind %s are not supported", jwk.Marshal().KTY)
	}
	if alg = string(jwk.Marshal().ALG); alg == "" {
		alg = usual
	}
	if family(alg) != family(usual) || family(alg) == "ES" && alg != usual {
		return "", nil, fmt.Errorf("alg %q is not for this kind of key", alg)
	}
	return alg, key, nil
}

func ecdsaAlg(k *ecdsa.PublicKey) string {
	switch k.Curve.Params().BitSize {
	case 256:
		return "ES256"
	case 384:
		return "ES384"
	}
	return "ES512"
}

// family returns the kind of key that an algorithm uses.
func family(alg string) string {
	switch alg {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		return "RSA"
	case "ES256", "ES384", "ES512":
		return "ES"
	case "HS256", "HS384", "HS512":
		return "HS"
	}
	return alg
}

// remote is a JWK set that an identity provider publishes.
type remote struct {
	url    string
	client *http.Client
	report func(error)

	mu       sync.Mutex      // guards the fields below
	life     context.Context // ends with run
	keys     keySet          // nil until a fetch has succeeded
	err      error           // of the last fetch, while there are no keys
	fetching chan struct{}   // closed when the fetch under way has ended; nil while there is none
	asked    time.Time       // when an unknown key ID last began a fetch
}

var errNoKeysYet = errors.New("the keys of the identity provider are not known yet")

func newRemote(url string, client *http.Client, report func(error)) *remote {
	return &remote{url: url, client: client, report: report, err: errNoKeysYet, life: context.Background()}
}

// run fetches the set every refreshInterval until ctx ends, and every second while there are no keys.
func (r *remote) run(ctx context.Context) {
	r.mu.Lock()
	r.life = ctx
	r.mu.Unlock()
	for wait := time.Duration(0); ; {
		if !pause.For(ctx, wait) {
			return
		}
		<-r.fetch()
		wait = refreshInterval
		if r.ready() != nil {
			wait = time.Second
		}
	}
}

func (r *remote) ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		return r.err
	}
	return nil
}

// find returns the key with an ID. An unknown ID may be that of a new key: the set is then fetched again, and the
// caller waits for that. Unknown IDs begin a fetch at most once per minRefresh, so that a flood of made-up IDs costs
// the provider little, and delays the use of a new key by no more than that.
func (r *remote) find(kid string) (pinned, bool) {
	r.mu.Lock()
	k, ok := r.keys[kid]
	var fetched <-chan struct{}
	if !ok && (r.fetching != nil || time.Since(r.asked) >= minRefresh) {
		if r.fetching == nil {
			r.asked = time.Now()
		}
		fetched = r.begin()
	}
	r.mu.Unlock()
	if fetched == nil {
		return k, ok
	}
	<-fetched
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok = r.keys[kid]
	return k, ok
}

func (r *remote) fetch() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begin()
}

// begin starts a fetch, unless one is under way, and returns a channel that is closed when it has ended. r.mu is held.
func (r *remote) begin() <-chan struct{} {
	if r.fetching != nil {
		return r.fetching
	}
	done, ctx := make(chan struct{}), r.life
	r.fetching = done
	go func() { // ends within fetchTimeout
		defer close(done)
		keys, err := r.get(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fetching = nil
		if err != nil {
			r.err = err
			if ctx.Err() == nil {
				r.report(err)
			}
			return
		}
		r.keys = keys
	}()
	return done
}

func (r *remote) get(ctx context.Context) (keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read the JWK set: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the JWK set: %s", resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySetBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the JWK set: %w", err)
	case len(b) > maxKeySetBytes:
		return nil, fmt.Errorf("the JWK set is larger than %d bytes", maxKeySetBytes)
	}
	return parseKeys(b, false)
}
