package kafka

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/service"
)

// Security has the settings that encrypt connections to Kafka and that authenticate this process. Secrets are
// only in files. Files are read again for new connections, so they can be replaced while the process runs;
// connections that are open stay open.
type Security struct {
	TLS        bool   `name:"kafka-tls" help:"Connect to Kafka with TLS 1.2 or later."`
	CAFile     string `name:"kafka-tls-ca" help:"PEM file with the certificate authorities that sign the brokers' certificates. Without it those of the system are trusted." placeholder:"FILE"`
	CertFile   string `name:"kafka-tls-cert" help:"PEM file with the certificate, and those between it and its authority, by which this process authenticates to Kafka." placeholder:"FILE"`
	KeyFile    string `name:"kafka-tls-key" help:"PEM file with the private key of kafka-tls-cert." placeholder:"FILE"`
	ServerName string `name:"kafka-tls-server-name" help:"Name that the brokers' certificates must have. By default it is the host of each broker's address." placeholder:"HOST"`

	SASL         string `name:"kafka-sasl" help:"How this process authenticates to Kafka: plain, scram-sha-256, scram-sha-512, oauthbearer or aws-msk-iam. Without it there is no SASL." enum:",plain,scram-sha-256,scram-sha-512,oauthbearer,aws-msk-iam" default:"" placeholder:"MECHANISM"`
	User         string `name:"kafka-user" help:"User name for plain and scram." placeholder:"NAME"`
	PasswordFile string `name:"kafka-password-file" help:"File with the password of kafka-user, in one line. It is read again for each connection." placeholder:"FILE"`

	OAuthTokenURL   string   `name:"kafka-oauth-token-url" help:"Token endpoint from which oauthbearer gets its tokens with client credentials (RFC 6749, 4.4)." placeholder:"URL"`
	OAuthClientID   string   `name:"kafka-oauth-client-id" help:"Client ID for the token endpoint." placeholder:"ID"`
	OAuthSecretFile string   `name:"kafka-oauth-client-secret-file" help:"File with the client secret for the token endpoint, in one line. It is read again for each token." placeholder:"FILE"`
	OAuthScopes     []string `name:"kafka-oauth-scopes" help:"Scopes to ask the token endpoint for." placeholder:"SCOPE" sep:","`
	OAuthAudience   string   `name:"kafka-oauth-audience" help:"Audience to ask the token endpoint for, where it wants one." placeholder:"NAME"`
	OAuthCAFile     string   `name:"kafka-oauth-ca" help:"PEM file with the certificate authorities that sign the token endpoint's certificate. Without it those of the system are trusted." placeholder:"FILE"`
	OAuthTokenFile  string   `name:"kafka-oauth-token-file" help:"File with the token for oauthbearer, instead of a token endpoint. It is read again for each connection." placeholder:"FILE"`
	OAuthExtensions []string `name:"kafka-oauth-extensions" help:"SASL extensions that oauthbearer sends, such as logicalCluster=lkc-1 for Confluent Cloud." placeholder:"NAME=VALUE" sep:","`

	IAMRole string `name:"kafka-iam-role" help:"ARN of the role that aws-msk-iam assumes. Without it the credentials that AWS's default chain finds are used as they are." placeholder:"ARN"`
}

// Mechanisms of SASL, as values of Security.SASL.
const (
	saslPlain    = "plain"
	saslScram256 = "scram-sha-256"
	saslScram512 = "scram-sha-512"
	saslOAuth    = "oauthbearer"
	saslIAM      = "aws-msk-iam"
)

// check returns all that is wrong with the settings and with the content of the files that they name, or nil.
func (s Security) check() error {
	if err := errors.Join(s.checkTLS(), s.checkSASL()); err != nil {
		return err
	}
	_, err := s.open(certs.Env{Log: slog.New(slog.DiscardHandler)})
	return err
}

// checkTLS is the part of check about certificates.
func (s Security) checkTLS() error {
	if !s.TLS {
		for _, set := range []struct{ setting, value string }{
			{"kafka-tls-ca", s.CAFile}, {"kafka-tls-cert", s.CertFile}, {"kafka-tls-key", s.KeyFile},
			{"kafka-tls-server-name", s.ServerName},
		} {
			if set.value != "" {
				return fmt.Errorf("%s: it has no effect without kafka-tls", set.setting)
			}
		}
		return nil
	}
	if (s.CertFile == "") != (s.KeyFile == "") {
		return errors.New("kafka-tls-cert and kafka-tls-key: one needs the other")
	}
	return nil
}

// checkSASL is the part of check about authentication.
func (s Security) checkSASL() error {
	// Every setting that a mechanism needs or may have; any other that is set has no effect.
	settings := []struct {
		name, value string
		of          []string
	}{
		{"kafka-user", s.User, []string{saslPlain, saslScram256, saslScram512}},
		{"kafka-password-file", s.PasswordFile, []string{saslPlain, saslScram256, saslScram512}},
		{"kafka-oauth-token-url", s.OAuthTokenURL, []string{saslOAuth}},
		{"kafka-oauth-client-id", s.OAuthClientID, []string{saslOAuth}},
		{"kafka-oauth-client-secret-file", s.OAuthSecretFile, []string{saslOAuth}},
		{"kafka-oauth-scopes", strings.Join(s.OAuthScopes, ","), []string{saslOAuth}},
		{"kafka-oauth-audience", s.OAuthAudience, []string{saslOAuth}},
		{"kafka-oauth-ca", s.OAuthCAFile, []string{saslOAuth}},
		{"kafka-oauth-token-file", s.OAuthTokenFile, []string{saslOAuth}},
		{"kafka-oauth-extensions", strings.Join(s.OAuthExtensions, ","), []string{saslOAuth}},
		{"kafka-iam-role", s.IAMRole, []string{saslIAM}},
	}
	var problems []error
	for _, set := range settings {
		if set.value != "" && !slices.Contains(set.of, s.SASL) {
			problems = append(problems, fmt.Errorf("%s: it has no effect without kafka-sasl=%s", set.name,
				strings.Join(set.of, " or ")))
		}
	}
	switch s.SASL {
	case "":
	case saslPlain, saslScram256, saslScram512:
		if s.User == "" || s.PasswordFile == "" {
			problems = append(problems, fmt.Errorf("kafka-sasl: %s needs kafka-user and kafka-password-file", s.SASL))
		}
	case saslOAuth:
		problems = append(problems, s.checkOAuth())
	case saslIAM:
		problems = append(problems, s.checkIAM())
	default:
		problems = append(problems, fmt.Errorf("kafka-sasl: %q is not %s, %s, %s, %s or %s", s.SASL, saslPlain,
			saslScram256, saslScram512, saslOAuth, saslIAM))
	}
	return errors.Join(problems...)
}

// inClear reports whether the secret is sent to one of the brokers in clear text. Scram and aws-msk-iam send none.
func (c Config) inClear() bool {
	if c.Security.TLS || c.Security.SASL != saslPlain && c.Security.SASL != saslOAuth {
		return false
	}
	return slices.ContainsFunc(c.Brokers, func(b string) bool {
		host, _, err := net.SplitHostPort(b)
		return err != nil || !service.Loopback(host)
	})
}

// checkOAuth is the part of check about tokens.
func (s Security) checkOAuth() error {
	endpoint := s.OAuthTokenURL != ""
	if endpoint == (s.OAuthTokenFile != "") {
		return errors.New("kafka-sasl: oauthbearer needs either kafka-oauth-token-url or kafka-oauth-token-file")
	}
	_, err := s.extensions()
	if !endpoint {
		return err
	}
	if s.OAuthClientID == "" || s.OAuthSecretFile == "" {
		err = errors.Join(err, errors.New(
			"kafka-oauth-token-url: it needs kafka-oauth-client-id and kafka-oauth-client-secret-file"))
	}
	var u *url.URL
	u, wrong := service.HTTPURL(s.OAuthTokenURL)
	switch {
	case wrong != nil:
		err = errors.Join(err, fmt.Errorf("kafka-oauth-token-url: %w", wrong))
	case u.Scheme == "http" && !service.Loopback(u.Hostname()):
		err = errors.Join(err, errors.New(
			"kafka-oauth-token-url: http would send the client secret in clear text: use https"))
	}
	return err
}

// extensions returns the SASL extensions of OAuthExtensions.
func (s Security) extensions() (map[string]string, error) {
	all := map[string]string{}
	for _, e := range s.OAuthExtensions {
		name, value, ok := strings.Cut(e, "=")
		if name = strings.TrimSpace(name); !ok || name == "" || name == "auth" {
			return nil, fmt.Errorf("kafka-oauth-extensions: %q is not NAME=VALUE", e)
		}
		all[name] = value
	}
	return all, nil
}

// files are the files that the settings name; each is nil if its setting is empty.
type files struct {
	ca, oauthCA           *certs.Authorities
	pair                  *certs.Pair
	password, oauthSecret *certs.Secrets
	token                 *certs.Secrets
}

// open reads the files, or returns all that is wrong with them.
func (s Security) open(env certs.Env) (f files, err error) {
	var problems []error
	authorities := func(setting, file string) (a *certs.Authorities) {
		if file != "" {
			a, err = certs.OpenAuthorities(env, setting, file)
			problems = append(problems, err)
		}
		return a
	}
	secret := func(setting, file string) (secret *certs.Secrets) {
		if file != "" {
			secret, err = certs.OpenSecrets(env, setting, file, 1, 1)
			problems = append(problems, err)
		}
		return secret
	}
	f.ca, f.oauthCA = authorities("kafka-tls-ca", s.CAFile), authorities("kafka-oauth-ca", s.OAuthCAFile)
	f.password = secret("kafka-password-file", s.PasswordFile)
	f.oauthSecret = secret("kafka-oauth-client-secret-file", s.OAuthSecretFile)
	f.token = secret("kafka-oauth-token-file", s.OAuthTokenFile)
	if s.CertFile != "" {
		f.pair, err = certs.OpenPair(env, "kafka-tls-cert", s.CertFile, s.KeyFile)
		problems = append(problems, err)
	}
	return f, errors.Join(problems...)
}

// only returns the one secret of a file.
func only(s *certs.Secrets) string { return string(s.Get()[0]) }

// roots returns the trusted authorities; nil, which means those of the system, without a file.
func roots(a *certs.Authorities) *x509.CertPool {
	if a == nil {
		return nil
	}
	return a.Get()
}
