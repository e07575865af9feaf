package serve

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ackwire/ackwire/internal/keyfile"
	"github.com/ackwire/ackwire/internal/private"
)

// keyBytes is the length of the HS256 key (RFC 7518 §3.2 asks for at least 32).
const keyBytes = 32

// Files of keys in a data folder.
const (
	tokenKey   = "token.key"    // the key itself
	webhookKey = "webhook.key"  // a line of text, for --webhook-key-file
	peersKey   = "internal.key" // a line of text, for --internal-key-file
	grantKey   = "grant.key"    // a line of text, for --grant-key-file
	idKey      = "id.key"       // one or two lines of text, for --id-key-file
)

// Key returns the key in the data folder that signs and verifies tokens. The first call creates it, readable by its
// owner only.
func Key(dir string) ([]byte, error) {
	content, err := keep(dir, tokenKey, newKey)
	if err != nil {
		return nil, err
	}
	return parseKey(dir, content)
}

// ExistingKey is Key for commands that use a server's data folder. It does not create a key: a folder without one is
// probably not the server's.
func ExistingKey(dir string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(dir, tokenKey))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s is not there: --data must be the folder that ackwire serve, or ackwire keys, has made",
			filepath.Join(dir, tokenKey))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", tokenKey, err)
	}
	return parseKey(dir, content)
}

func parseKey(dir string, content []byte) ([]byte, error) {
	file := filepath.Join(dir, tokenKey)
	keys, err := keyfile.Parse(content, 1)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	key := bytes.Join(keys, nil)
	if len(key) != keyBytes {
		return nil, fmt.Errorf("%s has %d bytes, not %d", file, len(key), keyBytes)
	}
	return key, nil
}

// KeyFile is a file with a key, for a setting.
type KeyFile struct{ Setting, Name string }

// GrantKey returns the name of the file in the data folder with the key that signs grants. The first call creates it,
// readable by its owner only.
func GrantKey(dir string) (file string, err error) {
	_, err = keep(dir, grantKey, newLine)
	return filepath.Join(dir, grantKey), err
}

// IDKey returns the name of the file in the data folder with the secret of the IDs of jobs with an idempotency key. The
// first call creates it, readable by its owner only. before says that there may be jobs whose IDs have no secret: then
// they are found by their keys, too.
func IDKey(dir string, before bool) (file string, err error) {
	_, err = keep(dir, idKey, func() []byte {
		if before {
			return append(newLine(), "none\n"...)
		}
		return newLine()
	})
	return filepath.Join(dir, idKey), err
}

// Keys creates the keys that the processes of a deployment share: for tokens, for grants, for webhooks' secrets, for
// jobs' IDs, and the secret by which trackers know gateways. Existing keys are kept.
func Keys(dir string) (files []KeyFile, err error) {
	_, err = os.Stat(filepath.Join(dir, tokenKey))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// A folder with keys is one of a deployment, which may have jobs.
	if _, err := IDKey(dir, err == nil); err != nil {
		return nil, err
	}
	if _, err := Key(dir); err != nil {
		return nil, err
	}
	for _, name := range []string{grantKey, webhookKey, peersKey} {
		if _, err := keep(dir, name, newLine); err != nil {
			return nil, err
		}
	}
	return []KeyFile{
		{"jwt-key-file", filepath.Join(dir, tokenKey)},
		{"grant-key-file", filepath.Join(dir, grantKey)},
		{"webhook-key-file", filepath.Join(dir, webhookKey)},
		{"internal-key-file", filepath.Join(dir, peersKey)},
		{"id-key-file", filepath.Join(dir, idKey)},
	}, nil
}

func newKey() []byte {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
}

// newLine returns a new key as a line of text.
func newLine() []byte { return []byte(hex.EncodeToString(newKey()) + "\n") }

// keep returns the content of a file. A missing file is created with the given content, readable by its owner only.
func keep(dir, name string, content func() []byte) ([]byte, error) {
	file := filepath.Join(dir, name)
	key, err := os.ReadFile(file)
	if err == nil {
		return key, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := private.Folder(dir); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	// The file is linked into place, so that of two processes that create a key at the same time one wins, and
	// no process reads half a key.
	tmp, err := os.CreateTemp(dir, name+".*")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(content())
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return os.ReadFile(file)
}
