// Package login logs operators of the console in at an OpenID Connect provider, by the authorization code flow with
// PKCE (OpenID Connect Core 1.0 §3.1, RFC 6749 §4.1, RFC 7636).
//
// The page asks where to go, the browser goes there and comes back with a code, and the page has the gateway exchange
// that for a token. The exchange is the gateway's work so that the page talks to its own host only, the verifier is in
// no script's reach, and a provider may be one that asks for a client's secret. The token goes to the page, which keeps
// it in memory: the gateway keeps nothing, so any gateway may answer any step.
package login
