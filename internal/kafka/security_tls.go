package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// tlsConfig returns the settings of one connection to a broker's host, with the certificates that the files have now.
func (st *standing) tlsConfig(host string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: roots(st.files.ca)}
	if name := st.security.ServerName; name != "" {
		cfg.ServerName = name
	}
	if st.files.pair != nil {
		cfg.Certificates = []tls.Certificate{*st.files.pair.Get()}
	}
	return cfg
}

// encrypt makes a TLS connection of raw, to the broker at address. On an error it closes raw. A handshake that the
// request itself gives up, by its context, says nothing about TLS; one that takes longer than any request may does.
func (st *standing) encrypt(ctx context.Context, raw net.Conn, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err == nil {
		bounded, cancel := context.WithTimeout(ctx, st.bounds.Request)
		defer cancel()
		conn := tls.Client(raw, st.tlsConfig(host))
		if err = conn.HandshakeContext(bounded); err == nil {
			return conn, nil
		}
		err = st.explainTLS(err, address, time.Now())
	}
	_ = raw.Close()
	if ctx.Err() != nil {
		return nil, err
	}
	return nil, st.note(reasonTLS, err)
}

// explainTLS returns why a TLS handshake failed and which setting decides about it.
func (st *standing) explainTLS(err error, address string, now time.Time) error {
	var (
		unknown  x509.UnknownAuthorityError
		invalid  x509.CertificateInvalidError
		hostname x509.HostnameError
		header   tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &unknown):
		trusted := "the system's authorities are trusted: name the brokers' by kafka-tls-ca"
		if st.security.CAFile != "" {
			trusted = "check kafka-tls-ca, " + st.security.CAFile
		}
		return fmt.Errorf("the certificate of broker %s is signed by an unknown authority; %s: %w", address, trusted, err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		end := invalid.Cert.NotAfter
		if now.Before(invalid.Cert.NotBefore) {
			return fmt.Errorf("the certificate of broker %s begins only at %s; check the clocks: %w", address,
				invalid.Cert.NotBefore.UTC().Format(time.RFC3339), err)
		}
		return fmt.Errorf("the certificate of broker %s ended at %s; renew it at the broker: %w", address,
			end.UTC().Format(time.RFC3339), err)
	case errors.As(err, &hostname):
		return fmt.Errorf("the certificate of broker %s has another name; see kafka-tls-server-name: %w", address, err)
	case errors.As(err, &header):
		return fmt.Errorf("broker %s does not speak TLS, which kafka-tls asks for; use its TLS listener: %w", address, err)
	case refusedByPeer(err):
		return st.explainAlert(err, address, now)
	case errors.Is(err, io.EOF) || brokenPipe(err):
		return fmt.Errorf("broker %s closed the connection in the TLS handshake; if it is up, its listener does not "+
			"speak TLS, which kafka-tls asks for: %w", address, err)
	}
	return fmt.Errorf("TLS handshake with broker %s (kafka-tls): %w", address, err)
}

// explainAlert returns why a broker has ended a TLS connection with an alert.
func (st *standing) explainAlert(err error, address string, now time.Time) error {
	if st.files.pair == nil {
		return fmt.Errorf("broker %s refused the TLS connection; if it wants a client certificate, set kafka-tls-cert "+
			"and kafka-tls-key: %w", address, err)
	}
	why := "refused this process's certificate"
	if end := st.files.pair.Ends(); now.After(end) {
		why += ", which ended at " + end.UTC().Format(time.RFC3339)
	}
	return fmt.Errorf("broker %s %s; check kafka-tls-cert, %s: %w", address, why, st.security.CertFile, err)
}

// refusedByPeer reports whether err is an alert of TLS that the peer has sent.
func refusedByPeer(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// brokenPipe reports whether the peer has reset the connection.
func brokenPipe(err error) bool {
	text := err.Error()
	return strings.Contains(text, "connection reset") || strings.Contains(text, "broken pipe")
}
