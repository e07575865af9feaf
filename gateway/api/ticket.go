package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// A ticket opens one socket or event stream. It is for pages that have a token and cannot send it there: browsers set
// no headers, and a token in the URL would be written to logs. A ticket is valid once, for ticketTTL, at any gateway: a
// tracker stores its identity under its hash.

const (
	ticketTTL   = 30 * time.Second
	ticketParam = "ticket"
)

// ticketIdentity is the identity of a ticket, as a tracker stores it.
type ticketIdentity struct {
	Tenant      string           `json:"tenant"`
	Subject     string           `json:"subject"`
	Permissions auth.Permissions `json:"permissions"`
	Grant       *auth.Grant      `json:"grant,omitempty"`
	TokenID     string           `json:"tokenId,omitempty"`
	Expires     *time.Time       `json:"expires,omitempty"` // absent for a client without a token
}

func ticketID(ticket string) string {
	sum := sha256.Sum256([]byte(ticket))
	return hex.EncodeToString(sum[:])
}

// tickets are the route that makes tickets.
type tickets struct{ *door }

// postTicket handles POST /v1/ws-tickets.
func (tk *tickets) postTicket(w http.ResponseWriter, r *http.Request) {
	id, ok := tk.identify(w, r, 0)
	if !ok {
		return
	}
	kept := ticketIdentity{Tenant: id.Tenant, Subject: id.Subject, Permissions: id.Permissions, Grant: id.Grant,
		TokenID: id.TokenID}
	if !id.Anonymous() {
		kept.Expires = &id.Expires
	}
	b, err := plainjson.Marshal(kept)
	if err != nil {
		tk.problem(w, fmt.Errorf("encode a ticket: %w", err))
		return
	}
	ticket := rand.Text() + rand.Text() // 26 characters each, 130 bits
	ctx, cancel := context.WithTimeout(r.Context(), tk.cfg.ReadTimeout)
	defer cancel()
	expires := time.Now().Add(ticketTTL)
	if err := tk.cfg.Tickets.KeepTicket(ctx, &trackerpb.KeepTicketRequest{TicketId: ticketID(ticket), Identity: b,
		TtlMs: ticketTTL.Milliseconds()}); err != nil {
		tk.problem(w, queryProblem(err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	_ = plainjson.Write(w, frame.Ticket{
		Ticket: ticket, URL: "/v1/ws?" + ticketParam + "=" + ticket,
		ExpiresAt: expires.UTC().Truncate(time.Millisecond),
	})
}

// redeem uses up a ticket and returns its identity. Its errors are frame.Problems.
func (tk *tickets) redeem(ctx context.Context, ticket string) (auth.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, tk.cfg.ReadTimeout)
	defer cancel()
	taken, err := tk.cfg.Tickets.TakeTicket(ctx, &trackerpb.TakeTicketRequest{TicketId: ticketID(ticket)})
	switch {
	case connect.CodeOf(err) == connect.CodeNotFound:
		return auth.Identity{}, frame.NewProblem(code.Unauthenticated, "the ticket is used, too old, or none")
	case err != nil:
		return auth.Identity{}, problem.OfTracker(err)
	}
	var kept ticketIdentity
	if err := json.Unmarshal(taken.Identity, &kept); err != nil {
		return auth.Identity{}, fmt.Errorf("decode a ticket: %w", err)
	}
	id := auth.Identity{Tenant: kept.Tenant, Subject: kept.Subject, Permissions: kept.Permissions, Grant: kept.Grant,
		TokenID: kept.TokenID}
	if kept.Expires != nil {
		id.Expires = *kept.Expires
	}
	return id, nil
}
