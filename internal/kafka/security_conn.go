package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/service"
)

// Problem is an error that says why no connection to a broker could be made, and which setting decides about it. The
// client library takes it for a fault of the network and tries again: what is wrong may be mended at the broker or in
// a file, and records that are buffered meanwhile are not given up before their time.
type Problem struct {
	cause  error
	reason string // tls, sasl or closed
}

// TLS reports whether TLS or a certificate is the reason, instead of the authentication.
func (p *Problem) TLS() bool { return p.reason == reasonTLS }

// problem returns err as a Problem.
func problem(reason string, err error) error {
	if _, ok := errors.AsType[*Problem](err); ok || err == nil {
		return err
	}
	return &Problem{err, reason}
}

// Error implements error.
func (p *Problem) Error() string { return p.cause.Error() }

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.cause }

// Temporary tells the client library that it may try again.
func (p *Problem) Temporary() bool { return true }

// standing records the last problem of a client's connections, and logs it once.
type standing struct {
	security Security
	bounds   Bounds
	files    files
	log      *slog.Logger
	problems *problems
	refused  func() // called when a broker refuses the authentication; nil if nobody has to know

	last atomic.Pointer[error] // nil while brokers answer
}

// standings has the standing of each open client.
var standings sync.Map // *kgo.Client → *standing

// Trouble returns why a client's connections do not work; nil if they do, or if the reason is only that brokers cannot
// be reached.
func Trouble(cl *kgo.Client) error {
	st, ok := standings.Load(cl)
	if !ok {
		return nil
	}
	if err := st.(*standing).last.Load(); err != nil {
		return *err
	}
	return nil
}

// because returns err with the trouble of the client's connections, if that is why a request has not succeeded in time.
func because(cl *kgo.Client, err error) error {
	why := Trouble(cl)
	if why == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", err, why)
}

// note records, counts and logs a problem, and returns it.
func (st *standing) note(reason string, err error) error {
	err = problem(reason, err)
	st.last.Store(&err)
	if st.problems.add(reason, err.Error()) {
		st.log.Error("no connection to a broker", "err", err)
	}
	return err
}

// OnNewClient implements kgo.HookNewClient.
func (st *standing) OnNewClient(cl *kgo.Client) { standings.Store(cl, st) }

// OnClientClosed implements kgo.HookClientClosed.
func (st *standing) OnClientClosed(cl *kgo.Client) { standings.Delete(cl) }

// OnBrokerE2E implements kgo.HookBrokerE2E: an answer to any request that needs an authenticated connection ends the
// last problem.
func (st *standing) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	switch key {
	case kmsg.ApiVersions.Int16(), kmsg.SASLHandshake.Int16(), kmsg.SASLAuthenticate.Int16():
		return
	}
	if e.Err() == nil && st.last.Load() != nil {
		st.last.Store(nil)
	}
}

// dial returns the dialer of a client: it connects, encrypts if TLS is on, and observes how the connection begins. The
// library makes one connection to a broker at a time, so that requests wait for those before them: one whose time ends
// before it has a connection is told why those before it did not get one.
func (st *standing) dial(env service.Env) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		dialCtx, cancel := context.WithTimeout(ctx, st.bounds.Dial)
		conn, err := env.Dial(dialCtx, network, address)
		cancel()
		if err == nil && st.security.TLS {
			conn, err = st.encrypt(ctx, conn, address)
		}
		if err == nil {
			return &beginning{Conn: conn, st: st, address: address}, nil
		}
		if why := st.last.Load(); ctx.Err() != nil && why != nil {
			return nil, *why
		}
		return nil, err
	}
}

// beginning is a connection that explains why brokers refuse it. It looks at the requests of SASL and at the first
// answers: a broker that finds no fault with those has accepted the connection. The client library gives up on a
// refused authentication, and fails what is buffered; behind beginning it sees a Problem instead and tries again.
type beginning struct {
	net.Conn
	st      *standing
	address string

	requests atomic.Int32  // that were sent, without those for versions, which brokers answer to anybody
	asked    atomic.Uint32 // key << 16 | version of the last request
	answered atomic.Bool   // something was read
}

// Write implements net.Conn. The library writes one request at a time.
func (b *beginning) Write(p []byte) (int, error) {
	if len(p) >= 8 { // size, key, version
		asked := binary.BigEndian.Uint32(p[4:])
		if b.asked.Store(asked); int16(asked>>16) != kmsg.ApiVersions.Int16() {
			b.requests.Add(1)
		}
	}
	return b.Conn.Write(p)
}

// Read implements net.Conn.
func (b *beginning) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	switch {
	case err != nil && n == 0:
		return 0, b.ended(err)
	case n > 0:
		if reason, why := b.refusal(p[:n]); why != nil {
			return 0, b.st.note(reason, why)
		}
		b.answered.Store(true)
	}
	return n, err
}

// ended returns err, or why the broker has ended a connection that has just begun.
func (b *beginning) ended(err error) error {
	early := b.requests.Load() <= 2 // two may be under way when the first is refused
	switch {
	case refusedByPeer(err):
		return b.st.note(reasonTLS, b.st.explainAlert(err, b.address, time.Now()))
	case !errors.Is(err, io.EOF) && !brokenPipe(err):
		return err
	case int16(b.asked.Load()>>16) == kmsg.SASLAuthenticate.Int16(): // some brokers refuse it without a word
		const closed = "closed the connection, perhaps because it refuses"
		return b.st.note(reasonSASL, b.st.unauthenticated(b.address, closed, err))
	case !early:
		return err
	case b.st.security.SASL == "":
		asks := "TLS (kafka-tls) or authentication (kafka-sasl)"
		if b.st.security.TLS {
			asks = "authentication (kafka-sasl)"
		}
		return b.st.note(reasonClosed, fmt.Errorf("broker %s closed a new connection; if it is up, its listener asks for "+
			"%s: %w", b.address, asks, err))
	case !b.st.security.TLS:
		return b.st.note(reasonClosed, fmt.Errorf("broker %s closed a new connection; if it is up, its listener asks for "+
			"TLS (kafka-tls): %w", b.address, err))
	}
	return err
}

// alertRecord is the first byte of an alert of TLS, and the major version of TLS follows.
const alertRecord, tlsMajor = 21, 3

// refusal returns why the broker refuses the connection by its answer p; nil if it does not.
func (b *beginning) refusal(p []byte) (reason string, why error) {
	if !b.answered.Load() && !b.st.security.TLS && len(p) >= 2 && p[0] == alertRecord && p[1] == tlsMajor {
		return reasonTLS, fmt.Errorf("broker %s speaks TLS; set kafka-tls, or use its plaintext listener", b.address)
	}
	asked := b.asked.Load()
	key, version := int16(asked>>16), int16(asked)
	const header = 8 // size and correlation ID
	if len(p) < header+2 || int(binary.BigEndian.Uint32(p))+4 != len(p) {
		return "", nil
	}
	switch body := p[header:]; key {
	case kmsg.SASLHandshake.Int16():
		answer := kmsg.NewPtrSASLHandshakeResponse()
		answer.Version = version
		if answer.ReadFrom(body) != nil || answer.ErrorCode == 0 {
			return "", nil
		}
		takes := "it takes " + strings.ToLower(strings.Join(answer.SupportedMechanisms, ", "))
		if len(answer.SupportedMechanisms) == 0 {
			takes = "this listener authenticates nobody by SASL"
		}
		return reasonSASL, fmt.Errorf("broker %s does not take kafka-sasl=%s; %s: %w", b.address, b.st.security.SASL, takes,
			kerr.ErrorForCode(answer.ErrorCode))
	case kmsg.SASLAuthenticate.Int16():
		answer := kmsg.NewPtrSASLAuthenticateResponse()
		answer.Version = version
		if answer.IsFlexible() {
			body = body[1:] // the header's tags, of which there are none
		}
		if answer.ReadFrom(body) != nil || answer.ErrorCode == 0 {
			return "", nil
		}
		err := kerr.ErrorForCode(answer.ErrorCode)
		if answer.ErrorMessage != nil {
			err = fmt.Errorf("%w: %s", err, *answer.ErrorMessage)
		}
		return reasonSASL, b.st.unauthenticated(b.address, refused, err)
	}
	return "", nil
}

const refused = "refused"

// unauthenticated returns why an authentication has not succeeded. did is what the broker did with it.
func (st *standing) unauthenticated(address, did string, err error) error {
	if st.refused != nil {
		st.refused()
	}
	for _, file := range []*certs.Secrets{st.files.password, st.files.token, st.files.oauthSecret} {
		if file != nil {
			file.Expire() // it may have been replaced a moment ago
		}
	}
	s := st.security
	var who string
	switch {
	case s.SASL == saslIAM:
		who = "the identity of AWS; check its policy and kafka-iam-role"
	case s.SASL == saslOAuth && s.OAuthTokenFile != "":
		who = "the token; check kafka-oauth-token-file, " + s.OAuthTokenFile
	case s.SASL == saslOAuth:
		who = "the token of client " + s.OAuthClientID + "; check the kafka-oauth settings"
	default:
		who = "user " + s.User + "; check kafka-user and kafka-password-file, " + s.PasswordFile
	}
	return fmt.Errorf("broker %s %s %s: %w", address, did, who, err)
}
