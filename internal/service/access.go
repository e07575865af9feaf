package service

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/ackwire/ackwire/internal/certs"
)

// OpsConfig holds the settings of an operations listener, apart from its address.
type OpsConfig struct {
	Cert      string `name:"ops-tls-cert" help:"Certificate, with its chain, in PEM, by which the operations listener speaks TLS. It is read again when it changes." placeholder:"FILE"`
	Key       string `name:"ops-tls-key" help:"Private key of ops-tls-cert, in PEM." placeholder:"FILE"`
	TokenFile string `name:"ops-token-file" help:"File with the token, a line of at least 16 bytes, that /metrics and /debug/pprof need (Authorization: Bearer …), and /readyz and /startupz to give reasons. A second line is a second valid token. It is read again when it changes." placeholder:"FILE"`
	Debug     bool   `name:"debug-endpoints" help:"Serve /debug/pprof at ops-listen: profiles of the process, which show its command line and cost CPU time."`
}

// Bounds of the file with tokens.
const (
	minOpsToken  = 16
	maxOpsTokens = 2
)

// Validate reports every problem of the settings. It reads no file.
func (c OpsConfig) Validate() error {
	if (c.Cert == "") != (c.Key == "") {
		return errors.New("ops-tls-cert and ops-tls-key must be set together")
	}
	return nil
}

// access decides who may ask an operations listener what.
//
// The health checks of orchestrators and load balancers are always answered, since most of them cannot send a secret:
// a kubelet's probe has no way to read one. With a token configured, they only tell ready from not ready.
type access struct {
	tokens   *certs.Secrets // nil for no token
	pair     *certs.Pair    // nil for no TLS
	loopback bool           // it listens on a loopback address
}

func (c OpsConfig) access(env Env, address string) (a access, err error) {
	if err := c.Validate(); err != nil {
		return a, err
	}
	host, _, _ := net.SplitHostPort(address)
	a.loopback = Loopback(host)
	files := certs.Env{Log: env.Log, Metrics: env.Metrics}
	var problems [2]error
	if c.TokenFile != "" {
		a.tokens, problems[0] = certs.OpenSecrets(files, "ops-token-file", c.TokenFile, minOpsToken, maxOpsTokens)
	}
	if c.Cert != "" {
		a.pair, problems[1] = certs.OpenPair(files, "ops-tls-cert", c.Cert, c.Key)
	}
	return a, errors.Join(problems[:]...)
}

// secure returns l with TLS, if there is a certificate, else l itself.
func (a access) secure(l net.Listener) net.Listener {
	if a.pair == nil {
		return l
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.pair.Get(), nil },
	})
}

// permitted reports whether a request has a valid token, or none is needed.
func (a access) permitted(r *http.Request) bool {
	if a.tokens == nil {
		return true
	}
	sent, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	got := sha256.Sum256([]byte(sent)) // so that comparing does not tell the token's length
	for _, token := range a.tokens.Get() {
		want := sha256.Sum256(token)
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return true
		}
	}
	return false
}

// withToken returns next for requests that are permitted.
func (a access) withToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.permitted(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the token of ops-token-file is needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// reasons returns a handler that tells next whether the answer may say why something is not ready.
func (a access) reasons(next func(w http.ResponseWriter, reasons bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { next(w, a.permitted(r)) }
}

// hostKnown returns next for requests that no page of another site has sent: on a loopback address, a page whose own
// host name resolves to it (DNS rebinding) could read the answers.
func (a access) hostKnown(next http.Handler) http.Handler {
	if !a.loopback {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.ToLower(strings.Trim(host, "[]"))
		if host == "" || Loopback(host) || a.tokens != nil && a.permitted(r) {
			next.ServeHTTP(w, r)
			return
		}
		http.Error(w, "this listener is asked by another host name than localhost, without the token of ops-token-file",
			http.StatusForbidden)
	})
}
