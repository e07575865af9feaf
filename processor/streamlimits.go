package processor

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/schemas/stream"
)

// Defaults and bounds of the limits of streams.
const (
	defaultStreamLimit = 8 << 20   // bytes of all streams of a run
	defaultStreamRate  = 256 << 10 // bytes per second
	maxStreamLimit     = 1 << 30
	minStreamRate      = 1 << 10
	maxStreamRate      = 64 << 20
)

// streamLimits bound what one run writes to its streams, without its log.
type streamLimits struct {
	total int64 // bytes
	rate  int64 // bytes per second
}

// limitsOf returns the limits of a job type: those of WithStreamLimits, within their bounds, else those of Config.
func (p *Processor) limitsOf(jobType string) streamLimits {
	l := streamLimits{total: p.cfg.StreamLimit, rate: p.cfg.StreamRate}
	if p.byType.streamLimits == nil {
		return l
	}
	total, perSecond := p.byType.streamLimits(jobType)
	if total > 0 {
		l.total = min(total, maxStreamLimit)
	}
	if perSecond > 0 {
		l.rate = min(max(perSecond, minStreamRate), maxStreamRate)
	}
	return l
}

// pace makes writers wait: a token bucket that holds one second's bytes, but at least those of one piece.
type pace struct{ bucket *rate.Limiter }

// newPace returns a full bucket.
func newPace(perSecond int64) *pace {
	// An item is admitted with the comma before it, and a part of a text with its bytes replaced.
	burst := max(int(perSecond), stream.MaxPiece+1)
	return &pace{rate.NewLimiter(rate.Limit(perSecond), burst)}
}

// wait waits until n bytes may be written; n is at most the size of one piece and a comma. If ctx ends first, or closed
// is closed, it returns an error.
func (p *pace) wait(ctx context.Context, closed <-chan struct{}, n int) error {
	r := p.bucket.ReserveN(time.Now(), n)
	d := r.Delay()
	if d == 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		r.Cancel()
		return context.Cause(ctx)
	case <-closed:
		r.Cancel()
		return ErrStreamsClosed
	}
}
