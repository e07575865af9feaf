package certs

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/certs/certstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() Env { return Env{Log: slog.New(slog.DiscardHandler)} }

// TestWhatIsRefusedAtStart checks that each error is one line that names the setting and the file.
func TestWhatIsRefusedAtStart(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewCA(t)
	cert, key := ca.Files(dir, "good", time.Hour, "localhost")
	_, otherKey := ca.Files(dir, "other", time.Hour, "localhost")
	old, oldKey := ca.Files(dir, "old", -time.Minute, "localhost")
	empty, short, many := filepath.Join(dir, "empty"), filepath.Join(dir, "short"), filepath.Join(dir, "many")
	certstest.Write(t, empty, nil)
	certstest.Write(t, short, []byte("short\n"))
	certstest.Write(t, many, []byte(strings.Repeat(strings.Repeat("k", 32)+"\n", 3)))
	missing := filepath.Join(dir, "missing")
	pair := func(cert, key string) func() error {
		return func() error { _, err := OpenPair(quiet(), "tls-cert", cert, key); return err }
	}
	secrets := func(file string) func() error {
		return func() error { _, err := OpenSecrets(quiet(), "internal-key-file", file, 32, 2); return err }
	}
	authorities := func(file string) func() error {
		return func() error { _, err := OpenAuthorities(quiet(), "internal-tls-ca", file); return err }
	}
	for _, c := range []struct {
		what string
		open func() error
		want string // "" for no error
	}{
		{"a pair", pair(cert, key), ""},
		{"another key", pair(cert, otherKey), "private key does not match public key"},
		{"no key", pair(cert, missing), "tls-cert: stat " + missing},
		{"an ended one", pair(old, oldKey), "the certificate ended at "},
		{"no PEM", pair(empty, key), "tls-cert: " + empty},
		{"no secret", secrets(empty), "it has no key"},
		{"a short secret", secrets(short), "key 1 has 5 bytes, at least 32 are needed"},
		{"many secrets", secrets(many), "at most 2 are allowed"},
		{"an authority", authorities(ca.File(dir, "ca.pem")), ""},
		{"no authority", authorities(key), "it has no certificate in PEM"},
		{"an ended authority", authorities(old), "the certificate ended at "},
	} {
		err := c.open()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
	}
}

// TestFilesAreReadAgain follows a certificate that is renewed, broken, and mended.
func TestFilesAreReadAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		dir, ca := t.TempDir(), certstest.NewCA(t)
		cert, key := ca.Files(dir, "a", 24*time.Hour, "localhost")
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		s, err := OpenPair(Env{slog.New(slog.NewTextHandler(&log, nil)), reg}, "tls-cert", cert, key)
		if err != nil {
			t.Fatal(err)
		}
		first := s.Get()
		ca.Files(dir, "a", 48*time.Hour, "localhost")
		if s.Get() != first {
			t.Error("files are read within a second")
		}
		s.Expire()
		second := s.Get()
		if second == first || !strings.Contains(log.String(), "file read again") {
			t.Fatalf("a renewed certificate is not in use: %s", log.String())
		}
		metric := func(name string) float64 {
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				if f.GetName() == name {
					return f.GetMetric()[0].GetGauge().GetValue()
				}
			}
			return -1
		}
		if ends := metric("ackwire_certificate_end_timestamp_seconds"); ends != float64(second.Leaf.NotAfter.Unix()) {
			t.Errorf("it ends at %v", ends)
		}
		// The certificate is replaced, and its key a second later: nobody is told.
		next, nextKey := ca.Issue(72*time.Hour, "localhost")
		log.Reset()
		certstest.Write(t, cert, next)
		time.Sleep(checkInterval)
		if s.Get() != second || s.Err() != nil {
			t.Errorf("between two writes: %v", s.Err())
		}
		certstest.Write(t, key, nextKey)
		time.Sleep(checkInterval)
		third := s.Get()
		if third == second || strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("after both: %s", log.String())
		}
		// An ended one stays out, said once.
		ca.Files(dir, "a", -time.Minute, "localhost")
		for range 5 {
			time.Sleep(checkInterval)
			if s.Get() != third {
				t.Fatal("an ended certificate is in use")
			}
		}
		said := log.String()
		if n := strings.Count(said, "level=ERROR"); n != 1 || !strings.Contains(said, "the certificate ended") {
			t.Errorf("%d lines: %s", n, said)
		}
		if s.Err() == nil || metric("ackwire_file_unusable") != 1 {
			t.Errorf("err %v, metric %v", s.Err(), metric("ackwire_file_unusable"))
		}
		if err := os.Remove(cert); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(checkInterval)
			_ = s.Get()
		}
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("without the file: %v", err)
		}
		ca.Files(dir, "a", 96*time.Hour, "localhost")
		time.Sleep(checkInterval)
		if s.Get() == third || s.Err() != nil || metric("ackwire_file_unusable") != 0 {
			t.Errorf("mended, and %v", s.Err())
		}
	})
}

// TestAuthoritiesOverlap checks that a file may have the authority before and the one after a change.
func TestAuthoritiesOverlap(t *testing.T) {
	dir, a, b := t.TempDir(), certstest.NewCA(t), certstest.NewCA(t)
	file := filepath.Join(dir, "ca.pem")
	certstest.Write(t, file, append(bytes.Clone(a.PEM), b.PEM...))
	s, err := OpenAuthorities(quiet(), "internal-tls-ca", file)
	if err != nil {
		t.Fatal(err)
	}
	for _, ca := range []*certstest.CA{a, b} {
		cert, key := ca.Files(dir, "x", time.Hour, "localhost")
		pair, err := OpenPair(quiet(), "tls-cert", cert, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Get().Leaf.Verify(x509.VerifyOptions{Roots: s.Get(), DNSName: "localhost"}); err != nil {
			t.Error(err)
		}
	}
}

// TestOneSettingInSeveralParts checks that parts of one process that share a registry may read the same setting.
func TestOneSettingInSeveralParts(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewCA(t)
	cert, key := ca.Files(dir, "a", time.Hour, "localhost")
	env := quiet()
	reg := prometheus.NewRegistry()
	env.Metrics = reg
	first, err := OpenPair(env, "tls-cert", cert, key)
	if err != nil {
		t.Fatal(err)
	}
	// The second part starts while the files are being replaced.
	certstest.Write(t, cert, nil)
	if second, err := OpenPair(env, "tls-cert", cert, key); err != nil || second != first {
		t.Errorf("the second part has %p, the first %p: %v", second, first, err)
	}
	other, otherKey := ca.Files(dir, "b", time.Hour, "localhost")
	if other, err := OpenPair(env, "tls-cert", other, otherKey); err != nil || other == first {
		t.Errorf("other files of that setting: %v", err)
	}
	if err := Define(reg); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "ackwire_file_unusable"); n != 1 || err != nil {
		t.Errorf("%d series, %v", n, err)
	}
}
