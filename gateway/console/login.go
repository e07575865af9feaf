package console

import (
	"net/http"
	"strconv"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// Paths, below Path, of the login by a provider.
const (
	loginPath = "/login" // GET: what there is; POST: begins a login
	tokenPath = "/token" // POST: gets a token by what the provider has answered
)

// Offer says how operators log in.
type Offer struct {
	// Provider is the host of the provider; empty if there is none, and a token is pasted.
	Provider string `json:"provider,omitempty"`
}

// login answers the requests of a page whose user is not known yet.
func (c *Console) login(w http.ResponseWriter, r *http.Request, rest string) {
	w.Header().Set("Cache-Control", keepNever)
	provider := c.cfg.Login
	var answer any
	var err error
	switch {
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && rest == loginPath:
		o := Offer{}
		if provider != nil {
			o.Provider = provider.Name()
		}
		answer = o
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		if rest == loginPath {
			w.Header().Set("Allow", "GET, HEAD, POST")
		}
		err = frame.NewProblem(code.MethodNotAllowed, "")
	case provider == nil:
		err = frame.NewProblem(code.NotFound, "this gateway has no provider of logins: see console-oidc-issuer")
	case rest == loginPath:
		answer, err = provider.Begin(w, r)
	default:
		answer, err = provider.Finish(w, r)
	}
	if err != nil {
		c.cfg.Problem(w, err)
		return
	}
	c.answer(w, answer)
}

// answer writes JSON.
func (c *Console) answer(w http.ResponseWriter, v any) {
	b, err := plainjson.Marshal(v)
	if err != nil {
		c.cfg.Problem(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b)
}
