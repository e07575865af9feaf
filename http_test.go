package ackwire

import "testing"

// overHTTP makes a client without a socket.
func overHTTP(t *testing.T, url string, opts ...Option) *HTTPClient {
	t.Helper()
	c, err := NewHTTP(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}
