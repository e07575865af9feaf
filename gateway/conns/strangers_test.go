package conns

import (
	"fmt"
	"testing"

	"github.com/ackwire/ackwire/gateway/limits"
)

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

// TestStrangersOfOneAddress: a network of IPv6 is one, and this machine's own are not counted.
func TestStrangersOfOneAddress(t *testing.T) {
	turned := map[limits.Bound]int{}
	s := newStrangers(1000, 2, func(b limits.Bound) { turned[b]++ })
	in := func(a string) *Stranger { return s.enter(addr(a), func() { t.Errorf("%s was closed", a) }) }
	for _, of := range [][]string{
		{"192.0.2.1:1", "192.0.2.1:2", "[::ffff:192.0.2.1]:3"},
		{"[2001:db8:1:1::1]:1", "[2001:db8:1:1::2]:1", "[2001:db8:1:1:ffff::3]:1"},
	} {
		first := in(of[0])
		if first == nil || in(of[1]) == nil {
			t.Fatalf("%v: refused below the bound", of)
		}
		if in(of[2]) != nil {
			t.Errorf("%v: a third was let in", of)
		}
		s.leave(first)
		s.leave(first)
		if in(of[2]) == nil {
			t.Errorf("%v: refused though one has left", of)
		}
	}
	if in("[2001:db8:1:2::1]:1") == nil || in("192.0.2.2:1") == nil {
		t.Error("another address was refused")
	}
	for i := range 10 {
		if in(fmt.Sprint("127.0.0.1:", i)) == nil || in(fmt.Sprintf("[::1]:%d", i)) == nil {
			t.Error("this machine was refused")
		}
	}
	if turned[limits.AddressStrangers] != 2 || turned[limits.Strangers] != 0 {
		t.Errorf("counted %v", turned)
	}
}
