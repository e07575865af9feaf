package tracker

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/text"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/watch"
)

// Bounds of what a tracker keeps of the gateways that watch it.
const (
	maxGateways     = 1000 // beyond, a gateway is not told of
	maxGatewayChars = 128  // of each of its texts
)

// gateways are those whose watch streams are open, as they say of themselves.
type gateways struct {
	mu    sync.Mutex // guards known
	known map[*watch.Stream]*trackerpb.Process
}

// add notes who has opened a stream.
func (g *gateways) add(s *watch.Stream, p *trackerpb.Process) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known == nil {
		g.known = map[*watch.Stream]*trackerpb.Process{}
	}
	if g.known[s] != nil || len(g.known) < maxGateways {
		g.known[s] = &trackerpb.Process{
			Name: text.Clip(p.Name, maxGatewayChars), Version: text.Clip(p.Version, maxGatewayChars),
			Revision: text.Clip(p.Revision, maxGatewayChars), StartedAt: p.StartedAt,
		}
	}
}

// leave notes that a stream has ended.
func (g *gateways) leave(s *watch.Stream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.known, s)
}

// all returns each gateway once, sorted by name.
func (g *gateways) all() []*trackerpb.Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	byName := map[string]*trackerpb.Process{}
	for _, p := range g.known {
		byName[p.Name] = p
	}
	return slices.SortedFunc(maps.Values(byName), func(a, b *trackerpb.Process) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.StartedAt, b.StartedAt))
	})
}

// process returns an instance as the API tells it.
func process(i service.Instance) *trackerpb.Process {
	return &trackerpb.Process{Name: i.Name, Version: i.Version, Revision: i.Revision, StartedAt: i.StartedAt.UnixMilli()}
}

// About implements trackerpbconnect.TrackerHandler.
func (a *api) About(
	context.Context, *connect.Request[trackerpb.AboutRequest],
) (*connect.Response[trackerpb.AboutResponse], error) {
	response := &trackerpb.AboutResponse{Tracker: process(a.self), Gateways: a.gateways.all()}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, s := range a.shards {
		if s != nil && s.Ready() == nil {
			response.Ready++
		} else {
			response.Restoring++
		}
	}
	return connect.NewResponse(response), nil
}
