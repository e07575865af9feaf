package webhook

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ackwire/ackwire/schemas/webhook"
)

// Config says with which secrets webhooks are signed and where they may go. Keys, Secrets or both
// are needed.
type Config struct {
	// Keys are the keys from which tenants' secrets are derived (schemas/webhook.Secret), at least 32 bytes
	// each. With two, the newest first, webhooks are signed with both, so that keys can be rotated.
	Keys [][]byte
	// Secrets are the secrets of tenants that have their own, by tenant: one, or two during a rotation, which
	// both sign. Each is "whsec_" and 24 bytes or more in base64.
	Secrets map[string][]string
	// Schemes are the URL schemes that endpoints may have: http, https or both. Default https.
	Schemes []string
	// Ports are the ports that endpoints may have; 0 allows any port. Default 443.
	Ports []uint16
	// Allow are address ranges that may be called though they are not public. Default: none.
	Allow []netip.Prefix
}

// withDefaults sets the defaults of fields that are empty.
func (c Config) withDefaults() Config {
	if len(c.Schemes) == 0 {
		c.Schemes = []string{"https"}
	}
	if len(c.Ports) == 0 {
		c.Ports = []uint16{443}
	}
	return c
}

// Validate reports every problem of the configuration. It accepts a configuration without keys and secrets, since a
// process that delivers no webhooks has the same settings. Errors never show a secret.
func (c Config) Validate() error {
	c = c.withDefaults()
	var problems []error
	if slices.ContainsFunc(c.Schemes, func(s string) bool { return s != "http" && s != "https" }) {
		problems = append(problems, fmt.Errorf("webhook-schemes must be of http and https, not %q", c.Schemes))
	}
	if len(c.Keys) > 0 {
		problems = append(problems, webhook.CheckKeys(c.Keys))
	}
	for _, tenant := range slices.Sorted(maps.Keys(c.Secrets)) {
		own := c.Secrets[tenant]
		if len(own) < 1 || len(own) > webhook.MaxKeys {
			problems = append(problems, fmt.Errorf("tenant %q has %d secrets: one, or two for a rotation", tenant, len(own)))
		}
		for _, secret := range own {
			if _, err := standardwebhooks.NewWebhook(secret); err != nil || len(secret) < 32 {
				problems = append(problems, fmt.Errorf("a secret of tenant %q is not whsec_ and 24 bytes or more in base64",
					tenant))
			}
		}
	}
	return errors.Join(problems...)
}

// signers returns the signers of a tenant's webhooks, the newest first; none if the tenant has no secret.
func (c Config) signers(tenant string) []*standardwebhooks.Webhook {
	texts := c.Secrets[tenant]
	if texts == nil {
		for _, key := range c.Keys {
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
