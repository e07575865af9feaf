// Package simnet is a simulated network for tests: in-memory connections between named hosts, in a
// testing/synctest bubble, with methods that break them as real networks and processes break. Every connection
// has two ends: one belongs to the host that dialled, the other to the host that listens.
package simnet

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Network connects hosts. Its addresses are localhost:PORT.
type Network struct {
	virtual kfake.VirtualNetwork

	mu    sync.Mutex // guards hosts and ports
	hosts map[string]*Host
	ports map[string]*Host // by port: the host that has listened there last
}

// New returns a network without hosts.
func New() *Network { return &Network{hosts: map[string]*Host{}, ports: map[string]*Host{}} }

// Host returns the host of that name, and creates it at the first call.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	if h == nil {
		h = &Host{net: n, name: name, conns: map[*conn]struct{}{}, listeners: map[net.Listener]struct{}{}}
		n.hosts[name] = h
	}
	return h
}

// Host is one machine or process. Its methods act on all of its connections, in both directions and whichever
// side dialled.
type Host struct {
	net  *Network
	name string

	mu        sync.Mutex // guards all below; no other lock is taken under it
	conns     map[*conn]struct{}
	listeners map[net.Listener]struct{}
	cut       bool
	hung      chan struct{} // not nil while the host hangs; closed by Heal
	deaf      bool
	parted    map[string]chan struct{} // by port that it is parted from; closed by Heal
	out, in   time.Duration            // see Delay
}

// Errors of a broken network.
var (
	errCut   = errors.New("simnet: host is cut off")
	errReset = errors.New("simnet: connection reset")
)

// Dial implements service.Env's Dial.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	h.mu.Lock()
	cut := h.cut
	h.mu.Unlock()
	if cut {
		return nil, errCut
	}
	if err := h.connecting(ctx, address); err != nil {
		return nil, err
	}
	c, err := h.net.virtual.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return h.adopt(c, portOf(address))
}

// Listen implements service.Env's Listen.
func (h *Host) Listen(_ context.Context, network, address string) (net.Listener, error) {
	l, err := h.net.virtual.Listen(network, address)
	if err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	h.net.ports[portOf(address)] = h
	h.net.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[l] = struct{}{}
	return &listener{l, h}, nil
}

// Cut closes every connection of the host and refuses new ones, until Heal: as when it has crashed, or its
// network has failed and the kernel has noticed.
func (h *Host) Cut() {
	h.mu.Lock()
	h.cut = true
	h.mu.Unlock()
	h.reset()
}

// Kill is Cut that also closes the host's listeners, as when the process has ended.
func (h *Host) Kill() {
	h.Cut()
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		_ = l.Close()
	}
	clear(h.listeners)
}

// Hang stops all data of the host without closing connections, until Heal: as when the process is stopped
// (SIGSTOP) or packets are lost.
func (h *Host) Hang() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hung == nil {
		h.hung = make(chan struct{})
	}
}

// Part stops all data between the host and one address that it dials, without closing connections, until Heal;
// its other connections work.
func (h *Host) Part(address string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.parted == nil {
		h.parted = map[string]chan struct{}{}
	}
	if port := portOf(address); h.parted[port] == nil {
		h.parted[port] = make(chan struct{})
	}
}

// portOf returns the port of an address. It identifies a listener, for every host is localhost.
func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// Deafen lets the host send and drops all that it would receive, until Heal: its records are written, and their
// acks are lost.
func (h *Host) Deafen() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deaf = true
}

// Heal undoes Cut, Hang, Part and Deafen. The connections of a deaf host are closed, for they have lost data.
func (h *Host) Heal() {
	h.mu.Lock()
	deaf := h.deaf
	h.cut, h.deaf = false, false
	if h.hung != nil {
		close(h.hung)
		h.hung = nil
	}
	for port, parted := range h.parted {
		close(parted)
		delete(h.parted, port)
	}
	h.mu.Unlock()
	if deaf {
		h.reset()
	}
}

// reset closes every connection.
func (h *Host) reset() {
	h.mu.Lock()
	conns := make([]*conn, 0, len(h.conns))
	for c := range h.conns {
		conns = append(conns, c)
	}
	h.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// adopt adds c to the host's connections. dialled is the port that the host has dialled, and empty for an
// accepted connection.
func (h *Host) adopt(c net.Conn, dialled string) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cut {
		_ = c.Close()
		return nil, errCut
	}
	wrapped := &conn{Conn: delayed(c, h.out, h.in), host: h, dialled: dialled, gone: make(chan struct{})}
	h.conns[wrapped] = struct{}{}
	return wrapped, nil
}

type listener struct {
	net.Listener
	host *Host
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, net.ErrClosed
		}
		if adopted, err := l.host.adopt(c, ""); err == nil {
			return adopted, nil
		}
	}
}

// conn is one end of a connection, owned by a host.
type conn struct {
	net.Conn
	host    *Host
	dialled string // the port; empty on the side that listens
	once    sync.Once
	gone    chan struct{} // closed with the connection
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if passErr := c.pass(); passErr != nil {
			return 0, passErr
		}
		if n > 0 && c.isDeaf() {
			continue // dropped
		}
		return n, err
	}
}

func (c *conn) Write(b []byte) (int, error) {
	if err := c.pass(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// pass waits while the host hangs or is parted from the port that it dialled.
func (c *conn) pass() error {
	for {
		c.host.mu.Lock()
		blocked := c.host.hung
		if blocked == nil && c.dialled != "" {
			blocked = c.host.parted[c.dialled]
		}
		c.host.mu.Unlock()
		if blocked == nil {
			return nil
		}
		select {
		case <-blocked:
		case <-c.gone:
			return errReset
		}
	}
}

func (c *conn) isDeaf() bool {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	return c.host.deaf
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.gone)
		c.host.mu.Lock()
		delete(c.host.conns, c)
		c.host.mu.Unlock()
	})
	return c.Conn.Close()
}
