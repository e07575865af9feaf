package intake

import (
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/queue"
	"github.com/ackwire/ackwire/schemas/frame"
)

// places tell in acks how many jobs are ahead. They only read what the trackers have reported.
type places struct{ cfg *Config }

// tell adds what is known to the ack of a job that was just made. A lane is shared by all tenants, so only who may
// operate is told its numbers exactly, unless the settings say that all are.
func (p places) tell(s *submission, ack *frame.AckFrame) {
	if ack.Duplicate || s.request.RunAt != nil {
		return // where a job stands that was made before, or starts later, is another question
	}
	place := s.to.Acked(s.request.Lane, time.Now())
	p.cfg.Metrics.placed(place)
	if !place.Known {
		return
	}
	if !p.cfg.ExactPlaces && !s.id.May(auth.Operate) {
		place = place.Rounded()
	}
	told := &struct { // one allocation for both
		ahead    int64
		estimate float64
	}{place.Ahead, place.Estimate}
	ack.Ahead = &told.ahead
	if place.Estimated {
		ack.Estimate = &told.estimate
	}
}

func (m *Metrics) placed(p queue.Place) {
	switch {
	case p.Estimated:
		m.placeEstimated.Inc()
	case p.Known:
		m.placeKnown.Inc()
	default:
		m.placeUnknown.Inc()
	}
}
