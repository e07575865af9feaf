package processor

// maxSeen bounds how many dispatches a worker remembers.
const maxSeen = 32 << 10

// seen remembers which dispatches this worker was given, in bounded memory. It keeps two
// generations of at most bound/2 keys each and drops the older one when the younger is
// full, so that the last bound/2 keys are always known.
type seen struct {
	bound         int
	young, former map[string]struct{}
}

func newSeen(bound int) *seen {
	return &seen{bound: bound, young: map[string]struct{}{}}
}

// meet reports whether key is known, and remembers it.
func (s *seen) meet(key string) bool {
	_, known := s.young[key]
	if known {
		return true
	}
	_, known = s.former[key]
	if len(s.young) >= s.bound/2 {
		s.former, s.young = s.young, make(map[string]struct{}, s.bound/2)
	}
	s.young[key] = struct{}{}
	return known
}
