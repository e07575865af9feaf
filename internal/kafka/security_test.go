package kafka

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/certs/certstest"
)

// TestSecuritySettingsThatAreRefused checks that what cannot work is refused at the start, in one line that names the
// setting and shows no secret.
func TestSecuritySettingsThatAreRefused(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewCA(t)
	caFile := ca.File(dir, "ca.pem")
	cert, key := ca.Files(dir, "good", time.Hour, "localhost")
	old, oldKey := ca.Files(dir, "old", -time.Minute, "localhost")
	file := func(name, content string) string {
		name = filepath.Join(dir, name)
		certstest.Write(t, name, []byte(content))
		return name
	}
	password, two, empty := file("password", "hunter2\n"), file("two", "hunter2\nhunter3\n"), file("empty", "")
	endpoint := Security{
		SASL: saslOAuth, OAuthTokenURL: "https://idp/token", OAuthClientID: "me", OAuthSecretFile: password,
	}
	with := func(s Security, change func(*Security)) Security { change(&s); return s }
	for _, c := range []struct {
		what string
		set  Security
		want string // "" for none
	}{
		{"nothing", Security{}, ""},
		{"TLS", Security{TLS: true}, ""},
		{"mutual TLS", Security{TLS: true, CAFile: caFile, CertFile: cert, KeyFile: key}, ""},
		{"a CA without TLS", Security{CAFile: caFile}, "kafka-tls-ca: it has no effect without kafka-tls"},
		{"a missing CA", Security{TLS: true, CAFile: filepath.Join(dir, "none")}, "kafka-tls-ca: stat " + dir},
		{"a CA that is none", Security{TLS: true, CAFile: key}, "kafka-tls-ca: " + key + ": it has no certificate"},
		{"no key", Security{TLS: true, CertFile: cert}, "one needs the other"},
		{"another key", Security{TLS: true, CertFile: cert, KeyFile: oldKey}, "private key does not match"},
		{"an ended certificate", Security{TLS: true, CertFile: old, KeyFile: oldKey}, "kafka-tls-cert: " + old},
		{"SCRAM", Security{SASL: saslScram512, User: "u", PasswordFile: password}, ""},
		{"no user", Security{SASL: saslPlain, PasswordFile: password}, "plain needs kafka-user and kafka-password-file"},
		{"two passwords", Security{SASL: saslPlain, User: "u", PasswordFile: two}, "kafka-password-file: " + two},
		{"no password", Security{SASL: saslPlain, User: "u", PasswordFile: empty}, "it has no key"},
		{"an unknown mechanism", Security{SASL: "gssapi"}, `kafka-sasl: "gssapi" is not plain`},
		{"a user alone", Security{User: "u"}, "kafka-user: it has no effect without kafka-sasl=plain or scram-sha-256 or"},
		{"a token endpoint", endpoint, ""},
		{"a token file, too", with(endpoint, func(s *Security) { s.OAuthTokenFile = password }),
			"either kafka-oauth-token-url or"},
		{"no client", with(endpoint, func(s *Security) { s.OAuthClientID = "" }), "it needs kafka-oauth-client-id and"},
		{"http", with(endpoint, func(s *Security) { s.OAuthTokenURL = "http://idp/token" }), "in clear text: use https"},
		{"http to this host", with(endpoint, func(s *Security) { s.OAuthTokenURL = "http://127.0.0.1/token" }), ""},
		{"an extension", with(endpoint, func(s *Security) { s.OAuthExtensions = []string{"x"} }), `"x" is not NAME=VALUE`},
		{"IAM without TLS", Security{SASL: saslIAM}, "aws-msk-iam needs kafka-tls"},
	} {
		err := Config{Brokers: []string{"b:1"}, Security: c.set}.Check()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		case err != nil && strings.Contains(err.Error(), "hunter"):
			t.Errorf("%s: the error has the secret: %v", c.what, err)
		}
	}
}
