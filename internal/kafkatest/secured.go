package kafkatest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Credentials are what a secured broker needs to know its clients, and they to know it.
type Credentials struct {
	// Certificate and Key are the broker's, in PEM, for the host 127.0.0.1; CA is the authority that signs clients'.
	Certificate, Key, CA []byte
	// Users are the users of PLAIN, with their passwords. Those of SCRAM are set by SetPassword.
	Users map[string]string
	// JWKS are the keys that sign the tokens of OAUTHBEARER, for the audience kafka, as a JSON Web Key Set. Without
	// them there is no OAUTHBEARER.
	JWKS []byte
	// Reauthenticate is how long an authentication lasts; 0 for ever.
	Reauthenticate time.Duration
	// Authorize turns an authorizer on that permits only what Grant grants. Clients of the plaintext listener may do
	// everything.
	Authorize bool
	// Front is the address, host:port, that clients of the listener SASL are told to use, such as that of a proxy in front
	// of it. Default: the listener's own.
	Front string
}

// Secured is one broker with a listener for each kind of security, beside the plaintext one of Cluster.
type Secured struct {
	*Cluster
	// MTLS is the address of the listener for TLS with client certificates, SASL of the one for TLS with PLAIN, SCRAM and
	// OAUTHBEARER, which verifies a client's certificate if there is one, and SASLPlaintext of one for PLAIN without TLS.
	MTLS, SASL, SASLPlaintext string
}

// Ports of the secured listeners in the container.
const (
	mtlsPort, saslPort, saslPlaintextPort = "29093", "29094", "29095"

	folder = "/secrets/"
)

// StartSecured runs a secured broker until the test ends.
func StartSecured(t testing.TB, c Credentials) *Secured {
	t.Helper()
	Require(t)
	ports, err := freePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	addr := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }
	s := &Secured{MTLS: addr(0), SASL: addr(1), SASLPlaintext: addr(2)}
	opts := options{
		ports: map[string]int{mtlsPort: ports[0], saslPort: ports[1], saslPlaintextPort: ports[2]},
		files: map[string][]byte{
			folder + "broker.pem": append(append([]byte{}, c.Key...), c.Certificate...), folder + "ca.pem": c.CA,
			folder + "jwks.json": c.JWKS,
		},
	}
	opts.env = s.environment(c)
	s.Cluster = run(t, 1, opts)
	return s
}

// environment returns the variables that add the secured listeners.
func (s *Secured) environment(c Credentials) map[string]string {
	const own = "org.apache.kafka.common.security."
	users := own + "plain.PlainLoginModule required"
	for name, password := range c.Users {
		users += fmt.Sprintf(` user_%s="%s"`, name, password)
	}
	users += ";"
	const plain = "KAFKA_LISTENER_NAME_SASLPLAINTEXT_"
	env := map[string]string{
		"KAFKA_LISTENERS": fmt.Sprintf("PLAINTEXT://:9092,CONTROLLER://:9093,HOST://:%s,MTLS://:%s,SASL://:%s,"+
			"SASLPLAINTEXT://:%s", hostPort, mtlsPort, saslPort, saslPlaintextPort),
		"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,HOST:PLAINTEXT,MTLS:SSL," +
			"SASL:SASL_SSL,SASLPLAINTEXT:SASL_PLAINTEXT",
		"KAFKA_SSL_KEYSTORE_TYPE":                  "PEM",
		"KAFKA_SSL_KEYSTORE_LOCATION":              folder + "broker.pem",
		"KAFKA_SSL_TRUSTSTORE_TYPE":                "PEM",
		"KAFKA_SSL_TRUSTSTORE_LOCATION":            folder + "ca.pem",
		"KAFKA_LISTENER_NAME_MTLS_SSL_CLIENT_AUTH": "required",
		"KAFKA_LISTENER_NAME_SASL_SSL_CLIENT_AUTH": "requested",
		"KAFKA_SASL_ENABLED_MECHANISMS":            "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",

		"KAFKA_LISTENER_NAME_SASL_PLAIN_SASL_JAAS_CONFIG":             users,
		"KAFKA_LISTENER_NAME_SASL_SCRAM___SHA___256_SASL_JAAS_CONFIG": own + "scram.ScramLoginModule required;",
		"KAFKA_LISTENER_NAME_SASL_SCRAM___SHA___512_SASL_JAAS_CONFIG": own + "scram.ScramLoginModule required;",
		plain + "SASL_ENABLED_MECHANISMS":                             "PLAIN",
		plain + "PLAIN_SASL_JAAS_CONFIG":                              users,
	}
	env["KAFKA_ADVERTISED_LISTENERS"] = fmt.Sprintf("MTLS://%s,SASL://%s,SASLPLAINTEXT://%s", s.MTLS,
		cmp.Or(c.Front, s.SASL), s.SASLPlaintext)
	if c.JWKS != nil {
		const oauth, keys = "KAFKA_LISTENER_NAME_SASL_OAUTHBEARER_", folder + "jwks.json"
		env["KAFKA_SASL_ENABLED_MECHANISMS"] += ",OAUTHBEARER"
		env[oauth+"SASL_JAAS_CONFIG"] = own + `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="x";`
		env[oauth+"SASL_SERVER_CALLBACK_HANDLER_CLASS"] = own + "oauthbearer.OAuthBearerValidatorCallbackHandler"
		env[oauth+"SASL_OAUTHBEARER_JWKS_ENDPOINT_URL"] = "file://" + keys
		env[oauth+"SASL_OAUTHBEARER_EXPECTED_AUDIENCE"] = "kafka"
		env["JAVA_TOOL_OPTIONS"] = "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://" + keys +
			" -Dorg.apache.kafka.sasl.oauthbearer.allowed.files=" + keys
	}
	if c.Authorize {
		env["KAFKA_AUTHORIZER_CLASS_NAME"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		env["KAFKA_SUPER_USERS"] = "User:ANONYMOUS"
	}
	if c.Reauthenticate > 0 {
		env["KAFKA_CONNECTIONS_MAX_REAUTH_MS"] = strconv.FormatInt(c.Reauthenticate.Milliseconds(), 10)
	}
	return env
}

// SetPassword gives a user of SCRAM a password, by which brokers then authenticate new connections.
func (s *Secured) SetPassword(t testing.TB, user, password string) {
	t.Helper()
	s.admin(t, "set the password of "+user, func(ctx context.Context, adm *kadm.Client) error {
		for _, m := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
			altered, err := adm.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{
				{User: user, Mechanism: m, Iterations: 4096, Password: password},
			})
			if err == nil {
				err = altered.Error()
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// admin runs a function with a client that may do everything.
func (s *Secured) admin(t testing.TB, what string, do func(context.Context, *kadm.Client) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := do(ctx, kadm.NewClient(cl)); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Grant is a permission of a user. The names are those of kafka-acls.sh.
type Grant struct {
	User           string
	Resource, Name string // topic, group or transactional-id
	Prefixed       bool
	Operation      string
}

// acl returns the grant as kadm takes it.
func (g Grant) acl(t testing.TB) *kadm.ACLBuilder {
	t.Helper()
	op, err := kmsg.ParseACLOperation(g.Operation)
	if err != nil {
		t.Fatal(err)
	}
	b := kadm.NewACLs().Allow("User:" + g.User).AllowHosts("*").Operations(op).ResourcePatternType(kadm.ACLPatternLiteral)
	if g.Prefixed {
		b.ResourcePatternType(kadm.ACLPatternPrefixed)
	}
	switch g.Resource {
	case "topic":
		b.Topics(g.Name)
	case "group":
		b.Groups(g.Name)
	case "transactional-id":
		b.TransactionalIDs(g.Name)
	default:
		t.Fatalf("no resource %q", g.Resource)
	}
	return b
}

// Grant permits users what they may not do yet.
func (s *Secured) Grant(t testing.TB, all ...Grant) {
	t.Helper()
	s.admin(t, "grant", func(ctx context.Context, adm *kadm.Client) error {
		for _, g := range all {
			created, err := adm.CreateACLs(ctx, g.acl(t))
			for _, c := range created {
				err = errors.Join(err, c.Err)
			}
			if err != nil {
				return fmt.Errorf("%+v: %w", g, err)
			}
		}
		return nil
	})
}

// Revoke takes permissions away.
func (s *Secured) Revoke(t testing.TB, all ...Grant) {
	t.Helper()
	s.admin(t, "revoke", func(ctx context.Context, adm *kadm.Client) error {
		for _, g := range all {
			deleted, err := adm.DeleteACLs(ctx, g.acl(t))
			n := 0
			for _, d := range deleted {
				err, n = errors.Join(err, d.Err), n+len(d.Deleted)
			}
			if err == nil && n != 1 {
				err = fmt.Errorf("%d permissions are deleted", n)
			}
			if err != nil {
				return fmt.Errorf("%+v: %w", g, err)
			}
		}
		return nil
	})
}
