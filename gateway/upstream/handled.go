package upstream

import "github.com/ackwire/ackwire/schemas/trackerpb"

// handled are a stream's adds and removals, by handles, that were not sent yet.
type handled[A interface{ GetHandle() uint32 }] struct {
	adds    []A
	removes []uint32
}

func (h *handled[A]) empty() bool { return len(h.adds)+len(h.removes) == 0 }

// next takes the adds and removals that the next message may have. A tracker removes before it adds, so what would be
// added and removed by the same message is left out of its adds.
func (h *handled[A]) next() (adds []A, removes []uint32) {
	n := min(len(h.adds), maxJobsPerMessage)
	adds, h.adds = h.adds[:n:n], h.adds[n:]
	if len(h.adds) > 0 {
		return adds, nil // a removal must not overtake its add
	}
	removes, h.removes = h.removes, nil
	return withoutHandles(adds, removes), removes
}

func withoutHandles[A interface{ GetHandle() uint32 }](adds []A, removed []uint32) []A {
	if len(removed) == 0 {
		return adds
	}
	gone := make(map[uint32]bool, len(removed))
	for _, handle := range removed {
		gone[handle] = true
	}
	var kept []A
	for _, add := range adds {
		if !gone[add.GetHandle()] {
			kept = append(kept, add)
		}
	}
	return kept
}

// AddList watches the jobs of a list at every tracker, including trackers that start later. The answers go to the
// watcher's Covered, the changes to its Listed. A handle must not be used twice.
func (u *Upstream) AddList(add *trackerpb.ListAdd) {
	u.mu.Lock()
	u.lists[add.Handle] = add
	for _, s := range u.streams {
		s.addList(add)
	}
	u.mu.Unlock()
	u.reach()
}

// RemoveList ends the watch of a list.
func (u *Upstream) RemoveList(handle uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.lists, handle)
	for _, s := range u.streams {
		s.removeList(handle)
	}
}

func (s *stream) addList(add *trackerpb.ListAdd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.lists.adds = append(s.lists.adds, add)
		s.wake.Send()
	}
}

func (s *stream) removeList(handle uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.lists.removes = append(s.lists.removes, handle)
		s.wake.Send()
	}
}

// AddList is Upstream.AddList at both systems.
func (p *Pair) AddList(add *trackerpb.ListAdd) {
	p.now.AddList(add)
	if p.former != nil {
		p.former.AddList(add)
	}
}

// RemoveList is Upstream.RemoveList at both systems.
func (p *Pair) RemoveList(handle uint32) {
	p.now.RemoveList(handle)
	if p.former != nil {
		p.former.RemoveList(handle)
	}
}
