package hub

import "slices"

// maxUnasked bounds the documents of ended jobs that a tracker sends before there is room for
// them.
const maxUnasked = 16 << 10

// askAgain makes the next add, once the last one has brought all that it will, if some came
// after it was made and lack what it brought: an answer, or the status of that version. left says
// that the tracker has no watch of the job any more, so that those who watch it here lack one.
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
