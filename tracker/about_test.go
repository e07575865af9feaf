package tracker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/watch"
)

// TestGatewaysAreBounded: hostile gateways fill neither the list nor the memory, and one that has left makes room.
func TestGatewaysAreBounded(t *testing.T) {
	var g gateways
	long := strings.Repeat("x", 10*maxGatewayChars)
	first := watch.NewStream()
	g.add(first, &trackerpb.Process{Name: "first", Version: long, Revision: long})
	for n := range maxGateways + 5 {
		g.add(watch.NewStream(), &trackerpb.Process{Name: fmt.Sprintf("gateway-%04d", n)})
	}
	all := g.all()
	if len(all) != maxGateways || all[0].Name != "first" || len(all[0].Version) != maxGatewayChars ||
		len(all[0].Revision) != maxGatewayChars || all[1].Name != "gateway-0000" {
		t.Errorf("%d gateways: %v", len(all), all[0])
	}
	g.leave(first)
	g.add(watch.NewStream(), &trackerpb.Process{Name: "late"})
	g.add(watch.NewStream(), &trackerpb.Process{Name: "too-late"})
	if all := g.all(); len(all) != maxGateways || all[len(all)-1].Name != "late" {
		t.Errorf("%d gateways, the last is %v", len(all), all[len(all)-1])
	}
}
