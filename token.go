package ackwire

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

// minRenewal is the shortest wait before a token is renewed or a failed renewal is repeated.
const minRenewal = time.Second

// jwtExpiry reads the exp claim of a JWT (RFC 7519 §4.1.4) without verifying the token, which only the server can do.
// It reports false for other kinds of tokens, whose expiry a client cannot see.
func jwtExpiry(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var v struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(claims, &v) != nil || !(v.Exp > 0 && v.Exp < 1<<40) {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(v.Exp * 1000)), true
}

// renewIn returns how long to wait before a token is renewed: four fifths of the time until its expiry. It reports
// false when the expiry is not known or has passed.
func renewIn(expiry time.Time) (time.Duration, bool) {
	left := time.Until(expiry)
	if expiry.IsZero() || left <= 0 {
		return 0, false
	}
	return max(left*4/5, minRenewal), true
}

// renewToken sends a new token on the open socket and reports to run the expiry of the token in use then: the new
// one's, or after a failure the old one's, so that the waits shrink towards it. If it keeps failing, the server closes
// the session with 4002 when the token expires, and the reconnect asks the token source once more.
func (c *Client) renewToken(cn *conn, expiry time.Time) {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.handshake)
	defer cancel()
	token, err := c.api.fetchToken(ctx)
	if err == nil {
		body := appendString([]byte(`,"token":`), token)
		if err = c.do(ctx, &call{kind: frame.Auth, body: append(body, '}')}); err == nil {
			expiry, _ = jwtExpiry(token)
		}
	}
	if err != nil {
		c.cfg.log.Warn("token not renewed", "err", err)
	}
	cn.renew <- expiry // has room: one renewal at a time
}
