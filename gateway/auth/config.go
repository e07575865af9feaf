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

// Config says whose tokens are taken and what their claims mean.
type Config struct {
	KeyFile  string `name:"jwt-key-file" help:"File with the HS256 key that signs clients' tokens, at least 32 bytes: a line of text, whose end does not count, or bytes." placeholder:"FILE"`
	JWKSFile string `name:"jwks-file" help:"JWK set (RFC 7517) of the keys that sign clients' tokens." placeholder:"FILE"`
	JWKSURL  string `name:"jwks-url" help:"Where an identity provider publishes its JWK set: public keys only, read again every minute and when a token names an unknown one." placeholder:"URL"`

	Issuer   string `name:"jwt-issuer" help:"Claim iss of all tokens." default:"ackwire"`
	Audience string `name:"jwt-audience" help:"Claim aud of all tokens; one of several is enough." default:"ackwire"`

	TenantClaim      string            `help:"Claim that names the tenant; dots reach into objects." default:"tenant"`
	SubjectClaim     string            `help:"Claim that names the user within the tenant." default:"sub"`
	PermissionsClaim string            `help:"Claim that lists what the client may do: a list, or words in a string." default:"permissions"`
	PermissionMap    map[string]string `help:"What words of the permissions' claim mean, when they are not submit, read, cancel and admin: operator=read+cancel." placeholder:"WORD=PERMISSIONS"`
	Permissions      string            `name:"default-permissions" help:"What a token may do that has no such claim." default:"submit,read,cancel"`

	AnonymousTenant string `help:"Tenant of clients without a token; on a loopback listener only." placeholder:"TENANT"`

	// Key is the HS256 key itself, instead of a file.
	Key []byte `kong:"-"`
}

// HasKeys says whether the configuration names keys by which clients are identified.
func (c Config) HasKeys() bool {
	return c.Key != nil || c.KeyFile != "" || c.JWKSFile != "" || c.JWKSURL != ""
}

// Validate joins all problems. listen is where clients are served.
func (c Config) Validate(listen string) error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	key, err := c.key()
	switch {
	case err != nil:
		problems = append(problems, err)
	case !c.HasKeys() && c.AnonymousTenant == "":
		problem("no client could be let in: set jwt-key-file, jwks-file or jwks-url (or, on loopback, anonymous-tenant)")
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
			problem("jwks-url: keys that come over http prove nothing: use https")
		}
	}
	if host, _, _ := net.SplitHostPort(listen); c.AnonymousTenant != "" && !service.Loopback(host) {
		problem("anonymous-tenant is for a loopback listener only, not for %s", listen)
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

// Rhythms of reading a JWK set again.
const (
	refreshInterval = time.Minute
	minRefresh      = 10 * time.Second // between two that unknown key IDs have asked for
	fetchTimeout    = 5 * time.Second
	maxKeySetBytes  = 1 << 20
)
