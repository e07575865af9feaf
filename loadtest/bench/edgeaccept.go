package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/gateway"
)

// edgeFiles has the files for the measured gateway.
type edgeFiles struct {
	dir, types, key string
	token           string // that the key has signed
}

const heldTypes = `types:
  ` + heldType + `: {lane: ` + heldLane + `, lease: 24h, schema: {}}
`

func newEdgeFiles() (_ *edgeFiles, err error) {
	dir, err := os.MkdirTemp("", "ackwire-edge")
	if err != nil {
		return nil, err
	}
	f := &edgeFiles{dir: dir, types: filepath.Join(dir, "types.yaml"), key: filepath.Join(dir, "token.key")}
	key := []byte(rand.Text() + rand.Text())
	f.token, err = gateway.SignToken(key, "local", "someone", time.Hour)
	if err = errors.Join(err, os.WriteFile(f.types, []byte(heldTypes), 0o600),
		os.WriteFile(f.key, key, 0o600)); err != nil {
		f.remove()
		return nil, err
	}
	return f, nil
}

func (f *edgeFiles) remove() { _ = os.RemoveAll(f.dir) }

// acceptors is the number of goroutines that open and close sockets.
const acceptors = 8

// accepts measures opening sockets of three kinds, in turns.
func (e *edge) accepts(ctx context.Context, r *EdgeReport, token string) error {
	each := e.cfg.Duration / time.Duration(2*e.cfg.Rounds)
	for turn := range e.cfg.Rounds + 1 {
		for _, kind := range []struct {
			to           *Accepts
			pid          int
			addr, header string
		}{
			{&r.BareAccept, e.bare.pid, e.bare.accept, ""},
			{&r.Accept, e.gw.pid, e.gw.addr, ""},
			{&r.JWT, e.gw.pid, e.gw.addr, "Authorization: Bearer " + token + "\r\n"},
		} {
			var got spent
			began := time.Now()
			if err := e.charged(kind.pid, true, &got, func() (int64, error) {
				return openAndClose(ctx, kind.addr, kind.header, each)
			}); err != nil {
				return err
			}
			if turn == 0 {
				continue // warms up
			}
			n, took := float64(got.count), time.Since(began).Seconds()
			before := float64(kind.to.Count)
			kind.to.CPU = (kind.to.CPU*before + got.seconds*1e6) / (before + n)
			kind.to.PerSecond += n / took / float64(e.cfg.Rounds)
			kind.to.Count += got.count
		}
	}
	return ctx.Err()
}

// openAndClose opens and closes sockets for a time, and returns their number.
func openAndClose(ctx context.Context, addr, header string, d time.Duration) (int64, error) {
	end := time.Now().Add(d)
	var n atomic.Int64
	problems := make(chan error, acceptors)
	var all sync.WaitGroup
	for range acceptors {
		all.Go(func() {
			for time.Now().Before(end) {
				s, err := handshake(ctx, addr, header)
				if err != nil {
					problems <- fmt.Errorf("open a socket: %w", err)
					return
				}
				// Reset the connection: a normal close would keep its port for a minute.
				if c, ok := s.conn.(*net.TCPConn); ok {
					_ = c.SetLinger(0)
				}
				_ = s.conn.Close()
				n.Add(1)
			}
		})
	}
	all.Wait()
	select {
	case err := <-problems:
		return 0, err
	default:
		return n.Load(), nil
	}
}
