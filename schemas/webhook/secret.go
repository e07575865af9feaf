package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// SecretPrefix starts a secret (Standard Webhooks, "Signature scheme").
const SecretPrefix = "whsec_"

// Secret derives a tenant's secret from a key, so that no table of secrets need be kept:
// HMAC-SHA-256 of the tenant under the key, in base64 behind SecretPrefix.
func Secret(key []byte, tenant string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("ackwire webhook secret 1\x00" + tenant))
	return SecretPrefix + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Bounds of the keys that secrets are derived from. Two may be valid at once, the newest first, so
// that endpoints can be given a new secret while the old one is still signed with.
const (
	MinKeyBytes = 32
	MaxKeys     = 2
)

// CheckKeys tells what is wrong with keys.
func CheckKeys(keys [][]byte) error {
	switch {
	case len(keys) == 0:
		return errors.New("there is no key in it")
	case len(keys) > MaxKeys:
		return fmt.Errorf("it has %d keys: two may be valid at once", len(keys))
	}
	for _, key := range keys {
		if len(key) < MinKeyBytes {
			return fmt.Errorf("a key of %d bytes: it must have %d at least", len(key), MinKeyBytes)
		}
	}
	return nil
}
