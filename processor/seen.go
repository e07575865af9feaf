package processor

// seen remembers, within a bound, which dispatches this worker has met. It keeps two
// generations of at most half the bound each and forgets the older one when the younger is
// full: what was met within the last bound/2 keys is always known.
type seen struct {
	bound         int
	young, former map[string]struct{}
}

func newSeen(bound int) *seen {
	return &seen{bound: bound, young: map[string]struct{}{}}
}

// meet reports whether key was met before, and remembers it.
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
