package limits

import "github.com/ackwire/ackwire/schemas/code"

// WatchList counts a watched list until UnwatchList. The error, a frame.Problem, says why it is refused.
func (l *Limits) WatchList(name, subject string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(name)
	user := t.subject(subject)
	switch {
	case l.cfg.TenantLists > 0 && t.lists >= l.cfg.TenantLists:
		return l.refuse(TenantLists, code.LimitExceeded, "the tenant watches %d lists", t.lists)
	case l.cfg.SubjectLists > 0 && subject != "" && user.watched >= l.cfg.SubjectLists:
		return l.refuse(SubjectLists, code.LimitExceeded, "the user watches %d lists", user.watched)
	}
	t.lists++
	user.watched++
	return nil
}

// UnwatchList undoes WatchList.
func (l *Limits) UnwatchList(name, subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(name)
	t.lists--
	user := t.subject(subject)
	user.watched--
	if user.idle() {
		delete(t.subjects, subject)
	}
}
