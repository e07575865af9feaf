package console

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path"
	"strings"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/console/login"
)

// Path is where the console is, below the root of its listener.
const Path = "/console"

// Routes are the requests to the console that are more than a read of a file.
var Routes = []string{
	"GET " + Path + sessionPath, "HEAD " + Path + sessionPath,
	"GET " + Path + loginPath, "HEAD " + Path + loginPath, "POST " + Path + loginPath,
	"POST " + Path + tokenPath,
}

// sessionPath is the path, below Path, of what the page is told of its user.
const sessionPath = "/session"

// Names of the console's routes in metrics.
const (
	pageRoute    = "console_page"
	assetRoute   = "console_asset"
	sessionRoute = "console_session"
	loginRoute   = "console_login"
	tokenRoute   = "console_token"
)

// RouteNames are the names of all its routes in metrics.
var RouteNames = []string{pageRoute, assetRoute, sessionRoute, loginRoute, tokenRoute}

const assetsPath = "/assets/"

// routeOf returns the name of the route of a path below Path.
func routeOf(rest string) string {
	switch {
	case rest == sessionPath:
		return sessionRoute
	case rest == loginPath:
		return loginRoute
	case rest == tokenPath:
		return tokenRoute
	case strings.HasPrefix(rest, assetsPath):
		return assetRoute
	}
	return pageRoute
}

// policy lets the page load its own scripts and styles and talk to its own host, and nothing else: text of a job that
// got into the page as markup could neither run nor send anything.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Caching of files whose names have their hash, and of what changes.
const (
	forever   = "public, max-age=31536000, immutable"
	askAgain  = "no-cache"
	keepNever = "no-store"
)

// Identify returns who sends a request. If that is not known it answers, and ok is false.
type Identify func(w http.ResponseWriter, r *http.Request) (_ auth.Identity, ok bool)

// Config is what a console needs.
type Config struct {
	Identify Identify
	// Problem answers with an error.
	Problem func(w http.ResponseWriter, err error)
	// Serve serves a request by a handler, and counts it as one of the route.
	Serve func(route string, w http.ResponseWriter, r *http.Request, by http.HandlerFunc)
	// Login is the provider at which operators log in; nil if there is none.
	Login *login.Provider
}

// Console serves the page.
type Console struct {
	*content
	cfg Config
}

// New returns a console. It panics if the embedded files are broken, which a test excludes.
func New(cfg Config) *Console { return &Console{load(), cfg} }

// Over returns a handler that serves the console, and by next all that is outside of it.
func (c *Console) Over(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ours := strings.CutPrefix(r.URL.Path, Path)
		if !ours || rest != "" && rest[0] != '/' {
			next.ServeHTTP(w, r)
			return
		}
		c.cfg.Serve(routeOf(rest), w, r, func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, rest) })
	})
}

// serve answers a request for a path below Path. Everything in its answers is relative, so that it works below any
// prefix that a proxy takes away.
func (c *Console) serve(w http.ResponseWriter, r *http.Request, rest string) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if rest == loginPath || rest == tokenPath {
		c.login(w, r, rest)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name, isAsset := strings.CutPrefix(rest, assetsPath)
	switch {
	case rest == "":
		target := path.Base(Path) + "/"
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		h.Set("Location", target)
		h.Set("Cache-Control", askAgain)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case rest == sessionPath:
		c.session(w, r)
	case isAsset && c.files[name] != nil:
		c.files[name].serve(w, r, forever)
	case isAsset:
		h.Set("Cache-Control", keepNever)
		http.Error(w, "no such file", http.StatusNotFound)
	default:
		c.page(w, r, rest)
	}
}

// page serves the page, which shows by its URL what is asked for: / and /jobs and /jobs/ID. It is there for every path,
// and says itself that there is no such page.
func (c *Console) page(w http.ResponseWriter, r *http.Request, rest string) {
	switch strings.Count(rest, "/") {
	case 1:
		c.atRoot.serve(w, r, askAgain)
	case 2:
		c.below.serve(w, r, askAgain)
	default:
		w.Header().Set("Cache-Control", keepNever)
		http.Error(w, "no such page", http.StatusNotFound)
	}
}

// Session is what the page is told of its user.
type Session struct {
	Tenant  string `json:"tenant"`
	Subject string `json:"subject,omitempty"`
	// Permissions are the names of the permissions, sorted.
	Permissions []string `json:"permissions"`
	// Anonymous is whether the request had no token, and needs none.
	Anonymous bool `json:"anonymous"`
	// Limited is whether the token is a grant, which opens some jobs only.
	Limited bool `json:"limited,omitempty"`
	// ExpiresAt is when the token expires, in Unix seconds.
	ExpiresAt int64 `json:"expiresAt,omitempty"`
}

// session tells the page who its user is and what that may do, so that it can say why a button is off. The API decides.
func (c *Console) session(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", keepNever)
	if _, inURL := auth.URLGrant(r); inURL {
		http.Error(w, "the page sends its token in a header", http.StatusForbidden)
		return
	}
	id, ok := c.cfg.Identify(w, r)
	if !ok {
		return
	}
	s := Session{
		Tenant: id.Tenant, Subject: id.Subject, Permissions: strings.Fields(id.Permissions.String()),
		Anonymous: id.Anonymous(), Limited: id.Grant != nil,
	}
	if !id.Anonymous() {
		s.ExpiresAt = id.Expires.Unix()
	}
	c.answer(w, s)
}

// tagOf returns the ETag of a content.
func tagOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12])
}
