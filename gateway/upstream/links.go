package upstream

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what is taken for a way to the trackers that works.
const (
	// trackerSilence is how long a tracker that the group counts as alive may be silent here. A
	// tracker that has died is out of the group by then (a session timeout of 10 s, unless it is set
	// to more, and a rebalance): one that is still in it is cut off from this gateway alone. Were it
	// shorter, a tracker's death would make all gateways not ready at once.
	trackerSilence = 12 * time.Second
	// ownersSilence is how long the consumer group may leave open who owns what.
	ownersSilence = 10 * time.Second
)

var errNotAsked = errors.New("trackers are not known yet")

// links knows when each tracker was last heard. A stream is open to every one that owns
// something, and HTTP/2 pings make its connection speak at least once a second: so silence of a
// few seconds means that nothing comes through.
type links struct {
	mu     sync.Mutex // guards all below
	byAddr map[string]*link
	owners map[string]bool // addresses of those that own something
}

// link is the way to one tracker, over one connection after the other.
type link struct {
	heard atomic.Int64 // Unix nanoseconds; when it became an owner, until something was read
}

func (l *link) silent(now time.Time) time.Duration { return now.Sub(time.Unix(0, l.heard.Load())) }

func newLinks() *links { return &links{byAddr: map[string]*link{}} }

// keep tells which trackers own something. Others are forgotten when they have been silent, for
// until then they may have a connection.
func (l *links) keep(owners map[string]bool, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for addr := range owners {
		if known := l.linkLocked(addr); !l.owners[addr] {
			known.heard.Store(now.UnixNano())
		}
	}
	l.owners = owners
	for addr, known := range l.byAddr {
		if !owners[addr] && known.silent(now) > trackerSilence {
			delete(l.byAddr, addr)
		}
	}
}

func (l *links) linkLocked(addr string) *link {
	known := l.byAddr[addr]
	if known == nil {
		known = &link{}
		known.heard.Store(time.Now().UnixNano())
		l.byAddr[addr] = known
	}
	return known
}

// over returns c, which notes when it brought something from the tracker.
func (l *links) over(c net.Conn, addr string) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &heardConn{c, l.linkLocked(addr)}
}

// broken says for how long a tracker has been silent, once that is too long.
func (l *links) broken(addr string, now time.Time) error {
	l.mu.Lock()
	known := l.byAddr[addr]
	l.mu.Unlock()
	if known == nil {
		return nil
	}
	if silent := known.silent(now); silent > trackerSilence {
		return fmt.Errorf("tracker %s has not been heard for %s", addr, silent.Round(time.Second))
	}
	return nil
}

func (l *links) addresses() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.owners))
}

type heardConn struct {
	net.Conn
	link *link
}

// Read implements net.Conn.
func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.link.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// Ready says why reads and watches do not work here though trackers are there: the group does
// not say who owns what, or an owner cannot be reached. Partitions that nobody owns are no reason:
// every gateway lacks them, and submits go on.
func (u *Upstream) Ready() error {
	now := time.Now()
	askedAt, askErr := u.owners.lastAsked()
	switch {
	case askedAt.IsZero():
		return errNotAsked
	case now.Sub(askedAt) > ownersSilence:
		err := fmt.Errorf("the trackers' consumer group has not said for %s who owns what",
			now.Sub(askedAt).Round(time.Second))
		if askErr != nil {
			err = fmt.Errorf("%w: %w", err, askErr)
		}
		return err
	}
	for _, addr := range u.links.addresses() {
		if err := u.links.broken(addr, now); err != nil {
			return err
		}
	}
	return nil
}
