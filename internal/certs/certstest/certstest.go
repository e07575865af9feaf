// Package certstest makes authorities, certificates and their files for tests.
package certstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is an authority that signs certificates.
type CA struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	PEM  []byte
}

// NewCA makes an authority.
func NewCA(t testing.TB) *CA {
	t.Helper()
	c := &CA{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &c.key.PublicKey, c.key)
	must(t, err)
	c.cert, err = x509.ParseCertificate(der)
	must(t, err)
	c.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return c
}

// Pool returns a pool with the authority.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// File writes the authority's certificate to a file in dir and returns its name.
func (c *CA) File(dir, name string) string {
	c.t.Helper()
	file := filepath.Join(dir, name)
	Write(c.t, file, c.PEM)
	return file
}

// Issue returns a certificate and its key in PEM, for servers and clients, valid from now for life, or ended if life is
// negative. hosts are names or IP addresses.
func (c *CA) Issue(life time.Duration, hosts ...string) (cert, key []byte) {
	c.t.Helper()
	k := newKey(c.t)
	template := &x509.Certificate{
		SerialNumber: serial(c.t), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, &k.PublicKey, c.key)
	must(c.t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	must(c.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// Files writes a certificate as Issue makes it to name.pem and name.key in dir, and returns their names. It replaces
// files that are there.
func (c *CA) Files(dir, name string, life time.Duration, hosts ...string) (certFile, keyFile string) {
	c.t.Helper()
	cert, key := c.Issue(life, hosts...)
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	Write(c.t, certFile, cert)
	Write(c.t, keyFile, key)
	return certFile, keyFile
}

// Client returns the configuration of a client that trusts the authority.
func (c *CA) Client() *tls.Config {
	return &tls.Config{RootCAs: c.Pool(), MinVersion: tls.VersionTLS12}
}

// Write replaces a file as a whole.
func Write(t testing.TB, file string, content []byte) {
	t.Helper()
	tmp := file + ".new"
	must(t, os.WriteFile(tmp, content, 0o600))
	must(t, os.Rename(tmp, file))
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return k
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
