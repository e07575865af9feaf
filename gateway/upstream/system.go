package upstream

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sync/errgroup"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of a question about the system.
const (
	aboutTimeout = 2 * time.Second // of one tracker
	aboutAtOnce  = 16              // trackers
	maxTold      = 1000            // gateways, and trackers
)

// System is what a gateway knows of all processes but workers.
type System struct {
	Self     string // the name of this gateway
	Gateways []*trackerpb.Process
	Trackers []TrackerState
	More     bool // there are more than maxTold gateways or trackers

	Kafka bool // it has answered now
	// Partitions is the number of partitions of the topic status, and Unowned the number of those without a tracker, by
	// the last answer of Kafka. Unowned is not known if Kafka is false. UnownedSince is the time at which this gateway
	// first saw one of them without a tracker; zero if all have one.
	Partitions   int
	Unowned      int
	UnownedSince time.Time
}

// TrackerState is one tracker.
type TrackerState struct {
	*trackerpb.AboutResponse // nil if it does not answer, or is of an earlier release
	Owns                     int
	Silent                   bool // it does not answer
}

// System asks Kafka who owns the partitions and every tracker of the group for its state.
func (u *Upstream) System(ctx context.Context) *System {
	err := u.owners.refresh(ctx)
	var told *kerr.Error
	s := &System{Kafka: err == nil || errors.As(err, &told)}
	if u.process != nil {
		s.Self, s.Gateways = u.process.Name, []*trackerpb.Process{u.process}
	}
	owns := u.owners.shares(s)
	addrs := slices.Sorted(maps.Keys(owns))
	if len(addrs) > maxTold {
		addrs, s.More = addrs[:maxTold], true
	}
	s.Trackers = make([]TrackerState, len(addrs))
	var asked errgroup.Group
	asked.SetLimit(aboutAtOnce)
	for i, addr := range addrs {
		asked.Go(func() error {
			s.Trackers[i] = u.about(ctx, addr)
			s.Trackers[i].Owns = owns[addr]
			return nil
		})
	}
	_ = asked.Wait() // none fails
	s.settle()
	return s
}

// about asks one tracker.
func (u *Upstream) about(ctx context.Context, addr string) TrackerState {
	if u.links.broken(addr, time.Now()) != nil {
		return TrackerState{Silent: true}
	}
	ctx, cancel := context.WithTimeout(ctx, aboutTimeout)
	defer cancel()
	r, err := u.client(addr).About(ctx, connect.NewRequest(&trackerpb.AboutRequest{}))
	if err != nil {
		return TrackerState{Silent: connect.CodeOf(err) != connect.CodeUnimplemented}
	}
	return TrackerState{AboutResponse: r.Msg}
}

// settle sorts trackers and gateways by name, and has each gateway once.
func (s *System) settle() {
	byName := map[string]*trackerpb.Process{}
	for _, g := range s.Gateways {
		byName[g.Name] = g
	}
	for _, t := range s.Trackers {
		for _, g := range t.GetGateways() {
			byName[g.Name] = g
		}
	}
	s.Gateways = slices.SortedFunc(maps.Values(byName), func(a, b *trackerpb.Process) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.StartedAt, b.StartedAt))
	})
	if len(s.Gateways) > maxTold {
		s.Gateways, s.More = s.Gateways[:maxTold], true
	}
	slices.SortStableFunc(s.Trackers, func(a, b TrackerState) int {
		return strings.Compare(a.GetTracker().GetName(), b.GetTracker().GetName())
	})
}

// System is Upstream.System of the present and the former system, together.
func (p *Pair) System(ctx context.Context) *System {
	if p.former == nil {
		return p.now.System(ctx)
	}
	var old *System
	var asked sync.WaitGroup
	asked.Go(func() { old = p.former.System(ctx) })
	s := p.now.System(ctx)
	asked.Wait()
	s.Gateways, s.Trackers = append(s.Gateways, old.Gateways...), append(s.Trackers, old.Trackers...)
	s.More, s.Kafka = s.More || old.More, s.Kafka && old.Kafka
	s.Partitions, s.Unowned = s.Partitions+old.Partitions, s.Unowned+old.Unowned
	if s.UnownedSince.IsZero() || !old.UnownedSince.IsZero() && old.UnownedSince.Before(s.UnownedSince) {
		s.UnownedSince = old.UnownedSince
	}
	s.settle()
	return s
}

// shares notes in s which partitions there are, and returns how many of them each tracker of the group owns.
func (o *owners) shares(s *System) map[string]int {
	o.mu.RLock()
	defer o.mu.RUnlock()
	owns := map[string]int{}
	for _, addr := range o.members {
		owns[addr] = 0
	}
	for _, addr := range o.byPart {
		owns[addr]++
	}
	s.Partitions, s.Unowned = int(o.partitions), len(o.unowned)
	for _, since := range o.unowned {
		if s.UnownedSince.IsZero() || since.Before(s.UnownedSince) {
			s.UnownedSince = since
		}
	}
	return owns
}

// noteUnowned notes since when each partition has had no owner: since an answer of the group first said so. o.mu is
// held.
func (o *owners) noteUnowned(now time.Time) {
	if o.unowned == nil {
		o.unowned = map[int32]time.Time{}
	}
	for p := range o.partitions {
		_, owned := o.byPart[p]
		_, known := o.unowned[p]
		switch {
		case owned:
			delete(o.unowned, p)
		case !known:
			o.unowned[p] = now
		}
	}
}
