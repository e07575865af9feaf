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

// Defaults and bounds of a client.
const (
	// DefaultReadLimit bounds one frame from the server, in bytes.
	DefaultReadLimit = 1 << 20
	// DefaultBackoffBase and DefaultBackoffCap bound the wait before a reconnect.
	DefaultBackoffBase = 100 * time.Millisecond
	DefaultBackoffCap  = 5 * time.Second
	// DefaultHandshakeTimeout bounds one attempt to connect, up to the welcome. It is
	// above the server's own deadline for a first frame, so that the server's answer is seen.
	DefaultHandshakeTimeout = 15 * time.Second
	// DefaultDrainTimeout bounds how long answers are awaited on the old socket after a goaway.
	DefaultDrainTimeout = 10 * time.Second

	maxReconnectAfter = time.Minute // bounds what a goaway or a Retry-After may ask for
	closeGrace        = time.Second // how long a closing socket waits for the peer
	maxBatchJobs      = 1000        // jobs in one subscribe or unsubscribe frame
	maxJobIDBytes     = 128         // a longer job ID cannot exist
)

// Option changes how a client is dialled.
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

// WithToken sets the bearer token that every handshake and HTTP request carries.
func WithToken(token string) Option {
	return func(c *config) {
		c.tokenSource = func(context.Context) (string, error) { return token, nil }
		c.renews = false
	}
}

// WithTokenSource sets where tokens come from. It is called at every connect and,
// when the token is a JWT with an exp claim, again after four fifths of its life to
// renew it on the open socket. An error from it counts like a lost connection.
func WithTokenSource(source func(ctx context.Context) (string, error)) Option {
	return func(c *config) { c.tokenSource, c.renews = source, true }
}

// WithHTTPClient sets the client through which every connection and request goes. Its
// transport must support WebSocket upgrades, as http.Transport does. Without it each
// Client has a transport of its own, which Close empties.
func WithHTTPClient(hc *http.Client) Option { return func(c *config) { c.httpClient = hc } }

// WithDialContext sets how the client's own transport opens connections. It cannot be
// combined with WithHTTPClient.
func WithDialContext(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(c *config) { c.dialContext = dial }
}

// WithLogger sets the logger; the default discards. Lost connections are Info,
// frames that nobody can read are Warn. Payloads and tokens are never logged.
func WithLogger(log *slog.Logger) Option { return func(c *config) { c.log = log } }

// WithBackoff sets the wait before reconnects.
func WithBackoff(b Backoff) Option { return func(c *config) { c.backoff = b } }

// WithoutReconnect makes the first lost connection final: every call then returns an
// error that matches ErrDisconnected.
func WithoutReconnect() Option { return func(c *config) { c.noReconnect = true } }

// WithRetryDial makes Dial itself try again, with the same backoff, until its context
// ends or the server refuses for good. Without it Dial makes one attempt.
func WithRetryDial() Option { return func(c *config) { c.retryDial = true } }

// WithHandshakeTimeout bounds one attempt to connect.
func WithHandshakeTimeout(d time.Duration) Option { return func(c *config) { c.handshake = d } }

// WithDrainTimeout bounds how long answers are awaited on the old socket after a goaway.
func WithDrainTimeout(d time.Duration) Option { return func(c *config) { c.drain = d } }

// WithReadLimit bounds one frame from the server, in bytes. A larger one ends the client
// with a CloseError of code 1009.
func WithReadLimit(n int64) Option { return func(c *config) { c.readLimit = n } }

// WithCompression asks for compression (permessage-deflate, RFC 7692). A gateway gives it where
// it is on there; large frames are then compressed, both ways, each for itself.
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

// transport is the client's own. Its buffers are small because the WebSocket has
// buffers above it, and a process may hold thousands of clients.
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

// parseURL takes a base URL or the full address of /v1/ws, with any of the four
// schemes, and returns the HTTP base without a slash at its end and the socket's address.
func parseURL(raw string) (base, ws string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", errors.New("ackwire: parse url: not a URL") // which may hold a password
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
