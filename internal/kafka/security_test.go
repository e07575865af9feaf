package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/simnet"
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

// TestAWrongPasswordLosesNothing checks that what is produced while brokers refuse the password waits for the right
// one, that the reason is logged once for all clients of the process, and that nothing shows a password. kfake refuses
// by closing the connection; with said it answers with an error, as Kafka does.
func TestAWrongPasswordLosesNothing(t *testing.T) {
	for _, c := range []struct {
		mechanism string
		said      bool
	}{{saslPlain, false}, {saslPlain, true}, {saslScram256, false}, {saslScram512, false}} {
		mechanism := c.mechanism
		bubble.Test(t, func(t *testing.T) {
			n := simnet.New()
			l, err := n.Host("broker").Listen(t.Context(), "tcp", "localhost:9092")
			if err != nil {
				t.Fatal(err)
			}
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic), kfake.ListenFn(listenOnce(l)),
				kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), "svc", "right"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			const why = " user svc; check kafka-user and kafka-password-file"
			wording := "perhaps because it refuses" + why
			if c.said {
				wording = "refused" + why
				cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
					cluster.KeepControl()
					return refuse(req)
				})
			}
			file := filepath.Join(t.TempDir(), "password")
			certstest.Write(t, file, []byte("right\n"))
			client := n.Host("client")
			var log strings.Builder
			env := service.Env{Log: slog.New(slog.NewTextHandler(&log, nil)), Dial: client.Dial,
				Metrics: prometheus.NewRegistry()}
			cfg := Config{Brokers: []string{"localhost:9092"},
				Security: Security{SASL: mechanism, User: "svc", PasswordFile: file}}
			var clients []*kgo.Client
			for range 2 {
				cl, err := cfg.NewClient(env, "test")
				if err != nil {
					t.Fatal(err)
				}
				defer cl.Close()
				clients = append(clients, cl)
				if err := ProduceSync(t.Context(), cl, &kgo.Record{Topic: topic, Value: []byte("first")}); err != nil {
					t.Fatal(err)
				}
			}
			certstest.Write(t, file, []byte("wr0ng\n"))
			time.Sleep(2 * time.Second) // files are looked at once a second
			// A new connection reads the file. One that begins in the same instant may still use what was read before.
			first, err := cfg.NewClient(env, "test")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := ProduceSync(ctx, first, &kgo.Record{Topic: topic, Value: []byte("x")}); err == nil {
				t.Errorf("%s: the wrong password is taken", mechanism)
			}
			cancel()
			first.Close()
			client.Cut()
			client.Heal()
			results := make(chan error, len(clients))
			for _, cl := range clients {
				go func() {
					results <- ProduceSync(t.Context(), cl, &kgo.Record{Topic: topic, Value: []byte("x")})
				}()
			}
			time.Sleep(3 * time.Second)
			for _, cl := range clients {
				if err := Trouble(cl); err == nil || !strings.Contains(err.Error(), wording) {
					t.Errorf("%s: %v", mechanism, err)
				}
			}
			certstest.Write(t, file, []byte("right\n"))
			for range cap(results) {
				if err := <-results; err != nil {
					t.Errorf("%s: %v", mechanism, err)
				}
			}
			for _, cl := range clients {
				if err := Trouble(cl); err != nil {
					t.Errorf("%s: after it was mended: %v", mechanism, err)
				}
			}
			said := log.String()
			if n := strings.Count(said, why); n != 1 || strings.Contains(said, "wr0ng") || strings.Contains(said, "right") {
				t.Errorf("%s: %d lines\n%s", mechanism, n, said)
			}
			cluster.Close()
		})
	}
}

// Requests that wait behind others for a connection are told why those were refused, and not that the broker is slow.
func TestRequestsThatWaitBehindRefusedOnes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := simnet.New()
		l, err := n.Host("broker").Listen(t.Context(), "tcp", "localhost:9092")
		if err != nil {
			t.Fatal(err)
		}
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(listenOnce(l)), kfake.EnableSASL(),
			kfake.Superuser("PLAIN", "svc", "right"))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			return refuse(req)
		})
		file := filepath.Join(t.TempDir(), "password")
		certstest.Write(t, file, []byte("wr0ng\n"))
		dial := n.Host("client").Dial
		slow := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if !pause.For(ctx, 300*time.Millisecond) {
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
			}
			return dial(ctx, network, addr)
		}
		env := service.Env{Log: slog.New(slog.DiscardHandler), Dial: slow}
		cfg := Config{Brokers: []string{"localhost:9092"},
			Security: Security{SASL: saslPlain, User: "svc", PasswordFile: file}}
		cl, err := cfg.NewClient(env, "test")
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		results := make(chan error, 8)
		for range cap(results) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := Compare(ctx, cl, Topic{Name: topic})
				results <- err
			}()
		}
		for range cap(results) {
			if err := <-results; err == nil || !strings.Contains(err.Error(), "refused user svc") {
				t.Errorf("%v", err)
			}
		}
	})
}

// A request whose time ends within a TLS handshake says nothing about TLS: the client's trouble stays what it was, and
// the request is told of it. A handshake that gets no answer within the client's own bound is a problem of TLS.
func TestATLSHandshakeThatItsRequestGivesUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := simnet.New()
		l, err := n.Host("broker").Listen(t.Context(), "tcp", "localhost:9093")
		if err != nil {
			t.Fatal(err)
		}
		conns := make(chan net.Conn)
		buffered := simnet.BufferedListener(l)
		go func() {
			for {
				conn, err := buffered.Accept()
				if err != nil {
					return
				}
				conns <- conn
			}
		}()
		cert, key := certstest.NewCA(t).Issue(time.Hour, "localhost")
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		caFile := certstest.NewCA(t).File(t.TempDir(), "ca.pem")
		st := &standing{security: Security{TLS: true, CAFile: caFile}, bounds: Config{}.Bounds(),
			log: slog.New(slog.DiscardHandler), problems: newProblems(nil)}
		if st.files, err = st.security.open(certs.Env{Log: st.log}); err != nil {
			t.Fatal(err)
		}
		dial := st.dial(service.Env{Log: st.log, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := n.Host("client").Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return simnet.Buffered(conn), nil
		}})
		try := func(within time.Duration, answer func(net.Conn)) error {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			result := make(chan error)
			go func() {
				_, err := dial(ctx, "tcp", "localhost:9093")
				result <- err
			}()
			conn := <-conns
			defer conn.Close()
			answer(conn)
			return <-result
		}
		silent := func(net.Conn) {}
		trouble := func() error {
			if err := st.last.Load(); err != nil {
				return *err
			}
			return nil
		}

		if err := try(time.Second, silent); !errors.Is(err, context.DeadlineExceeded) || trouble() != nil {
			t.Errorf("given up at first: %v, trouble %v", err, trouble())
		}
		untrusted := try(time.Minute, func(conn net.Conn) {
			_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}}).HandshakeContext(t.Context())
		})
		if !strings.Contains(untrusted.Error(), "unknown authority") || trouble() != untrusted {
			t.Errorf("a certificate of another authority: %v, trouble %v", untrusted, trouble())
		}
		if err := try(time.Second, silent); err != untrusted || trouble() != untrusted {
			t.Errorf("given up later: %v, trouble %v", err, trouble())
		}
		if err := try(time.Hour, silent); err != trouble() || !strings.Contains(err.Error(), "TLS handshake with broker") {
			t.Errorf("no answer: %v, trouble %v", err, trouble())
		}
		_ = l.Close()
	})
}

// refuse answers a wrong password with an error.
func refuse(req kmsg.Request) (kmsg.Response, error, bool) {
	asked := req.(*kmsg.SASLAuthenticateRequest)
	if !strings.Contains(string(asked.SASLAuthBytes), "wr0ng") {
		return nil, nil, false
	}
	answer := asked.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	answer.ErrorCode = kerr.SaslAuthenticationFailed.Code
	return answer, nil, true
}

// A process that sends its password or token in clear text to another host says so once, in its log and as a metric.
func TestSecretsInClearTextAreSaid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := Security{SASL: saslPlain, User: "svc", PasswordFile: file}
	token := Security{SASL: saslOAuth, OAuthTokenFile: file}
	scram := Security{SASL: saslScram512, User: "svc", PasswordFile: file}
	encrypted := plain
	encrypted.TLS = true
	for _, c := range []struct {
		brokers []string
		s       Security
		warned  bool
	}{
		{[]string{"10.0.0.1:9092"}, plain, true},
		{[]string{"localhost:9092", "kafka:9092"}, token, true},
		{[]string{"localhost:9092", "127.0.0.1:9092", "[::1]:9092"}, plain, false},
		{[]string{"kafka:9092"}, scram, false},
		{[]string{"kafka:9092"}, encrypted, false},
		{[]string{"kafka:9092"}, Security{}, false},
	} {
		r, log := prometheus.NewRegistry(), &bytes.Buffer{}
		env := service.Env{Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: r, Dial: (&net.Dialer{}).DialContext}
		for range 2 {
			cl, err := Config{Brokers: c.brokers, Security: c.s}.NewClient(env, "test")
			if err != nil {
				t.Fatal(err)
			}
			cl.Close()
		}
		want := 0
		if c.warned {
			want = 1
		}
		if n := strings.Count(log.String(), "is sent in clear text"); n != want {
			t.Errorf("%s to %v: said %d times, want %d", c.s.SASL, c.brokers, n, want)
		}
		wanted := fmt.Sprintf("ackwire_kafka_secret_in_clear_text %d", want)
		var text bytes.Buffer
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "ackwire_kafka_secret_in_clear_text" {
				fmt.Fprintf(&text, "%s %v", f.GetName(), f.GetMetric()[0].GetGauge().GetValue())
			}
		}
		if text.String() != wanted {
			t.Errorf("%s to %v: %q, want %q", c.s.SASL, c.brokers, text.String(), wanted)
		}
	}
}
