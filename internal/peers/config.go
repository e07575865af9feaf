// Package peers secures the calls between Ackwire's own processes, which are those of gateways to trackers: with TLS,
// with certificates on both sides (mutual TLS), with a shared secret, or with several of them.
package peers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/ackwire/ackwire/internal/certs"
)

// Bounds of the file with shared secrets.
const (
	MinKeyBytes = 32
	maxKeys     = 2 // the one before and the one after a change
)

// Config holds the settings of the calls between Ackwire's own processes. Gateways and trackers have the same ones.
type Config struct {
	KeyFile    string `name:"internal-key-file" help:"File with the secret that gateways and trackers share, a line of at least 32 bytes. A second line is a second valid secret, for a change of the secret: gateways send the first one. Trackers refuse calls without it." placeholder:"FILE"`
	Cert       string `name:"internal-tls-cert" help:"Certificate, with its chain, in PEM: a tracker serves its API with TLS by it, and a gateway shows it to trackers. It is read again when it changes." placeholder:"FILE"`
	Key        string `name:"internal-tls-key" help:"Private key of internal-tls-cert, in PEM." placeholder:"FILE"`
	CA         string `name:"internal-tls-ca" help:"Certificates of the authorities that sign the certificates of gateways and trackers, in PEM. A gateway accepts only trackers with such a certificate (by default: of the system's authorities), and a tracker only gateways with one (by default: without one, too)." placeholder:"FILE"`
	ServerName string `name:"internal-tls-server-name" help:"Name that a gateway expects in trackers' certificates, in place of the host in a tracker's address." placeholder:"NAME"`
	Insecure   bool   `name:"insecure-internal" help:"Let a tracker that others can reach start without internal-key-file and without internal-tls-ca: anyone who reaches it can then read and change the jobs of all tenants. A gateway with internal-tls-ca or internal-tls-cert then also calls trackers without TLS, as during a change to TLS."`
}

// Validate joins all problems of the settings. It reads no file.
func (c Config) Validate() error {
	if (c.Cert == "") != (c.Key == "") {
		return errors.New("internal-tls-cert and internal-tls-key must be set together")
	}
	return nil
}

// Authenticates reports whether a tracker with these settings knows its callers.
func (c Config) Authenticates() bool { return c.KeyFile != "" || c.Cert != "" && c.CA != "" }

// files are the contents of the files that the settings name; nil for a setting that is not set.
type files struct {
	pair        *certs.Pair
	authorities *certs.Authorities
	secrets     *certs.Secrets
}

func (c Config) open(env certs.Env) (f files, err error) {
	if err := c.Validate(); err != nil {
		return f, err
	}
	var problems [3]error
	if c.Cert != "" {
		f.pair, problems[0] = certs.OpenPair(env, "internal-tls-cert", c.Cert, c.Key)
	}
	if c.CA != "" {
		f.authorities, problems[1] = certs.OpenAuthorities(env, "internal-tls-ca", c.CA)
	}
	if c.KeyFile != "" {
		f.secrets, problems[2] = certs.OpenSecrets(env, "internal-key-file", c.KeyFile, MinKeyBytes, maxKeys)
	}
	return f, errors.Join(problems[:]...)
}

// token returns what a caller sends to prove that it knows a secret. It is derived from the secret, which so may have
// any bytes and is never sent itself.
func token(key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("ackwire internal v1"))
	return hex.EncodeToString(mac.Sum(nil))
}
