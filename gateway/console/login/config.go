package login

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/ackwire/ackwire/internal/keyfile"
	"github.com/ackwire/ackwire/internal/service"
)

// Values of Config.Token.
const (
	AccessToken = "access"
	IDToken     = "id"
)

// Config names the provider, and this console as its client. Without an Issuer there is no login by a provider.
type Config struct {
	Issuer     string   `help:"Issuer URL of the OpenID Connect provider by which operators log in to the console. Its endpoints are discovered at /.well-known/openid-configuration. Its tokens must be ones that the gateway accepts: see jwks-url, jwt-issuer and jwt-audience. Without it the console asks for a token." placeholder:"URL"`
	ClientID   string   `help:"Client ID of the console at the provider, where the redirect URI is the console's URL and /callback." placeholder:"ID"`
	SecretFile string   `name:"client-secret-file" help:"File with the client secret of the console at the provider, one line, if the provider demands one beside PKCE. It is read at each login." placeholder:"FILE"`
	Scopes     []string `help:"Scopes that are asked for. offline_access, where the provider has it, lets an open page go on after its token has expired." default:"openid"`
	Token      string   `help:"Which of the provider's tokens the console uses: access, or id for a provider whose access tokens are not JWTs." enum:"access,id" default:"access"`
}

// On reports whether there is a provider.
func (c Config) On() bool { return c.Issuer != "" }

// Validate reports every problem of the configuration.
func (c Config) Validate() error {
	if !c.On() {
		if c.ClientID != "" || c.SecretFile != "" {
			return errors.New("console-oidc-client-id and console-oidc-client-secret-file need console-oidc-issuer")
		}
		return nil
	}
	var problems []error
	u, err := service.HTTPURL(c.Issuer)
	switch {
	case err != nil:
		problems = append(problems, fmt.Errorf("console-oidc-issuer: %w", err))
	case !safe(u):
		problems = append(problems, errors.New("console-oidc-issuer: a login over http can be read by others: use https"))
	}
	if c.ClientID == "" {
		problems = append(problems, errors.New("console-oidc-issuer needs console-oidc-client-id"))
	}
	if !slices.Contains(c.Scopes, "openid") {
		problems = append(problems, errors.New("console-oidc-scopes must contain openid"))
	}
	if c.Token != AccessToken && c.Token != IDToken {
		problems = append(problems, fmt.Errorf("console-oidc-token: %q is not one of access, id", c.Token))
	}
	_, err = c.secret()
	return errors.Join(append(problems, err)...)
}

// secret reads the client's secret; empty if there is none.
func (c Config) secret() (string, error) {
	if c.SecretFile == "" {
		return "", nil
	}
	keys, err := keyfile.Read(c.SecretFile, 1)
	switch {
	case err != nil:
		return "", fmt.Errorf("console-oidc-client-secret-file: %w", err)
	case len(keys) == 0:
		return "", fmt.Errorf("console-oidc-client-secret-file: %s is empty", c.SecretFile)
	}
	return string(keys[0]), nil
}

// safe reports whether what is sent to a URL can be read on no network.
func safe(u *url.URL) bool { return u.Scheme == "https" || service.Loopback(u.Hostname()) }
