package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

var errNotAsked = errors.New("trackers are not known yet")

// links records when each tracker was last heard. The gateway keeps a stream to every tracker that owns a partition,
// and HTTP/2 pings make the tracker send something at least once a second: so a silence of a few seconds means that
// the connection does not work.
type links struct {
	mu     sync.Mutex       // guards the fields below
	byAddr map[string]*link // by the tracker's address
	owners map[string]bool  // addresses of the trackers that own partitions

	log *slog.Logger

	// silence is how long a tracker that is a member of the group may be silent here (kafka.Bounds.Tracker). A
	// tracker that has died is out of the group by then, unless trackers have a longer session timeout than this
	// gateway knows; one that is still in it is cut off only from this gateway. With a shorter time the death of
	// a tracker would make all gateways not ready at once.
	silence time.Duration
}

// link is the state of the connections to one tracker.
type link struct {
	heard atomic.Int64 // when bytes were last read, or else when it became an owner; Unix nanoseconds
	// refused says why the tracker refuses this gateway, or the gateway the tracker; nil while neither does.
	refused atomic.Pointer[error]
}

func (l *link) silent(now time.Time) time.Duration { return now.Sub(time.Unix(0, l.heard.Load())) }

func newLinks(log *slog.Logger, silence time.Duration) *links {
	return &links{byAddr: map[string]*link{}, log: log, silence: silence}
}

// told records whether the tracker at a URL accepts this gateway, and is accepted by it. It logs each change once.
func (l *links) told(base *url.URL, err error) {
	addr := base.Host
	if base.Scheme == "https" {
		addr = topic.TrackerScheme + addr
	}
	l.mu.Lock()
	known := l.byAddr[addr]
	l.mu.Unlock()
	switch {
	case known == nil:
	case err == nil:
		if known.refused.Load() != nil && known.refused.Swap(nil) != nil {
			l.log.Info("tracker and gateway accept each other again", "tracker", addr)
		}
	default:
		err = fmt.Errorf("tracker %s cannot be used: %w", addr, err)
		if last := known.refused.Swap(&err); last == nil || (*last).Error() != err.Error() {
			l.log.Error("tracker cannot be used", "tracker", addr, "err", errors.Unwrap(err))
		}
	}
}

// keep sets which trackers own partitions. Other trackers may still have a connection, so they are forgotten only after
// their silence.
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
		if !owners[addr] && known.silent(now) > l.silence {
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

// over wraps a connection to a tracker, so that reads from it are recorded.
func (l *links) over(c net.Conn, addr string) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &heardConn{c, l.linkLocked(addr)}
}

// refused returns why the tracker and this gateway do not accept each other, or nil.
func (l *links) refused(addr string) error {
	l.mu.Lock()
	known := l.byAddr[addr]
	l.mu.Unlock()
	if known == nil {
		return nil
	}
	if err := known.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// broken returns an error if a tracker has been silent for too long.
func (l *links) broken(addr string, now time.Time) error {
	l.mu.Lock()
	known := l.byAddr[addr]
	l.mu.Unlock()
	if known == nil {
		return nil
	}
	if silent := known.silent(now); silent > l.silence {
		return fmt.Errorf("tracker %s has not been heard for %s", addr, silent.Round(time.Second))
	}
	return nil
}

func (l *links) addresses() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.owners))
}

// heardConn is a connection that records when bytes are read from it.
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

// tryRefused calls the trackers that refused this gateway again. No other calls may show that they accept it: streams
// that were open before stay open, and a gateway that is not ready gets no requests.
func (u *Upstream) tryRefused(ctx context.Context) {
	for _, addr := range u.links.addresses() {
		if u.links.refused(addr) == nil {
			continue
		}
		u.wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			_, _ = u.client(addr).Get(ctx, connect.NewRequest(&trackerpb.GetRequest{})) // any answer will do
		})
	}
}

// Ready returns why reads and watches do not work on this gateway, or nil: the consumer group does not answer, or a
// tracker that owns partitions refuses this gateway or cannot be reached. A partition without an owner is no reason: it
// is missing on every gateway, and submits work without it.
func (u *Upstream) Ready() error {
	now := time.Now()
	askedAt, askErr := u.owners.lastAsked()
	switch {
	case askedAt.IsZero():
		return errNotAsked
	case now.Sub(askedAt) > u.owners.bounds.Owners:
		err := fmt.Errorf("the trackers' consumer group has not answered for %s which tracker owns which partition",
			now.Sub(askedAt).Round(time.Second))
		if askErr != nil {
			err = fmt.Errorf("%w: %w", err, askErr)
		}
		return err
	}
	for _, addr := range u.links.addresses() {
		if err := u.links.refused(addr); err != nil {
			return err
		}
		if err := u.links.broken(addr, now); err != nil {
			return err
		}
	}
	return nil
}
