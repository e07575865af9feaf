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
	if len(addrs) == 0 && len(u.subjects)+len(u.lists) > 0 {
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
		s.subjects.adds = append(s.subjects.adds, add)
		s.wake.Send()
	}
}

func (s *stream) removeSubject(handle uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.subjects.removes = append(s.subjects.removes, handle)
		s.wake.Send()
	}
}
