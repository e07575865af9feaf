package ackwiretest

import (
	"crypto/rand"
	"net/http"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

const (
	socketPath  = "/v1/ws"
	ticketTTL   = 30 * time.Second
	ticketParam = "ticket"
)

// ticket opens one socket or event stream, for the client that has asked for it.
type ticket struct {
	expires time.Time
	who     identity
}

// postTicket handles POST /v1/ws-tickets.
func (s *Server) postTicket(w http.ResponseWriter, r *http.Request) {
	t := ticket{expires: time.Now().Add(ticketTTL), who: whoOf(r)}
	name := rand.Text() + rand.Text()
	s.mu.Lock()
	s.tickets[name] = t
	s.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusCreated, frame.Ticket{
		Ticket: name, URL: socketPath + "?" + ticketParam + "=" + name, ExpiresAt: stamp(t.expires),
	})
}
