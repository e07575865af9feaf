package upstream

import "github.com/ackwire/ackwire/schemas/trackerpb"

// AddSubject watches all jobs of a subject at every tracker, including trackers that start later. The answers go to the
// watcher's Covered. A handle must not be used twice.
func (u *Upstream) AddSubject(add *trackerpb.SubjectAdd) {
	u.mu.Lock()
	u.subjects[add.Handle] = add
	for _, s := range u.streams {
		s.addSubject(add)
	}
	u.mu.Unlock()
	u.reach()
}

// RemoveSubject ends the watch of a subject.
func (u *Upstream) RemoveSubject(handle uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.subjects, handle)
	for _, s := range u.streams {
		s.removeSubject(handle)
	}
}

// reach opens a stream to each tracker that has none, even while nothing is watched: the connection shows whether the
// tracker can be reached, and any partition may have jobs of a watched subject.
func (u *Upstream) reach() {
	addrs := u.owners.addresses()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || u.ctx == nil {
		return
	}
	if len(addrs) == 0 && len(u.subjects) > 0 {
		u.wake.Send()
	}
	for addr := range addrs {
		u.streamLocked(addr)
	}
}

// addresses returns the addresses of all trackers that own partitions, by the last answer of the group.
func (o *owners) addresses() map[string]bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	addrs := map[string]bool{}
	for _, addr := range o.byPart {
		addrs[addr] = true
	}
	return addrs
}

func (s *stream) addSubject(add *trackerpb.SubjectAdd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.addSubjects = append(s.addSubjects, add)
		s.wake.Send()
	}
}

func (s *stream) removeSubject(handle uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.removeSubjects = append(s.removeSubjects, handle)
		s.wake.Send()
	}
}

// nextSubjects moves the adds and removals of subjects into m, as many as one message may have. A tracker removes
// before it adds, so a subject that would be added and removed by the same message is left out of its adds. s.mu is
// held.
func (s *stream) nextSubjects(m *trackerpb.WatchRequest) {
	n := min(len(s.addSubjects), maxJobsPerMessage)
	m.AddSubjects, s.addSubjects = s.addSubjects[:n:n], s.addSubjects[n:]
	if len(s.addSubjects) > 0 {
		return // a removal must not overtake its add
	}
	m.AddSubjects = withoutHandles(m.AddSubjects, s.removeSubjects)
	m.RemoveSubjects, s.removeSubjects = s.removeSubjects, nil
}

func withoutHandles(adds []*trackerpb.SubjectAdd, removed []uint32) []*trackerpb.SubjectAdd {
	if len(removed) == 0 {
		return adds
	}
	gone := make(map[uint32]bool, len(removed))
	for _, handle := range removed {
		gone[handle] = true
	}
	var kept []*trackerpb.SubjectAdd
	for _, add := range adds {
		if !gone[add.Handle] {
			kept = append(kept, add)
		}
	}
	return kept
}
