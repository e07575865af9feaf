package gateway

import (
	"container/list"
	"net"
	"net/netip"
	"sync"

	"github.com/ackwire/ackwire/gateway/limits"
)

// strangers are the connections and sockets of which nobody knows yet whose they are, the one that has waited for
// longest first. When there are too many, that one is closed: those who never say who they are do
// not keep out those who say it at once.
type strangers struct {
	most       int
	perAddress int // 0: no bound
	turned     func(limits.Bound)

	mu    sync.Mutex // guards all below; nothing is closed under it
	order list.List  // of *stranger
	from  map[string]int
}

// stranger is one of them, until it leaves.
type stranger struct {
	from  string // "" for this machine's own: load balancers and tests
	close func()
	place *list.Element // nil once it has left
}

func newStrangers(most, perAddress int, turned func(limits.Bound)) *strangers {
	return &strangers{most: most, perAddress: perAddress, turned: turned, from: map[string]int{}}
}

// enter counts one, until leave; nil means that too many wait from its address. hangUp may be
// called from any goroutine.
func (s *strangers) enter(addr net.Addr, hangUp func()) *stranger {
	x := &stranger{from: origin(addr), close: hangUp}
	s.mu.Lock()
	if x.from != "" && s.perAddress > 0 && s.from[x.from] >= s.perAddress {
		s.mu.Unlock()
		s.turned(limits.AddressStrangers)
		return nil
	}
	x.place = s.order.PushBack(x)
	s.from[x.from]++
	over := s.order.Len() > s.most
	s.mu.Unlock()
	if over {
		s.turned(limits.Strangers)
		s.evict()
	}
	return x
}

// leave undoes enter; nil and one that has left already are nobody.
func (s *strangers) leave(x *stranger) {
	if x == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(x)
}

// remove is called with s.mu held.
func (s *strangers) remove(x *stranger) {
	if x.place == nil {
		return
	}
	s.order.Remove(x.place)
	x.place = nil
	s.from[x.from]--
	if s.from[x.from] <= 0 {
		delete(s.from, x.from)
	}
}

// evict closes the one that has waited for longest; false when there is none.
func (s *strangers) evict() bool {
	s.mu.Lock()
	front := s.order.Front()
	if front == nil {
		s.mu.Unlock()
		return false
	}
	x := front.Value.(*stranger)
	s.remove(x)
	s.mu.Unlock()
	x.close()
	return true
}

// size is how many wait.
func (s *strangers) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order.Len()
}

// origin is whose address it is: an IPv6 client has at least a /64.
func origin(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap()
	if ip.IsLoopback() {
		return ""
	}
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
