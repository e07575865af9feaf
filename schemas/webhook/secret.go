package webhook

import (
	"bufio"
	"bytes"
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

// Bounds of a file of keys.
const (
	minKeyBytes = 32
	maxKeys     = 2
)

// ParseKeys reads a file of keys: one a line, the newest first, and no more than two, so
// that endpoints can be given a new secret while the old one is still signed with.
func ParseKeys(file []byte) (keys [][]byte, err error) {
	lines := bufio.NewScanner(bytes.NewReader(file))
	for lines.Scan() {
		key := bytes.TrimSpace(lines.Bytes())
		switch {
		case len(key) == 0:
		case len(key) < minKeyBytes:
			return nil, fmt.Errorf("a key of %d bytes: it must have %d at least", len(key), minKeyBytes)
		default:
			keys = append(keys, bytes.Clone(key))
		}
	}
	switch {
	case lines.Err() != nil:
		return nil, lines.Err()
	case len(keys) == 0:
		return nil, errors.New("there is no key in it")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("it has %d keys: two may be valid at once", len(keys))
	}
	return keys, nil
}
