package serve

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var testRoles = []string{"kafka=kafka-1+kafka-2", "gateway", "tracker=tracker-1+10.0.0.1",
	"processor-default=processor", "processor-webhooks=processor", "cli", "admin", "metrics", "lb"}

func read(t *testing.T, dir string, names ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{dir}, names...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each role has what it needs, and nothing of what others are known by.
func TestEachRoleHasItsOwnSecrets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := Roles(dir, testRoles); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"kafka":              "ca.pem scram tls.both.pem",
		"gateway":            "ca.pem grant.key id.key internal.key kafka.password ops.token tls.key tls.pem token.key",
		"tracker":            "ca.pem internal.key kafka.password ops.token tls.key tls.pem",
		"processor-default":  "ca.pem kafka.password ops.token tls.key tls.pem",
		"processor-webhooks": "ca.pem kafka.password ops.token tls.key tls.pem webhook.key",
		"cli":                "ca.pem kafka.password token.key webhook.key",
		"admin":              "ca.pem kafka.password",
		"metrics":            "ca.pem ops.token",
		"lb":                 "ca.pem tls.both.pem",
	}
	passwords := map[string]bool{}
	for role, files := range want {
		entries, err := os.ReadDir(filepath.Join(dir, role))
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, e := range entries {
			have = append(have, e.Name())
			info, err := e.Info()
			if err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("%s/%s has the mode %v, %v", role, e.Name(), info.Mode(), err)
			}
		}
		if got := strings.Join(have, " "); got != files {
			t.Errorf("%s has %s, want %s", role, got, files)
		}
		if slices.Contains(have, passwordFile) {
			password := string(bytes.TrimSpace(read(t, dir, role, passwordFile)))
			line := "SCRAM-SHA-512=[name=ackwire-" + role + ",password=" + password + "]\n"
			if users := string(read(t, dir, "kafka", usersFile)); !strings.Contains(users, line) || passwords[password] {
				t.Errorf("the user of %s is not among those of Kafka, or has another's password", role)
			}
			passwords[password] = true
		}
	}
	if info, err := os.Stat(filepath.Join(dir, authorityKey)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the authority's key: %v, %v", info.Mode(), err)
	}
	if err := Roles(dir, []string{"nobody"}); err == nil || !strings.Contains(err.Error(), `"nobody" is not`) {
		t.Errorf("an unknown role: %v", err)
	}
}

// Certificates are good for their hosts; only brokers may be clients with theirs. What is good is kept, and what ends
// soon or is for other hosts is replaced.
func TestCertificatesOfRoles(t *testing.T) {
	dir := t.TempDir()
	if err := Roles(dir, testRoles); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(read(t, dir, "gateway", authorityFile))
	verify := func(role, cert, key, host string, usage x509.ExtKeyUsage) error {
		t.Helper()
		pair, err := tls.X509KeyPair(read(t, dir, role, cert), read(t, dir, role, key))
		if err != nil {
			t.Fatal(err)
		}
		_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: pool, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	for _, c := range []struct{ role, cert, key, host string }{
		{"kafka", bothFile, bothFile, "kafka-2"}, {"gateway", certFile, certKeyFile, "gateway"},
		{"tracker", certFile, certKeyFile, "10.0.0.1"}, {"processor-default", certFile, certKeyFile, "processor"},
	} {
		if err := verify(c.role, c.cert, c.key, c.host, x509.ExtKeyUsageServerAuth); err != nil {
			t.Errorf("%s: %v", c.role, err)
		}
		client := verify(c.role, c.cert, c.key, c.host, x509.ExtKeyUsageClientAuth)
		if (client == nil) != (c.role == "kafka") {
			t.Errorf("%s as a client: %v", c.role, client)
		}
	}
	tracker, gateway := read(t, dir, "tracker", certFile), read(t, dir, "gateway", certFile)
	if err := Roles(dir, []string{"kafka=kafka-1+kafka-2", "gateway", "tracker=tracker-1+tracker-3"}); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(read(t, dir, "tracker", certFile), tracker) {
		t.Error("a certificate for other hosts is kept")
	}
	if !bytes.Equal(read(t, dir, "gateway", certFile), gateway) {
		t.Error("a good certificate is replaced")
	}
	a, err := openAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parseCertificate(gateway)
	if err != nil || !a.good(gateway, []string{"gateway"}) || time.Until(cert.NotAfter) < renewBefore {
		t.Errorf("%v, ends %v", err, cert.NotAfter)
	}
}
