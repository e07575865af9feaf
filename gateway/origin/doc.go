// Package origin tells which web pages may use the gateway, by their origins (RFC 6454).
package origin
