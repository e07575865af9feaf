package shard

import (
	"sync/atomic"
	"time"
)

// age is since when the store lacks something. One goroutine changes it, any may ask.
type age struct {
	since   time.Time // of what came after the checkpoint that is being written; zero is none
	flushed time.Time // of what that has
	oldest  atomic.Int64
}

func (a *age) changed(at time.Time) {
	if a.since.IsZero() {
		a.since = at
		a.publish()
	}
}

// writing begins a checkpoint.
func (a *age) writing() {
	a.flushed, a.since = a.since, time.Time{}
	a.publish()
}

// written ends it.
func (a *age) written() {
	a.flushed = time.Time{}
	a.publish()
}

// failed ends one that wrote nothing.
func (a *age) failed() {
	if !a.flushed.IsZero() {
		a.since, a.flushed = a.flushed, time.Time{}
	}
	a.publish()
}

func (a *age) publish() {
	oldest := a.flushed
	if oldest.IsZero() {
		oldest = a.since
	}
	if oldest.IsZero() {
		a.oldest.Store(0)
		return
	}
	a.oldest.Store(oldest.UnixNano())
}
