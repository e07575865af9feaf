//go:build !unix

package session

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns nil: this system has no writes that do not block, so each flush has a goroutine of its own.
func rawConn(net.Conn) syscall.RawConn { return nil }

type trier struct{}

func newTrier() *trier { return &trier{} }

func (*trier) write(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }
