package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/service"
)

// Client makes calls to servers with the same settings.
type Client struct {
	files
	serverName string
	plain      bool // servers on other machines may be called without TLS
}

// Client returns a client with these settings.
func (c Config) Client(env certs.Env) (*Client, error) {
	f, err := c.open(env)
	if err != nil {
		return nil, err
	}
	return &Client{files: f, serverName: c.ServerName, plain: c.Insecure || c.CA == "" && c.Cert == ""}, nil
}

// RefusedError is the error of a call that is refused, by the server or by this client. It will be refused again until
// somebody changes settings or files.
type RefusedError struct {
	Reason string
	err    error
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

// Unwrap implements the interface of package errors.
func (e *RefusedError) Unwrap() error { return e.err }

// TLS makes the handshake over a connection to a server at address, host:port. It closes the connection after an error.
func (c *Client) TLS(ctx context.Context, conn net.Conn, address string) (*tls.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	asked := false // for a certificate
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: host, NextProtos: []string{"h2"}}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		if c.pair == nil {
			return &tls.Certificate{}, nil
		}
		return c.pair.Get(), nil
	}
	if c.serverName != "" {
		cfg.ServerName = c.serverName
	}
	if c.authorities != nil {
		cfg.RootCAs = c.authorities.Get()
	}
	raw := &verdictConn{Conn: conn}
	secure := tls.Client(raw, cfg)
	err = secure.HandshakeContext(ctx)
	if err == nil && asked {
		err = raw.verdict(ctx, secure)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// Transport is an http.RoundTripper that proves to servers who calls, and recognises that a call is refused.
type Transport struct {
	Client *Client
	HTTP   http.RoundTripper
	// Told is called with the outcome of each call that has shown whether the server accepts this client: nil, or a
	// *RefusedError. base has the server's scheme and host.
	Told func(base *url.URL, err error)
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" && !t.Client.plain && !service.Loopback(r.URL.Hostname()) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, t.refused(r, "it does not speak TLS, and this process has internal-tls-ca or internal-tls-cert "+
			"(insecure-internal allows it)", nil)
	}
	if t.Client.secrets != nil {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", bearer+token(t.Client.secrets.Get()[0]))
	}
	resp, err := t.HTTP.RoundTrip(r)
	if err != nil {
		if reason := refusal(err); reason != "" {
			err = t.refused(r, reason, err)
		}
		return nil, err
	}
	if detail := resp.Header.Get(RefusedHeader); detail != "" {
		_ = resp.Body.Close()
		return nil, t.refused(r, "it refuses this process: "+detail, nil)
	}
	t.Told(r.URL, nil)
	return resp, nil
}

func (t *Transport) refused(r *http.Request, reason string, err error) error {
	e := &RefusedError{Reason: reason, err: err}
	t.Told(r.URL, e)
	return e
}

// refusal returns why an error of a call means that the peers' settings do not fit together; empty if it does not.
func refusal(err error) string {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch text := err.Error(); {
	case errors.As(err, &certificate):
		return fmt.Sprintf("its certificate is not accepted: %v (see internal-tls-ca)", certificate.Err)
	case errors.As(err, &record):
		return "it is advertised with TLS, and does not speak it"
	// The alert of a server that refuses a client's certificate comes after the handshake, within errors of HTTP/2.
	case strings.Contains(text, "remote error: tls: "):
		_, alert, _ := strings.Cut(text, "remote error: tls: ")
		return fmt.Sprintf("it refuses the certificate or the TLS of this process: %s (see internal-tls-cert)", alert)
	}
	return ""
}
