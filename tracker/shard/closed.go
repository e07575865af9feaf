package shard

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/topic"
)

// A partition is closed while its system's jobs move to another topic prefix: from a record topic.MarkClosed on, no
// event makes a job of an idempotency key that is not known. Gateways ask here before they make such a job under the
// other prefix. As the order of records in the log decides, a key has one job, whatever gateways and trackers do
// meanwhile.

// isMark reports whether a record is no event but a mark with this value.
func isMark(rec *kgo.Record, mark string) bool {
	for _, h := range rec.Headers {
		if h.Key == topic.HeaderMark {
			return string(h.Value) == mark
		}
	}
	return false
}

// close notes the mark at an offset. Of several the first counts.
func (s *Shard) close(at int64) {
	if s.pos.close(at) {
		s.log.Info("new idempotency keys are no longer taken: they belong to another topic prefix", "offset", at)
	}
}
