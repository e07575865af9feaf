package hub

import "slices"

// maxUnasked bounds a terminal document that a tracker sends with its answer, in bytes. A larger one is withheld, until
// the subscriber has room for it and loads it.
const maxUnasked = 16 << 10

// askAgain is called when the last add of an entry is completely answered. It makes the next add if there are
// subscriptions that came after it and still need an answer or the status of that version. left says that the tracker
// has ended its watch of the job, so that every later subscription needs a new one.
func (h *Hub) askAgain(jobID string, e *entry, version int64, left bool) bool {
	e.asking = false
	again := slices.ContainsFunc(e.subs, func(s *Subscription) bool {
		return !s.asked && (left || s.waiting || s.seen() < version)
	})
	if again {
		h.add(jobID, e)
	}
	return again
}
