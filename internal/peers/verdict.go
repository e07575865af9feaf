package peers

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"time"
)

// verdictConn is a connection under TLS 1.3 whose server has asked for a certificate. Such a server judges the
// certificate after the client's handshake has ended. If the client went on to write, the server's refusal (an alert)
// could get lost, when the server closes the connection at the same time.
type verdictConn struct {
	net.Conn
	ahead []byte // read by verdict; owned by the reader
}

// Sizes of TLS records (RFC 8446, section 5). Every record after the handshake has at least tagged bytes more than its
// content: the content's type, and the tag of the cipher.
const (
	recordHeader = 5
	tagged       = 1 + 16
	alertBytes   = 2 // less than any frame of HTTP/2, of which a server sends one at once
)

// Read implements net.Conn.
func (c *verdictConn) Read(b []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// verdict waits for the first record after the handshake, and returns the error if that is an alert.
func (c *verdictConn) verdict(ctx context.Context, secure *tls.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Now()) })
	head := make([]byte, recordHeader)
	_, err := io.ReadFull(c.Conn, head)
	if !stop() && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	c.ahead = head
	if int(binary.BigEndian.Uint16(head[recordHeader-2:])) > alertBytes+tagged {
		return nil
	}
	_, err = secure.Read(make([]byte, 1))
	return err
}
