package embedded

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// keyBytes is the length of the HS256 key (RFC 7518 §3.2 asks for at least 32).
const keyBytes = 32

// Key returns the key in the data folder that signs and verifies tokens; the first call
// makes it, readable by its owner only.
func Key(dir string) ([]byte, error) {
	file := filepath.Join(dir, "token.key")
	key, err := os.ReadFile(file)
	if err == nil {
		if len(key) != keyBytes {
			return nil, fmt.Errorf("token key %s has %d bytes, not %d", file, len(key), keyBytes)
		}
		return key, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("token key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	key = make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	// Linked into place, so that of two processes that make a key at once one wins and
	// nobody reads half a key.
	tmp, err := os.CreateTemp(dir, "token.key.*")
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(key)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("token key: %w", err)
	}
	return os.ReadFile(file)
}
