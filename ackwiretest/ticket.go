package ackwiretest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

const (
	socketPath  = "/v1/ws"
	ticketTTL   = 30 * time.Second
	ticketParam = "ticket"
)

// authorized reports whether a request has a valid ticket, which it uses up, or a token that is accepted: in a header
// or, as pages send it with a WebSocket handshake, in a subprotocol.
func (s *Server) authorized(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ticket := r.URL.Query().Get(ticketParam)
	if ticket != "" && (r.URL.Path == socketPath || strings.HasSuffix(r.URL.Path, "/events")) {
		expires := s.tickets[ticket]
		delete(s.tickets, ticket)
		return time.Now().Before(expires)
	}
	if s.faults.tokens == nil {
		return true
	}
	token, present := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	for _, protocols := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(protocols, ",") {
			if t, ok := strings.CutPrefix(strings.TrimSpace(p), frame.BearerProtocolPrefix); ok && !present {
				token, present = t, true
			}
		}
	}
	if !present {
		token = urlGrant(r)
	}
	return present && slices.Contains(s.faults.tokens, token) || s.grantedLocked(token)
}

// postTicket handles POST /v1/ws-tickets.
func (s *Server) postTicket(w http.ResponseWriter, _ *http.Request) {
	expires := time.Now().Add(ticketTTL)
	ticket := rand.Text() + rand.Text()
	s.mu.Lock()
	s.tickets[ticket] = expires
	s.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusCreated, frame.Ticket{
		Ticket: ticket, URL: socketPath + "?" + ticketParam + "=" + ticket, ExpiresAt: stamp(expires),
	})
}
