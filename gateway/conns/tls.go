package conns

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/schemas/code"
)

// Bounds of connections with TLS.
const (
	handshakeTimeout  = 10 * time.Second
	maxHandshakeBytes = 16 << 10 // that a client sends in its handshake; browsers send two to three kilobytes

	// lastAlert is how long the alert that ends a connection may take. crypto/tls would wait for 5 s for a client that
	// does not read.
	lastAlert = 50 * time.Millisecond

	http2Protocol = "h2"
	maxStreams    = 100      // requests of one HTTP/2 connection at the same time
	streamWindow  = 64 << 10 // bytes of bodies that one connection, or request, may send before they are read
	http2Timeout  = 15 * time.Second
)

const (
	notTLS         = "this port speaks TLS: use https:// or wss://"
	protocolHeader = 5 // bytes by which crypto/tls recognises that a client does not speak TLS
)

var errHandshakeTooLarge = errors.New("the client's handshake is above its limit")

// http2Config returns the bounds of HTTP/2. Its windows are small, since what a client sends and nobody reads waits in
// the gateway's memory, and not in the kernel's as with HTTP/1.1.
func http2Config(pingInterval time.Duration) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReceiveBufferPerConnection: streamWindow,
		MaxReceiveBufferPerStream:     streamWindow,
		SendPingTimeout:               pingInterval,
		PingTimeout:                   http2Timeout,
		WriteByteTimeout:              AnswerTimeout,
	}
}

// tlsListener makes the TLS handshakes of a listener's connections, each in a goroutine. A client counts as a stranger
// from its connection on, so that handshakes are bounded in number; they are in time and in bytes, too.
//
// Its connections are, as http.Server needs them, *tls.Conn for HTTP/2, and *headConn over one for HTTP/1.1.
type tlsListener struct {
	net.Listener
	all    *table
	config *tls.Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	ready  chan net.Conn
	errs   chan error
	wg     sync.WaitGroup
}

func listenTLS(all *table, l net.Listener, pair *certs.Pair) *tlsListener {
	ctx, cancel := context.WithCancel(context.Background())
	t := &tlsListener{
		Listener: l, all: all, ctx: ctx, cancel: cancel, ready: make(chan net.Conn), errs: make(chan error),
		config: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			NextProtos:     []string{http2Protocol, "http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.Get(), nil },
		},
	}
	t.wg.Go(t.run)
	return t
}

// run accepts connections until Close.
func (t *tlsListener) run() {
	for t.ctx.Err() == nil {
		conn, err := t.Listener.Accept()
		if err != nil {
			select {
			case t.errs <- err: // http.Server waits before it accepts again
			case <-t.ctx.Done():
			}
			continue
		}
		raw := &handshakeConn{Conn: conn, left: maxHandshakeBytes}
		secure := tls.Server(raw, t.config)
		t.all.opened(secure)
		t.wg.Go(func() { t.shake(raw, secure) })
	}
}

// shake makes one handshake.
func (t *tlsListener) shake(raw *handshakeConn, secure *tls.Conn) {
	ctx, cancel := context.WithTimeout(t.ctx, handshakeTimeout)
	defer cancel()
	err := secure.HandshakeContext(ctx)
	outcome := outcomeOf(err)
	t.all.metrics.handshakes.WithLabelValues(outcome).Inc()
	tooLarge := raw.left == 0
	raw.left = noBound
	if err != nil {
		t.all.cfg.Log.Debug("TLS handshake failed", "err", err, "tooLarge", tooLarge)
		if outcome == shakePlain {
			(&headConn{Conn: raw, all: t.all}).refuse(code.InvalidFrame, notTLS)
		}
		t.all.drop(secure)
		return
	}
	conn := net.Conn(secure)
	if secure.ConnectionState().NegotiatedProtocol != http2Protocol {
		conn = &headConn{Conn: &secureConn{secure}, all: t.all}
		t.all.renamed(secure, conn)
	}
	select {
	case t.ready <- conn:
	case <-t.ctx.Done():
		t.all.drop(conn)
	}
}

// plainMethods are the beginnings of requests of clients that do not speak TLS.
var plainMethods = []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE"}

func outcomeOf(err error) string {
	record, isRecord := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case err == nil:
		return shaken
	case isRecord && record.Conn != nil && slices.Contains(plainMethods, string(record.RecordHeader[:protocolHeader])):
		return shakePlain
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return shakeTimedOut
	case errors.Is(err, errHandshakeTooLarge):
		return shakeTooLarge
	}
	return shakeFailed
}

// Accept implements net.Listener.
func (t *tlsListener) Accept() (net.Conn, error) {
	select {
	case conn := <-t.ready:
		return conn, nil
	case err := <-t.errs:
		return nil, err
	case <-t.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It ends the handshakes that are being made.
func (t *tlsListener) Close() error {
	t.cancel()
	err := t.Listener.Close()
	t.wg.Wait()
	return err
}

// noBound is handshakeConn.left after the handshake.
const noBound = -1

// handshakeConn is the connection under TLS. It bounds what a client may send in its handshake.
type handshakeConn struct {
	net.Conn
	left    int // bytes that may still be read, or noBound; owned by the handshake, then not changed
	closing atomic.Bool
}

// Read implements net.Conn.
func (c *handshakeConn) Read(b []byte) (int, error) {
	switch {
	case c.left == noBound:
		return c.Conn.Read(b)
	case c.left == 0:
		return 0, errHandshakeTooLarge
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// SetWriteDeadline implements net.Conn. When the connection is being closed it allows no more than lastAlert.
func (c *handshakeConn) SetWriteDeadline(at time.Time) error {
	if c.closing.Load() {
		at = time.Now().Add(lastAlert)
	}
	return c.Conn.SetWriteDeadline(at)
}

// CloseWrite is what headConn calls.
func (c *handshakeConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// NetConn returns the connection under this one.
func (c *handshakeConn) NetConn() net.Conn { return c.Conn }

// secureConn is a connection with TLS whose Close does not wait for a client that does not read.
type secureConn struct{ *tls.Conn }

// Close implements net.Conn.
func (c *secureConn) Close() error {
	if raw, ok := c.NetConn().(*handshakeConn); ok {
		raw.closing.Store(true)
	}
	return c.Conn.Close()
}

func (c *secureConn) hangUp() error { return c.NetConn().Close() }
