package ackwire

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// confGrant is what a step says of a grant that is asked for.
type confGrant struct {
	Jobs        []string `json:"jobs"`
	Types       []string `json:"types"`
	Permissions []string `json:"permissions"`
	TTL         float64  `json:"ttl"` // in seconds
}

func (g confGrant) ttl() time.Duration { return time.Duration(g.TTL * float64(time.Second)) }

func (r *confRun) readGrant(raw []byte) (g confGrant) {
	if err := json.Unmarshal(raw, &g); err != nil {
		r.fatalf("%s: %v", raw, err)
	}
	return g
}

// confRequest is a request over HTTP that the client must make.
type confRequest struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Token  string `json:"token"`
	Body   any    `json:"body"` // nil if there is none
}

// confAnswer is how the server answers a request.
type confAnswer struct {
	Status int `json:"status"`
	Body   any `json:"body"` // nil if there is none
}

// confTry is an attempt to open a session, or a request over HTTP, until a step decides on it.
type confTry struct {
	w       http.ResponseWriter
	q       *http.Request
	decided chan struct{}
}

// undecided returns a handler that has a step decide on each request.
func undecided(tries chan<- *confTry) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		try := &confTry{w, q, make(chan struct{})}
		select {
		case tries <- try:
			<-try.decided
		case <-q.Context().Done():
		}
	}
}

// overHTTP does the steps of calls that are made over HTTP.
func (r *confRun) overHTTP(s confStep) {
	switch {
	case s.Erase != nil:
		r.begin(s.As, func(c *Client) (confResult, error) {
			return confResult{}, c.Job(*s.Erase).Erase(context.Background())
		})
	case s.MakeGrant != nil:
		r.begin(s.As, func(c *Client) (confResult, error) {
			g, err := c.Grant(context.Background(), GrantRequest{
				Jobs: s.MakeGrant.Jobs, Types: s.MakeGrant.Types, Permissions: s.MakeGrant.Permissions, TTL: s.MakeGrant.ttl(),
			})
			return confResult{grant: g}, err
		})
	default:
		r.request(*s.Request, s.Answer)
	}
}

// request waits for the client's next request over HTTP, and answers it.
func (r *confRun) request(want confRequest, answer confAnswer) {
	var ask *confTry
	select {
	case ask = <-r.asks:
	case <-time.After(time.Minute):
		r.fatalf("no request within a minute")
	}
	defer close(ask.decided)
	auth := ask.q.Header.Get("Authorization")
	if ask.q.Method != want.Method || ask.q.URL.RequestURI() != want.Path || auth != "Bearer "+want.Token {
		r.fatalf("the client asks %s %s by %q", ask.q.Method, ask.q.URL.RequestURI(), auth)
	}
	var body any
	if err := json.NewDecoder(ask.q.Body).Decode(&body); err != nil && want.Body != nil {
		r.fatalf("the body: %v", err)
	}
	if !r.matches(body, want.Body) {
		r.fatalf("the client sent %v, want %v", body, want.Body)
	}
	if answer.Body == nil {
		ask.w.WriteHeader(answer.Status)
		return
	}
	contentType := "application/json"
	if answer.Status >= http.StatusBadRequest {
		contentType = "application/problem+json"
	}
	ask.w.Header().Set("Content-Type", contentType)
	ask.w.WriteHeader(answer.Status)
	_ = json.NewEncoder(ask.w).Encode(answer.Body)
}

// done checks what a call has returned.
func (r *confRun) done(s confStep) {
	got, err := r.calls[*s.Done].end()
	if err != nil {
		r.fatalf("%s failed: %v", *s.Done, err)
	}
	if got.job != nil {
		got.grant = got.job.Grant
		r.wantQueue(got.job.Ack, s)
		if got.job.ID != s.Job || got.job.Ack.Duplicate != s.Duplicate {
			r.fatalf("%s returned %s, duplicate %v", *s.Done, got.job.ID, got.job.Ack.Duplicate)
		}
	}
	if string(got.state) != s.State {
		r.fatalf("%s returned %s, want %s", *s.Done, got.state, s.State)
	}
	var token string
	if s.Grant != nil {
		if err := json.Unmarshal(s.Grant, &token); err != nil {
			r.fatalf("%v", err)
		}
	}
	if got.grant.Token != token || token != "" && got.grant.Expires.IsZero() {
		r.fatalf("%s returned a grant that ends at %s, want %q", *s.Done, got.grant.Expires, token)
	}
}
