package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// SecretPrefix is the prefix of every secret (Standard Webhooks, "Signature scheme").
const SecretPrefix = "whsec_"

// Secret derives a tenant's secret from a key, so that no table of secrets has to be stored. It is SecretPrefix and, in
// base64, the HMAC-SHA-256 of the tenant under the key.
func Secret(key []byte, tenant string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("ackwire webhook secret 1\x00" + tenant))
	return SecretPrefix + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Bounds of the keys from which secrets are derived. Two may be valid at once, the newest first: during a rotation
// webhooks are signed with both secrets, until the endpoints know the new one.
const (
	MinKeyBytes = 32
	MaxKeys     = 2
)

// CheckKeys returns an error if there are too few or too many keys, or if one is too short.
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
