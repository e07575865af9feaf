package intake

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/keyfile"
)

// keySpace is the namespace of IDs that are made from keys without a secret.
var keySpace = uuid.MustParse("5b1d7a0e-6a53-4c53-9f0b-6f6bb9f4a4f1")

// Bounds of --id-key-file.
const (
	minIDKeyBytes = 32
	maxIDKeys     = 2
)

// noIDKey is the line of --id-key-file that stands for IDs without a secret.
const noIDKey = "none"

// IDKeys are the secrets from which the IDs of jobs with an idempotency key are made: new IDs with the first. The
// second makes the IDs of before or after a change. A secret that is nil makes IDs without a secret.
type IDKeys struct {
	file *certs.Source[[][]byte] // nil without --id-key-file
}

// OpenIDKeys reads --id-key-file; an empty name is no file.
func OpenIDKeys(env certs.Env, name string) (k IDKeys, err error) {
	if name == "" {
		return k, nil
	}
	k.file, err = certs.Open(env, "id-key-file", []string{name}, func(contents [][]byte) (certs.Parsed[[][]byte], error) {
		keys, err := parseIDKeys(contents[0])
		return certs.Parsed[[][]byte]{Value: keys}, err
	})
	return k, err
}

func parseIDKeys(content []byte) ([][]byte, error) {
	keys, err := keyfile.Parse(content, maxIDKeys)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no key")
	}
	for i, key := range keys {
		switch {
		case string(key) == noIDKey:
			keys[i] = nil
		case len(key) < minIDKeyBytes:
			return nil, fmt.Errorf("key %d has %d bytes, at least %d are needed", i+1, len(key), minIDKeyBytes)
		}
	}
	return keys, nil
}

// secrets returns the secrets in their order; without a file there is one that is nil.
func (k IDKeys) secrets() [][]byte {
	if k.file == nil {
		return [][]byte{nil}
	}
	return k.file.Get()
}

// of returns the ID that a submit with a key makes, and the others by which a job of the key may be there: those of the
// second secret and, of IDs without a secret, those that earlier versions made without the subject.
func (k IDKeys) of(tenant, subject, jobType, key string) (id string, former []string) {
	var all []string
	for _, secret := range k.secrets() {
		all = append(all, KeyedID(secret, tenant, subject, jobType, key))
		if secret == nil {
			all = append(all, KeyedID(nil, tenant, "", jobType, key))
		}
	}
	for _, other := range all[1:] {
		if other != all[0] && !slices.Contains(former, other) {
			former = append(former, other)
		}
	}
	return all[0], former
}

// KeyedID makes a UUIDv8 (RFC 9562) of tenant, subject, type and key, so that the same key of the same user gives the
// same ID. If it did not depend on the subject, a key would tell its user whether others have used it. A client without
// a token has no subject. With a secret nobody else can compute the ID.
func KeyedID(secret []byte, tenant, subject, jobType, key string) string {
	parts := []string{tenant, jobType, key}
	if subject != "" {
		parts = append(parts, subject)
	}
	var joined []byte
	for _, part := range parts {
		joined = binary.AppendUvarint(joined, uint64(len(part)))
		joined = append(joined, part...)
	}
	h := sha256.New()
	if secret != nil {
		h = hmac.New(sha256.New, secret)
	}
	return uuid.NewHash(h, keySpace, joined, 8).String()
}
