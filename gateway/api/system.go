package api

import (
	"context"
	"net/http"
	"time"

	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// getSystem handles GET /v1/system.
func (ws *workers) getSystem(w http.ResponseWriter, r *http.Request) {
	_, _, done, ok := ws.operator(w, r)
	if !ok {
		return
	}
	defer done()
	ctx, cancel := context.WithTimeout(r.Context(), ws.cfg.ReadTimeout)
	defer cancel()
	ws.answer(w, shownSystem(ws.cfg.Fleet.System(ctx), time.Now()))
}

// shownSystem returns the system for clients.
func shownSystem(s *upstream.System, now time.Time) frame.System {
	shown := frame.System{
		Gateways: []frame.Process{}, Trackers: []frame.SystemTracker{}, AsOf: unixTime(now.UnixMilli()),
		Partitions: frame.SystemPartitions{Total: s.Partitions}, Kafka: frame.SystemKafka{Reachable: s.Kafka},
		Truncated: s.More,
	}
	for _, g := range s.Gateways {
		one := shownProcess(g)
		one.Self = g.Name == s.Self
		shown.Gateways = append(shown.Gateways, *one)
	}
	for _, t := range s.Trackers {
		one := frame.SystemTracker{Partitions: t.Owns, Answers: !t.Silent}
		if t.AboutResponse != nil {
			one.Process, one.Restoring = shownProcess(t.Tracker), int(t.Restoring)
		}
		shown.Trackers = append(shown.Trackers, one)
	}
	if !s.Kafka {
		return shown
	}
	shown.Partitions.Unowned = &s.Unowned
	if s.Unowned > 0 {
		since := unixTime(s.UnownedSince.UnixMilli())
		shown.Partitions.UnownedSince = &since
	}
	return shown
}

func shownProcess(p *trackerpb.Process) *frame.Process {
	at := unixTime(p.GetStartedAt())
	return &frame.Process{Name: p.GetName(), Version: p.GetVersion(), Revision: p.GetRevision(), StartedAt: &at}
}
