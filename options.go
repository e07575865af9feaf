package ackwire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Defaults of the options that are not given.
const (
	// DefaultReadLimit bounds one frame or answer from the server, in bytes. Documents are below it with any server's
	// default limits.
	DefaultReadLimit = 1 << 20
	// DefaultBackoffBase bounds the first wait before a reconnect, DefaultBackoffCap the later ones.
	DefaultBackoffBase = 100 * time.Millisecond
	DefaultBackoffCap  = 5 * time.Second
	// DefaultHandshakeTimeout bounds one attempt to connect, up to the welcome. It is above the server's own deadline
	// for a first frame, so that the server's answer is seen.
	DefaultHandshakeTimeout = 15 * time.Second
	// DefaultDrainTimeout bounds the wait for answers on the old socket after a goaway.
	DefaultDrainTimeout = 10 * time.Second
)

const (
	maxReconnectAfter = time.Minute // the longest wait that a goaway or a Retry-After may ask for
	closeGrace        = time.Second // how long a closing socket waits for the peer
	maxBatchJobs      = 1000        // jobs in one subscribe or unsubscribe frame
	maxParted         = 1000        // jobs whose watches have ended on one connection; more count as all jobs
	maxJobIDBytes     = 128         // a longer job ID cannot exist
)

// Option is a setting of Dial or NewHTTP. If a setting is given twice, the last one counts.
type Option func(*config)

type config struct {
	tokenSource func(context.Context) (string, error)
	renews      bool // the source can give a newer token
	httpClient  *http.Client
	dialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	log         *slog.Logger
	backoff     Backoff
	handshake   time.Duration
	drain       time.Duration
	readLimit   int64
	compression websocket.CompressionMode
	noReconnect bool
	retryDial   bool
}

// WithToken sets the bearer token that every handshake and HTTP request carries. The default, like the empty string,
// sends no token, which only an Ackwire on the same machine accepts. When the token expires the server closes the
// socket and refuses the reconnect, which ends the client; use WithTokenSource for tokens that are renewed.
func WithToken(token string) Option {
	return func(c *config) {
		c.tokenSource = func(context.Context) (string, error) { return token, nil }
		c.renews = false
	}
}

// WithTokenSource sets a function that returns tokens, in place of WithToken. A Client calls it at every connect, once
// more when the server refuses the token there and, when the token is a JWT with an exp claim, after four fifths of its
// lifetime, to renew the token on the open socket. An HTTPClient calls it for the first request, when the token expires
// within 5 s, and when the server refuses the token.
//
// The function must be safe for concurrent use and heed its context, which has the deadline of the connect. An error
// from it counts like a lost connection: it is tried again.
func WithTokenSource(source func(ctx context.Context) (string, error)) Option {
	return func(c *config) { c.tokenSource, c.renews = source, true }
}

// WithHTTPClient sets the HTTP client that makes every connection and request, for your own proxy, TLS settings or
// tracing. Its transport must support WebSocket upgrades, as http.Transport does. Its Timeout bounds HTTP requests,
// event streams included, but not sockets. The default is a client with a transport of its own, which honours
// HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and whose connections are closed with the client.
func WithHTTPClient(hc *http.Client) Option { return func(c *config) { c.httpClient = hc } }

// WithDialContext sets how the client's own transport opens connections. The default is a net.Dialer. It cannot be
// combined with WithHTTPClient, whose transport has a dialler of its own.
func WithDialContext(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(c *config) { c.dialContext = dial }
}

// WithLogger sets the logger; the default logs nothing. Lost connections are Info, frames that cannot be read are
// Warn. Payloads and tokens are never logged.
func WithLogger(log *slog.Logger) Option { return func(c *config) { c.log = log } }

// WithBackoff sets the waits before reconnects, and before a submit with a Key is sent again. The default is
// DefaultBackoffBase and DefaultBackoffCap; zero fields keep these. Waits that the server asks for come on top, up to a
// minute.
func WithBackoff(b Backoff) Option { return func(c *config) { c.backoff = b } }

// WithoutReconnect makes the first lost connection final: every call then returns an error that matches
// ErrDisconnected. By default the client reconnects until it is closed or the server forbids it. Over HTTP the option
// makes the first lost event stream final.
func WithoutReconnect() Option { return func(c *config) { c.noReconnect = true } }

// WithRetryDial makes Dial try again, with the same backoff, until its context ends or the server refuses permanently.
// The default is one attempt, so that a wrong address shows at once. Sockets only.
func WithRetryDial() Option { return func(c *config) { c.retryDial = true } }

// WithHandshakeTimeout bounds one attempt to connect: the token source, the handshake and the wait for the server's
// welcome. It must be positive; the default is DefaultHandshakeTimeout. Over HTTP it bounds the opening of a
// connection.
func WithHandshakeTimeout(d time.Duration) Option { return func(c *config) { c.handshake = d } }

// WithDrainTimeout bounds the wait for answers on the old socket after the server asked to reconnect (goaway). A
// request that is not answered by then is sent again on the new socket if that is safe, and else fails
// with an error that matches ErrIndeterminate. It must be positive; the default is DefaultDrainTimeout. Sockets only.
func WithDrainTimeout(d time.Duration) Option { return func(c *config) { c.drain = d } }

// WithReadLimit bounds one frame from the server, or one answer over HTTP, in bytes. It must be positive; the default
// is DefaultReadLimit. A larger frame ends a Client with a CloseError of code 1009, a larger answer is an error.
// Pages of lists and results that are streamed have no such bound.
func WithReadLimit(n int64) Option { return func(c *config) { c.readLimit = n } }

// WithCompression asks the server for compression (permessage-deflate, RFC 7692). The default is no compression. A
// gateway agrees if compression is enabled there. Large frames are then compressed in both directions, without context
// takeover: that costs CPU time, but no memory between frames. Sockets only.
func WithCompression() Option {
	return func(c *config) { c.compression = websocket.CompressionNoContextTakeover }
}

func newConfig(opts []Option) (*config, error) {
	c := &config{
		tokenSource: func(context.Context) (string, error) { return "", nil },
		log:         slog.New(slog.DiscardHandler),
		handshake:   DefaultHandshakeTimeout,
		drain:       DefaultDrainTimeout,
		readLimit:   DefaultReadLimit,
	}
	for _, o := range opts {
		o(c)
	}
	c.backoff = c.backoff.withDefaults()
	var errs []error
	if c.httpClient != nil && c.dialContext != nil {
		errs = append(errs, errors.New("WithHTTPClient and WithDialContext exclude each other"))
	}
	if c.tokenSource == nil {
		errs = append(errs, errors.New("the token source is nil"))
	}
	if c.log == nil {
		errs = append(errs, errors.New("the logger is nil"))
	}
	if c.handshake <= 0 || c.drain <= 0 || c.readLimit <= 0 {
		errs = append(errs, errors.New("timeouts and the read limit must be positive"))
	}
	return c, errors.Join(errs...)
}

// transport makes the client's own HTTP transport. Its buffers are small because the WebSocket library has buffers
// above it, and a process may hold thousands of clients.
func (c *config) transport() *http.Transport {
	dial := c.dialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: c.handshake}).DialContext
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dial,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: c.handshake,
		MaxIdleConns:        4,
		IdleConnTimeout:     time.Minute,
		ReadBufferSize:      1 << 10,
		WriteBufferSize:     1 << 10,
	}
}

const wsPath = "/v1/ws"

// parseURL takes a base URL or the full address of /v1/ws, with the scheme http, https, ws or wss. It returns the base
// URL for HTTP, without a slash at its end, and the URL of the socket.
func parseURL(raw string) (base, ws string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", errors.New("ackwire: parse url: not a URL") // not shown: it may hold a password
	}
	switch u.Scheme {
	case "http", "https":
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return "", "", fmt.Errorf("ackwire: url %q: the scheme must be http, https, ws or wss", u.Redacted())
	}
	if u.Host == "" {
		return "", "", fmt.Errorf("ackwire: url %q names no host", u.Redacted())
	}
	u.Fragment, u.RawFragment, u.RawPath = "", "", ""
	u.Path = strings.TrimRight(u.Path, "/")
	u.Path = strings.TrimSuffix(u.Path, wsPath)
	query := u.RawQuery
	u.RawQuery = ""
	base = u.String()
	u.Path += wsPath
	u.RawQuery = query // a proxy or a ticket may need it at the handshake
	return base, u.String(), nil
}
