package serve

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ackwire/ackwire/internal/keyfile"
	"github.com/ackwire/ackwire/schemas/webhook"
)

// formerKey is a file in the data folder that says which other key webhooks are signed with, too: tokenKey, or none.
// Earlier versions derived the secrets of webhooks from the key that signs tokens, and endpoints know those secrets.
// Once they know the new ones, the operator writes none into the file.
const formerKey = "webhook.former"

const noFormerKey = "none"

// WebhookKeys returns the keys in the data folder from which webhooks' secrets are derived, the newest first. The first
// call creates the folder's key. before says that a server has used the folder before that: then the key that signs
// tokens is one of them, too, so that endpoints go on to work.
func WebhookKeys(dir string, before bool) ([][]byte, error) {
	former := noFormerKey
	if before {
		former = tokenKey
	}
	if _, err := keep(dir, formerKey, func() []byte { return []byte(former + "\n") }); err != nil {
		return nil, err
	}
	if _, err := keep(dir, webhookKey, newLine); err != nil {
		return nil, err
	}
	return ExistingWebhookKeys(dir)
}

// ExistingWebhookKeys is WebhookKeys for commands that use a server's data folder. It creates no key. In a folder of an
// earlier version's server, the key is the one that signs tokens.
func ExistingWebhookKeys(dir string) (keys [][]byte, err error) {
	file := filepath.Join(dir, webhookKey)
	keys, err = keyfile.Read(file, webhook.MaxKeys-1)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := webhook.CheckKeys(keys); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	former, err := os.ReadFile(filepath.Join(dir, formerKey))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	switch name := strings.TrimSpace(string(former)); {
	case name != "" && name != noFormerKey && name != tokenKey:
		return nil, fmt.Errorf("%s: it must say %s or %s", filepath.Join(dir, formerKey), noFormerKey, tokenKey)
	case name == tokenKey || len(keys) == 0:
		key, err := ExistingKey(dir)
		if err != nil {
			return nil, err
		}
		keys = append(keys, bytes.Clone(key))
	}
	return keys, nil
}

// used reports whether a server has already run in the data folder.
func used(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, trackerFolder))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
