// Package webhook delivers webhooks: it runs the jobs that the tracker makes of them. Each
// attempt is one POST, signed as Standard Webhooks says, to an address that the guard in the
// dialer has allowed. The lane's own machinery retries, with a backoff over hours.
package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/goccy/go-yaml"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ackwire/ackwire/internal/keyfile"
	"github.com/ackwire/ackwire/schemas/webhook"
)

// Config says with which secrets webhooks are signed and where they may go.
type Config struct {
	KeyFile     string         `name:"webhook-key-file" help:"File with the key that tenants' webhook secrets are derived from, a line of text or bytes; with two lines, both sign." placeholder:"FILE"`
	SecretsFile string         `name:"webhook-secrets-file" help:"YAML file with the secrets of tenants that have their own: 'tenant: [whsec_new, whsec_old]'." placeholder:"FILE"`
	Schemes     []string       `name:"webhook-schemes" help:"URL schemes that callbacks may have." default:"https" sep:","`
	Ports       []uint16       `name:"webhook-ports" help:"Ports that callbacks may have; 0 is any." default:"443" sep:","`
	Allow       []netip.Prefix `name:"webhook-allow" help:"Address ranges that are allowed though they are private, for endpoints on the premises." placeholder:"CIDR" sep:","`

	// Keys stand for the key file's.
	Keys [][]byte `kong:"-"`
}

// Validate checks all but the secrets, which a process that delivers no webhooks need not have.
func (c Config) Validate() error {
	var err error
	if len(c.Schemes) == 0 || slices.ContainsFunc(c.Schemes, func(s string) bool { return s != "http" && s != "https" }) {
		err = errors.Join(err, fmt.Errorf("webhook-schemes must be of http and https, not %q", c.Schemes))
	}
	if len(c.Ports) == 0 {
		err = errors.Join(err, errors.New("webhook-ports must name a port, or 0 for any"))
	}
	return err
}

// secrets gives a tenant's signers, the newest first.
type secrets struct {
	keys [][]byte
	own  map[string][]string
}

func (c Config) secrets() (secrets, error) {
	s := secrets{keys: c.Keys}
	if c.KeyFile != "" {
		var err error
		if s.keys, err = keyfile.Read(c.KeyFile, webhook.MaxKeys); err != nil {
			return s, fmt.Errorf("webhook-key-file: %w", err)
		}
		if err := webhook.CheckKeys(s.keys); err != nil {
			return s, fmt.Errorf("webhook-key-file %s: %w", c.KeyFile, err)
		}
	}
	if c.SecretsFile != "" {
		file, err := os.ReadFile(c.SecretsFile)
		if err != nil {
			return s, fmt.Errorf("webhook-secrets-file: %w", err)
		}
		if err := yaml.Unmarshal(file, &s.own); err != nil {
			return s, fmt.Errorf("webhook-secrets-file %s: not tenants with lists of secrets", c.SecretsFile)
		}
		for tenant, own := range s.own {
			if len(own) < 1 || len(own) > 2 {
				return s, fmt.Errorf("webhook-secrets-file %s: tenant %q has %d secrets: one, or two for a rotation", c.SecretsFile, tenant, len(own))
			}
			for _, secret := range own {
				// The secret itself is never in the error.
				if _, err := standardwebhooks.NewWebhook(secret); err != nil || len(secret) < 32 {
					return s, fmt.Errorf("webhook-secrets-file %s: a secret of tenant %q is not whsec_ and 24 bytes or more in base64", c.SecretsFile, tenant)
				}
			}
		}
	}
	if len(s.keys) == 0 && len(s.own) == 0 {
		return s, errors.New("webhooks need secrets to be signed with: webhook-key-file or webhook-secrets-file")
	}
	return s, nil
}

// signers returns the tenant's; none when it has no secret.
func (s secrets) signers(tenant string) []*standardwebhooks.Webhook {
	texts := s.own[tenant]
	if texts == nil {
		for _, key := range s.keys {
			texts = append(texts, webhook.Secret(key, tenant))
		}
	}
	var signers []*standardwebhooks.Webhook
	for _, text := range texts {
		if w, err := standardwebhooks.NewWebhook(text); err == nil {
			signers = append(signers, w)
		}
	}
	return signers
}
