package processor

import (
	"errors"
	"fmt"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// shut takes no more writes after the handler has returned, sends what was written, and waits until it is stored, for
// atMost. It returns an error if something of a stream is not stored; the log may be incomplete.
func (w *streams) shut(atMost time.Duration) error {
	w.mu.Lock()
	w.end.closing = true
	w.closeOnce()
	all := make([]*Stream, 0, len(w.byName))
	for _, s := range w.byName {
		all = append(all, s)
	}
	w.mu.Unlock()

	var problems []error
	for _, s := range all {
		problems = append(problems, s.finish())
	}
	w.log.finish()
	err := w.drain(atMost)
	return errors.Join(append(problems, err)...)
}

// drain sends what is left and waits until it is stored.
func (w *streams) drain(atMost time.Duration) error {
	late := time.NewTimer(atMost)
	defer late.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		open := 0 // streams, without the log, that are not stored
		rest := 0
		for _, p := range w.pipes() {
			p.due = p.open.length > 0
			w.advance(p)
			switch {
			case p.idle():
			case p.name == job.StreamLog:
				rest++
			default:
				open++
			}
		}
		if w.end.lost != nil || w.end.sealed || open+rest == 0 {
			return w.end.failed
		}
		changed := w.changed
		w.mu.Unlock()
		over := false
		select {
		case <-changed:
		case <-late.C:
			over = true
		}
		w.mu.Lock()
		if over && w.end.failed == nil && open > 0 {
			w.end.failed = notStored(fmt.Errorf("%d streams were not stored within %s", open, atMost))
		}
		if over {
			return w.end.failed
		}
	}
}

// pipes returns the pipes of all streams. It is called with mu held.
func (w *streams) pipes() []*pipe {
	all := []*pipe{&w.log.pipe}
	for _, s := range w.byName {
		all = append(all, s.pipe)
	}
	return all
}

// seal ends the streams for the run's last event: it returns how much of each is stored, and nothing is sent any more.
func (w *streams) seal() job.Streams {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end.sealed = true
	w.stop()
	totals := job.Streams{}
	for _, p := range w.pipes() {
		if p.stored > 0 {
			totals[p.name] = job.StreamTotal{Kind: p.kind, Total: p.stored}
		}
	}
	if len(totals) == 0 {
		return nil
	}
	return totals
}

// abandon ends the streams of a run that was stopped or lost its lease: nothing is sent any more.
func (w *streams) abandon(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end.lost = cause
	w.stop()
}

// stop drops what is not sent. It is called with mu held.
func (w *streams) stop() {
	w.closeOnce()
	for _, p := range w.pipes() {
		w.free(p, p.drop())
	}
	w.notify()
}

// closeOnce ends waits of writers. It is called with mu held.
func (w *streams) closeOnce() {
	select {
	case <-w.closed:
	default:
		close(w.closed)
	}
}
