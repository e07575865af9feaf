// Package auth authenticates clients. Tokens are JWTs (RFC 7519), which are checked strictly: among other things, each
// key may be used with only one algorithm.
package auth
