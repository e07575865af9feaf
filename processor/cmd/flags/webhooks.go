package flags

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/goccy/go-yaml"

	"github.com/ackwire/ackwire/internal/keyfile"
	"github.com/ackwire/ackwire/processor/webhook"
	contract "github.com/ackwire/ackwire/schemas/webhook"
)

// Webhooks holds the settings of webhook delivery: those of webhook.Config, with files for the secrets.
type Webhooks struct {
	KeyFile     string         `name:"webhook-key-file" help:"File with the key from which tenants' webhook secrets are derived: one line of text, or bytes. With two lines, webhooks are signed with both keys." placeholder:"FILE"`
	SecretsFile string         `name:"webhook-secrets-file" help:"YAML file with the secrets of tenants that have their own: 'tenant: [whsec_new, whsec_old]'." placeholder:"FILE"`
	Schemes     []string       `name:"webhook-schemes" help:"URL schemes that webhook endpoints may have." default:"https" sep:","`
	Ports       []uint16       `name:"webhook-ports" help:"Ports that webhook endpoints may have; 0 allows any port." default:"443" sep:","`
	Allow       []netip.Prefix `name:"webhook-allow" help:"Private address ranges that webhooks may be sent to, for endpoints in your own network." placeholder:"CIDR" sep:","`
}

// Validate checks the settings without reading the files. The flag parser calls it. A process that delivers no webhooks
// needs no files.
func (w Webhooks) Validate() error { return w.addresses().Validate() }

func (w Webhooks) addresses() webhook.Config {
	return webhook.Config{Schemes: w.Schemes, Ports: w.Ports, Allow: w.Allow}
}

// Config reads the files and returns the settings as a webhook.Config. Errors never show the content of a file.
func (w Webhooks) Config() (webhook.Config, error) {
	cfg := w.addresses()
	if w.KeyFile != "" {
		var err error
		if cfg.Keys, err = keyfile.Read(w.KeyFile, contract.MaxKeys); err != nil {
			return cfg, fmt.Errorf("webhook-key-file: %w", err)
		}
		if err := contract.CheckKeys(cfg.Keys); err != nil {
			return cfg, fmt.Errorf("webhook-key-file %s: %w", w.KeyFile, err)
		}
	}
	if w.SecretsFile != "" {
		file, err := os.ReadFile(w.SecretsFile)
		if err != nil {
			return cfg, fmt.Errorf("webhook-secrets-file: %w", err)
		}
		if err := yaml.Unmarshal(file, &cfg.Secrets); err != nil {
			return cfg, fmt.Errorf("webhook-secrets-file %s: not tenants with lists of secrets", w.SecretsFile)
		}
		if err := cfg.Validate(); err != nil {
			return cfg, fmt.Errorf("webhook-secrets-file %s: %w", w.SecretsFile, err)
		}
	}
	return cfg, nil
}
