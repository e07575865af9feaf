package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/ackwire/ackwire/internal/keyfile"
)

// Pair is a certificate with its private key, from two files in PEM.
type Pair = Source[*tls.Certificate]

// OpenPair reads a certificate, with its chain, and its private key. It refuses a certificate that has ended or does
// not match the key. setting is the name of the setting of the certificate's file.
func OpenPair(env Env, setting, cert, key string) (*Pair, error) {
	return Open(env, setting, []string{cert, key}, parsePair)
}

func parsePair(contents [][]byte) (Parsed[*tls.Certificate], error) {
	var p Parsed[*tls.Certificate]
	cert, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return p, err
	}
	p.Value, p.Ends = &cert, cert.Leaf.NotAfter
	for _, der := range cert.Certificate[1:] {
		if ca, err := x509.ParseCertificate(der); err == nil && ca.NotAfter.Before(p.Ends) {
			p.Ends = ca.NotAfter
		}
	}
	return p, ended(p.Ends)
}

func ended(at time.Time) error {
	if time.Now().After(at) {
		return fmt.Errorf("the certificate ended at %s", at.UTC().Format(time.RFC3339))
	}
	return nil
}

// Authorities are the certificates of authorities (CAs) by which others' certificates are verified, from a file in PEM.
type Authorities = Source[*x509.CertPool]

// OpenAuthorities reads the certificates of authorities. Of several, as during a change of the authority, only one
// must not have ended.
func OpenAuthorities(env Env, setting, file string) (*Authorities, error) {
	return Open(env, setting, []string{file}, parseAuthorities)
}

func parseAuthorities(contents [][]byte) (Parsed[*x509.CertPool], error) {
	p := Parsed[*x509.CertPool]{Value: x509.NewCertPool()}
	for rest := contents[0]; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return p, err
		}
		p.Value.AddCert(ca)
		if ca.NotAfter.After(p.Ends) {
			p.Ends = ca.NotAfter
		}
	}
	if p.Ends.IsZero() {
		return p, errors.New("it has no certificate in PEM")
	}
	return p, ended(p.Ends)
}

// Secrets are secret keys, from a file with one key a line.
type Secrets = Source[[][]byte]

// OpenSecrets reads 1 to most keys of at least least bytes each.
func OpenSecrets(env Env, setting, file string, least, most int) (*Secrets, error) {
	return Open(env, setting, []string{file}, func(contents [][]byte) (p Parsed[[][]byte], err error) {
		if p.Value, err = keyfile.Parse(contents[0], most); err != nil {
			return p, err
		}
		if len(p.Value) == 0 {
			return p, errors.New("it has no key")
		}
		for i, key := range p.Value {
			if len(key) < least {
				return p, fmt.Errorf("key %d has %d bytes, at least %d are needed", i+1, len(key), least)
			}
		}
		return p, nil
	})
}
