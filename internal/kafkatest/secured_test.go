package kafkatest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
)

const (
	user     = "svc"
	password = "correct horse"
	clientID = "ackwire"
)

// signer signs the tokens of OAUTHBEARER.
type signer struct{ key *rsa.PrivateKey }

func newSigner(t *testing.T) signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (s signer) jwks() []byte {
	e := big.NewInt(int64(s.key.E)).Bytes()
	return fmt.Appendf(nil, `{"keys":[{"kty":"RSA","kid":"k","use":"sig","alg":"RS256","n":%q,"e":%q}]}`,
		b64(s.key.N.Bytes()), b64(e))
}

// token returns a token that is valid for life from now.
func (s signer) token(t *testing.T, life time.Duration) string {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"sub": user, "aud": "kafka", "iat": now.Add(-time.Hour).Unix(), "exp": now.Add(life).Unix(), "scope": "kafka",
	})
	if err != nil {
		t.Error(err)
	}
	signed := b64([]byte(`{"alg":"RS256","kid":"k","typ":"at+jwt"}`)) + "." + b64(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Error(err)
	}
	return signed + "." + b64(sig)
}

// endpoint runs a token endpoint for client credentials. It gives a token only for the right secret.
func endpoint(t *testing.T, ca *certstest.CA, s signer, secret string) *httptest.Server {
	t.Helper()
	certPEM, keyPEM := ca.Issue(time.Hour, "127.0.0.1")
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		id, given, ok := r.BasicAuth()
		if !ok || id != clientID || given != secret || r.FormValue("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"no such secret"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token": s.token(t, time.Hour), "token_type": "Bearer", "expires_in": 3600,
		})
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// lines keeps what is logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// world is a secured broker and files for its clients.
type world struct {
	t      *testing.T
	broker *Secured
	dir    string
	ca     *certstest.CA
	tokens signer
	caFile string
}

func (w *world) file(name, content string) string {
	w.t.Helper()
	name = filepath.Join(w.dir, name)
	certstest.Write(w.t, name, []byte(content))
	return name
}

// client returns a client of the broker at an address, and what it logs.
func (w *world) client(t *testing.T, addr string, s kafka.Security) (*kgo.Client, *lines) {
	t.Helper()
	cfg := kafka.Config{Brokers: []string{addr}, Security: s}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	cl, err := cfg.NewClient(service.OS(slog.New(slog.NewTextHandler(log, nil))), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl, log
}

// TestSecurity connects to a real broker with every kind of security, and checks that everything that can be wrong is
// told in one line which names the setting, and that the same client works once it is mended.
func TestSecurity(t *testing.T) {
	Require(t)
	w := &world{t: t, dir: t.TempDir(), ca: certstest.NewCA(t), tokens: newSigner(t)}
	cert, key := w.ca.Issue(time.Hour, "127.0.0.1")
	w.broker = StartSecured(t, Credentials{Certificate: cert, Key: key, CA: w.ca.PEM, JWKS: w.tokens.jwks(),
		Users: map[string]string{user: password}})
	w.broker.SetPassword(t, user, password)
	w.caFile = w.ca.File(w.dir, "ca.pem")
	t.Run("connects", w.connects)
	t.Run("explains", w.explains)
}

// sasl returns the settings of a mechanism, with files of its own.
func (w *world) sasl(name, mechanism, password string) kafka.Security {
	return kafka.Security{TLS: true, CAFile: w.caFile, SASL: mechanism, User: user,
		PasswordFile: w.file(name+".password", password+"\n")}
}

func (w *world) connects(t *testing.T) {
	own, ownKey := w.ca.Files(w.dir, "client", time.Hour)
	idp := endpoint(t, w.ca, w.tokens, "s3cret")
	for name, c := range map[string]struct {
		addr string
		set  kafka.Security
	}{
		"plaintext":     {w.broker.Brokers()[0], kafka.Security{}},
		"mutual TLS":    {w.broker.MTLS, kafka.Security{TLS: true, CAFile: w.caFile, CertFile: own, KeyFile: ownKey}},
		"plain":         {w.broker.SASL, w.sasl("plain", "plain", password)},
		"scram-sha-256": {w.broker.SASL, w.sasl("256", "scram-sha-256", password)},
		"scram-sha-512": {w.broker.SASL, w.sasl("512", "scram-sha-512", password)},
		"token file": {w.broker.SASL, kafka.Security{TLS: true, CAFile: w.caFile, SASL: "oauthbearer",
			OAuthTokenFile: w.file("token", w.tokens.token(t, time.Hour))}},
		"token endpoint": {w.broker.SASL, kafka.Security{TLS: true, CAFile: w.caFile, SASL: "oauthbearer",
			OAuthTokenURL: idp.URL, OAuthClientID: clientID, OAuthSecretFile: w.file("secret", "s3cret\n"),
			OAuthCAFile: w.caFile, OAuthScopes: []string{"kafka"}}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
			defer cancel()
			cl, log := w.client(t, c.addr, c.set)
			topic := strings.ReplaceAll(name, " ", "-")
			if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, -1, nil, topic); err != nil {
				t.Fatalf("%v\n%s", err, log)
			}
			if err := kafka.ProduceSync(ctx, cl, &kgo.Record{Topic: topic, Value: []byte("x")}); err != nil {
				t.Errorf("%v\n%s", err, log)
			}
		})
	}
}

func (w *world) explains(t *testing.T) {
	other := certstest.NewCA(t)
	strange, strangeKey := other.Files(w.dir, "strange", time.Hour)
	shortCert, shortKey := filepath.Join(w.dir, "short.pem"), filepath.Join(w.dir, "short.key")
	renew := func(name string) func() { return func() { w.ca.Files(w.dir, name, time.Hour) } }
	rewrite := func(name, content string) func() { return func() { w.file(name, content) } }
	wrong := w.sasl("wrong", "scram-sha-512", "wr0ng")
	idp := endpoint(t, w.ca, w.tokens, "s3cret")
	for _, c := range []struct {
		name, addr string
		set        kafka.Security
		want       string
		mend       func() // nil if only another start can
	}{
		{"wrong password", w.broker.SASL, wrong,
			"refused user svc; check kafka-user and kafka-password-file, " + wrong.PasswordFile,
			rewrite("wrong.password", password)},
		{"wrong password of plain", w.broker.SASL, w.sasl("wrong-plain", "plain", "wr0ng"),
			"refused user svc; check kafka-user and kafka-password-file", rewrite("wrong-plain.password", password)},
		{"expired token", w.broker.SASL, kafka.Security{TLS: true, CAFile: w.caFile, SASL: "oauthbearer",
			OAuthTokenFile: w.file("old-token", w.tokens.token(t, -time.Minute))},
			"kafka-oauth-token-file: the token in " + w.dir + "/old-token expired at",
			rewrite("old-token", w.tokens.token(t, time.Hour))},
		{"token of a stranger", w.broker.SASL, kafka.Security{TLS: true, CAFile: w.caFile, SASL: "oauthbearer",
			OAuthTokenFile: w.file("strange-token", newSigner(t).token(t, time.Hour))},
			"refused the token; check kafka-oauth-token-file", rewrite("strange-token", w.tokens.token(t, time.Hour))},
		{"wrong client secret", w.broker.SASL, kafka.Security{TLS: true, CAFile: w.caFile, SASL: "oauthbearer",
			OAuthTokenURL: idp.URL, OAuthClientID: clientID, OAuthSecretFile: w.file("bad-secret", "wr0ng\n"),
			OAuthCAFile: w.caFile},
			"refused client ackwire: invalid_client: no such secret; check kafka-oauth-client-id and " +
				"kafka-oauth-client-secret-file", rewrite("bad-secret", "s3cret\n")},
		{"token endpoint of an unknown authority", w.broker.SASL, kafka.Security{TLS: true, CAFile: w.caFile,
			SASL: "oauthbearer", OAuthTokenURL: idp.URL, OAuthClientID: clientID, OAuthSecretFile: w.file("ok", "s3cret\n")},
			"(kafka-oauth-token-url)", nil},
		{"unknown authority", w.broker.SASL, kafka.Security{TLS: true, CAFile: other.File(w.dir, "other-ca.pem"),
			SASL: "plain", User: user, PasswordFile: w.file("p1", password)},
			"is signed by an unknown authority; check kafka-tls-ca", rewrite("other-ca.pem", string(w.ca.PEM))},
		{"system's authorities", w.broker.SASL, kafka.Security{TLS: true, SASL: "plain", User: user,
			PasswordFile: w.file("p2", password)}, "name the brokers' by kafka-tls-ca", nil},
		{"another name", w.broker.SASL, kafka.Security{TLS: true, CAFile: w.caFile, ServerName: "kafka.example",
			SASL: "plain", User: user, PasswordFile: w.file("p3", password)},
			"has another name; see kafka-tls-server-name", nil},
		{"strange certificate", w.broker.MTLS, kafka.Security{TLS: true, CAFile: w.caFile, CertFile: strange,
			KeyFile: strangeKey}, "refused", renew("strange")},
		{"ended certificate", w.broker.MTLS, kafka.Security{TLS: true, CAFile: w.caFile, CertFile: shortCert,
			KeyFile: shortKey}, "refused this process's certificate, which ended at", renew("short")},
		{"no certificate", w.broker.MTLS, kafka.Security{TLS: true, CAFile: w.caFile},
			"if it wants a client certificate, set kafka-tls-cert and kafka-tls-key", nil},
		{"plaintext to TLS", w.broker.SASL, kafka.Security{}, "speaks TLS; set kafka-tls", nil},
		{"plaintext to mutual TLS", w.broker.MTLS, kafka.Security{}, "speaks TLS; set kafka-tls", nil},
		{"TLS to plaintext", w.broker.Brokers()[0], kafka.Security{TLS: true, CAFile: w.caFile},
			"which kafka-tls asks for", nil},
		{"TLS to SASL", w.broker.SASL, kafka.Security{TLS: true, CAFile: w.caFile}, "(kafka-sasl)", nil},
		{"SASL to SASL of another mechanism", w.broker.SASLPlaintext, kafka.Security{SASL: "scram-sha-512", User: user,
			PasswordFile: w.file("p4", password)}, "does not take kafka-sasl=scram-sha-512; it takes plain", nil},
		{"SASL without TLS to SASL_SSL", w.broker.SASL, kafka.Security{SASL: "plain", User: user,
			PasswordFile: w.file("p5", password)}, "speaks TLS; set kafka-tls", nil},
		{"SASL to plaintext", w.broker.Brokers()[0], kafka.Security{SASL: "plain", User: user,
			PasswordFile: w.file("p6", password)}, "this listener authenticates nobody by SASL", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			ends := time.Now().Add(2 * time.Second)
			if c.set.CertFile == shortCert {
				w.ca.Files(w.dir, "short", time.Until(ends))
			}
			cl, log := w.client(t, c.addr, c.set)
			pinger := kafka.NewPinger(cl)
			defer pinger.Wait()
			ping := func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				return pinger.Ping(ctx)
			}
			if c.set.CertFile == shortCert {
				until(t, "the certificate has ended", func() bool { return time.Now().After(ends) })
			}
			err := ping()
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v\nwant %q\n%s", err, c.want, log)
			}
			t.Log(err)
			if trouble := kafka.Trouble(cl); trouble == nil || trouble.Error() != err.Error() {
				t.Errorf("trouble: %v", trouble)
			}
			if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("%d lines are logged, not one:\n%s", n, log)
			}
			for _, secret := range []string{"wr0ng", password, "s3cret"} {
				if strings.Contains(log.String()+err.Error(), secret) {
					t.Errorf("a secret is shown:\n%s", log)
				}
			}
			if c.mend == nil {
				return
			}
			c.mend()
			until(t, "it is mended", func() bool { return ping() == nil })
			if err := kafka.Trouble(cl); err != nil {
				t.Errorf("trouble after it was mended: %v", err)
			}
		})
	}
}

// until waits until something holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}
