package auth

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/ackwire/ackwire/internal/keyfile"
	"github.com/ackwire/ackwire/internal/service"
)

// Config says which tokens are accepted and what their claims mean.
type Config struct {
	KeyFile  string `name:"jwt-key-file" help:"File with the HS256 key that signs clients' tokens: a line of text, without its line end, or bytes; at least 32 bytes." placeholder:"FILE"`
	JWKSFile string `name:"jwks-file" help:"JWK set (RFC 7517) of the keys that sign clients' tokens." placeholder:"FILE"`
	JWKSURL  string `name:"jwks-url" help:"URL of an identity provider's JWK set, with public keys only. It is read again every minute, and when a token names an unknown key." placeholder:"URL"`

	GrantKeyFile string `name:"grant-key-file" help:"File with the key that signs grants, a line of at least 32 bytes. A second line is a second valid key, for a change of the key: grants are signed with the first. It is read again when it changes. Without it no grants are made or accepted." placeholder:"FILE"`

	Issuer   string `name:"jwt-issuer" help:"Claim iss that tokens must have." default:"ackwire"`
	Audience string `name:"jwt-audience" help:"Audience that must be in a token's claim aud." default:"ackwire"`

	TenantClaim      string            `help:"Claim that names the tenant. Dots separate the keys of nested objects." default:"tenant"`
	SubjectClaim     string            `help:"Claim that names the user within the tenant." default:"sub"`
	PermissionsClaim string            `help:"Claim that lists the client's permissions: a list, or a string of words separated by spaces." default:"permissions"`
	PermissionMap    map[string]string `help:"Permissions for other words in permissions-claim than the names of permissions, such as support=read:tenant+cancel:tenant. A name of a permission may also be given another meaning, such as read=read:tenant." placeholder:"WORD=PERMISSIONS"`
	Permissions      string            `name:"default-permissions" help:"Permissions of a token without permissions-claim: names of submit, read, cancel (its own jobs), read:tenant, cancel:tenant (all jobs of the tenant), operate (all tenants), payloads and erase." default:"submit,read,cancel,payloads"`

	AnonymousTenant string `help:"Tenant of clients that send no token. Allowed only on a loopback listener; requests that came through a proxy need a token all the same." placeholder:"TENANT"`

	// Key is the HS256 key itself, in place of KeyFile.
	Key []byte `kong:"-"`
}

// HasKeys reports whether the configuration has any keys to verify tokens with.
func (c Config) HasKeys() bool {
	return c.Key != nil || c.KeyFile != "" || c.JWKSFile != "" || c.JWKSURL != ""
}

// Validate reports every problem of the configuration. listen is the address of the listener for clients.
func (c Config) Validate(listen string) error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	key, err := c.key()
	switch {
	case err != nil:
		problems = append(problems, err)
	case !c.HasKeys() && c.AnonymousTenant == "":
		problem("no client could authenticate: set jwt-key-file, jwks-file or jwks-url (or, on loopback, anonymous-tenant)")
	case key != nil && len(key) < MinKeyBytes:
		problem("the key for tokens has %d bytes, HS256 needs %d", len(key), MinKeyBytes)
	}
	if _, err := c.fileKeys(); err != nil {
		problems = append(problems, err)
	}
	if c.JWKSURL != "" {
		u, err := service.HTTPURL(c.JWKSURL)
		switch {
		case err != nil:
			problem("jwks-url: %w", err)
		case u.Scheme == "http" && !service.Loopback(u.Hostname()):
			problem("jwks-url: keys that are fetched over http can be forged: use https")
		}
	}
	if host, _, _ := net.SplitHostPort(listen); c.AnonymousTenant != "" && !service.Loopback(host) {
		problem("anonymous-tenant is allowed only on a loopback listener, not on %s", listen)
	}
	if c.HasKeys() && (c.Issuer == "" || c.Audience == "" || c.TenantClaim == "" || c.SubjectClaim == "") {
		problem("jwt-issuer, jwt-audience, tenant-claim and subject-claim must not be empty")
	}
	for word, permissions := range c.PermissionMap {
		if _, err := ParsePermissions(permissions); err != nil {
			problem("permission-map: %s: %w", word, err)
		}
	}
	if _, err := ParsePermissions(c.Permissions); err != nil {
		problem("default-permissions: %w", err)
	}
	return errors.Join(problems...)
}

func (c Config) key() ([]byte, error) {
	if c.Key != nil || c.KeyFile == "" {
		return c.Key, nil
	}
	keys, err := keyfile.Read(c.KeyFile, 1)
	switch {
	case err != nil:
		return nil, fmt.Errorf("jwt-key-file: %w", err)
	case len(keys) == 0:
		return []byte{}, nil
	}
	return keys[0], nil
}

func (c Config) fileKeys() (keySet, error) {
	if c.JWKSFile == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.JWKSFile)
	if err != nil {
		return nil, fmt.Errorf("jwks-file: %w", err)
	}
	keys, err := parseKeys(b, true)
	if err != nil {
		return nil, fmt.Errorf("jwks-file %s: %w", c.JWKSFile, err)
	}
	return keys, nil
}

// Timing of fetches of a JWK set.
const (
	refreshInterval = time.Minute
	minRefresh      = 10 * time.Second // between two fetches because of unknown key IDs
	fetchTimeout    = 5 * time.Second
	maxKeySetBytes  = 1 << 20
)
