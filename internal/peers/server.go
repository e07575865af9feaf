package peers

import (
	"crypto/subtle"
	"crypto/tls"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/meter"
)

// RefusedHeader is the header of an answer to a caller that is refused. Its value says why.
const RefusedHeader = "Ackwire-Refused"

// Reasons for which a call is refused.
const (
	byHost    = "host"           // the request names a host that is not this server
	byPage    = "page"           // a web page has sent the request
	bySecret  = "secret"         // the caller sent another secret
	noSecret  = "no_secret"      // the caller sent no secret
	handshake = "tls"            // the TLS handshake failed
	bearer    = "Bearer "        // begins the value of the header Authorization
	sayAgain  = 10 * time.Second // between two log lines about refused calls of one reason
)

// Server checks the callers of a server's API.
type Server struct {
	// Set by Config.Server, then only read.
	files
	hosts    map[string]bool
	log      *slog.Logger
	refusals *prometheus.CounterVec

	mu     sync.Mutex           // guards the fields below
	said   map[string]time.Time // when a refusal was last logged, by reason
	unsaid map[string]int       // refusals since then
}

// Server returns the checks of a server with these settings. hosts are the host names by which callers reach it, apart
// from IP addresses and localhost. Its counter of refused calls is named by m.
func (c Config) Server(env certs.Env, m meter.Meter, hosts ...string) (*Server, error) {
	f, err := c.open(env)
	if err != nil {
		return nil, err
	}
	s := &Server{
		files: f, hosts: map[string]bool{}, log: env.Log, said: map[string]time.Time{}, unsaid: map[string]int{},
		refusals: m.Counters("api_calls_refused_total",
			"Calls of this API that were refused because of who sent them, by reason.", "reason", byHost, byPage, bySecret,
			noSecret, handshake),
	}
	for _, h := range hosts {
		s.hosts[strings.ToLower(h)] = true
	}
	return s, nil
}

// TLS reports whether the server speaks TLS.
func (s *Server) TLS() bool { return s.pair != nil }

// Listener returns l with TLS, if there is a certificate, else l itself. Handshakes are made by who reads first.
func (s *Server) Listener(l net.Listener) net.Listener {
	if s.pair == nil {
		return l
	}
	base := &tls.Config{
		MinVersion:     tls.VersionTLS13, // all callers are Ackwire's own
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.pair.Get(), nil },
	}
	if s.authorities != nil {
		base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := base.Clone()
			now.ClientAuth, now.ClientCAs = tls.RequireAndVerifyClientCert, s.authorities.Get()
			// A session that is resumed would be accepted after its authority has been taken away.
			now.SessionTicketsDisabled = true
			return now, nil
		}
	}
	return tls.NewListener(l, base)
}

// Handler returns next behind the checks.
func (s *Server) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reason, detail, status := s.refuses(r)
		if reason == "" {
			next.ServeHTTP(w, r)
			return
		}
		s.refused(reason, r.RemoteAddr, detail)
		w.Header().Set(RefusedHeader, detail)
		http.Error(w, detail, status)
	})
}

// refuses returns why a request is refused; reason is empty if it is not.
func (s *Server) refuses(r *http.Request) (reason, detail string, status int) {
	if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		return byPage, "web pages may not call this API", http.StatusForbidden
	}
	if s.secrets == nil {
		if !s.known(r.Host) {
			return byHost, "the request is for another host (" + strings.ToValidUTF8(clip(r.Host), "?") + ")",
				http.StatusForbidden
		}
		return "", "", 0
	}
	sent, ok := strings.CutPrefix(r.Header.Get("Authorization"), bearer)
	if !ok {
		return noSecret, "the shared secret is missing: set internal-key-file", http.StatusUnauthorized
	}
	for _, key := range s.secrets.Get() {
		if subtle.ConstantTimeCompare([]byte(sent), []byte(token(key))) == 1 {
			return "", "", 0
		}
	}
	return bySecret, "the shared secret is another one: internal-key-file differs", http.StatusUnauthorized
}

// clip bounds a text of a caller.
func clip(text string) string { return text[:min(len(text), 100)] }

// known reports whether a request's Host is one of this server's. A page whose own host name resolves to this server
// (DNS rebinding) has another one, and never an IP address.
func (s *Server) known(hostPort string) bool {
	host := hostPort
	if h, _, err := net.SplitHostPort(hostPort); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	return host == "localhost" || net.ParseIP(host) != nil || s.hosts[host]
}

// refused counts a refused call, and logs it unless one of the same reason was logged a moment ago.
func (s *Server) refused(reason, from, detail string) {
	s.refusals.WithLabelValues(reason).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if last, ok := s.said[reason]; ok && now.Sub(last) < sayAgain {
		s.unsaid[reason]++
		return
	}
	s.log.Warn("call refused", "from", from, "err", detail, "more", s.unsaid[reason])
	s.said[reason], s.unsaid[reason] = now, 0
}

// ErrorLog returns the logger for http.Server. It counts and logs failed TLS handshakes as refused calls.
func (s *Server) ErrorLog() *log.Logger { return log.New(serverLog{s}, "", 0) }

type serverLog struct{ s *Server }

// Write implements io.Writer. It gets one line of net/http.
func (l serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	rest, ok := strings.CutPrefix(text, "http: TLS handshake error from ")
	if !ok {
		l.s.log.Debug(text)
		return len(line), nil
	}
	from, detail, _ := strings.Cut(rest, ": ")
	l.s.refused(handshake, from, detail)
	return len(line), nil
}
