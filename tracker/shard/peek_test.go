package shard

import (
	"context"

	"github.com/ackwire/ackwire/tracker/fold"
)

// inside runs f on the shard's goroutine.
func (w *world) inside(f func(*Shard)) {
	w.t.Helper()
	done := make(chan struct{})
	if err := w.shard.call(context.Background(), func() { f(w.shard); close(done) }); err != nil {
		w.t.Fatal(err)
	}
	<-done
}

// peek returns a job as the shard holds it; nil when it is unknown.
func (w *world) peek(id string) (j *fold.Job) {
	w.t.Helper()
	w.inside(func(s *Shard) {
		e, err := s.jobs.lookup(id)
		if err != nil {
			w.t.Error(err)
			return
		}
		j = e.job
	})
	return j
}
