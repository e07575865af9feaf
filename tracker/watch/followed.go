package watch

import (
	"cmp"
	"slices"
	"sync"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// MaxSubjects bounds the subjects of one stream.
const MaxSubjects = 100_000

// Subjects records which subjects each stream watches, so that shards that start later can be told.
type Subjects = Followed[*trackerpb.SubjectAdd]

// Lists records which lists each stream watches, so that shards that start later can be told.
type Lists = Followed[*trackerpb.ListAdd]

// Followed records what each stream watches by handles of its own.
type Followed[A interface{ GetHandle() uint32 }] struct {
	// Full reports whether a stream that has these may have no further one; nil bounds them by MaxSubjects. Set before the
	// first use.
	Full func(of map[uint32]A, add A) bool

	mu      sync.Mutex // guards streams
	streams map[*Stream]map[uint32]A
}

// Add notes what a stream watches. It returns false when the stream has as many as it may, or is closed.
func (f *Followed[A]) Add(stream *Stream, add A) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if stream.Closed() { // a stream that leaves is closed first
		return false
	}
	if f.streams == nil {
		f.streams = map[*Stream]map[uint32]A{}
	}
	of := f.streams[stream]
	if of == nil {
		of = map[uint32]A{}
		f.streams[stream] = of
	}
	if f.Full == nil && len(of) >= MaxSubjects || f.Full != nil && f.Full(of, add) {
		return false
	}
	of[add.GetHandle()] = add
	return true
}

// Remove removes one handle of a stream.
func (f *Followed[A]) Remove(stream *Stream, handle uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.streams[stream], handle)
}

// Leave removes a stream with all that it watches.
func (f *Followed[A]) Leave(stream *Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.streams, stream)
}

// Len is the number of handles of all streams.
func (f *Followed[A]) Len() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, of := range f.streams {
		n += len(of)
	}
	return n
}

// All returns what each stream watches now, ordered by handle.
func (f *Followed[A]) All() map[*Stream][]A {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[*Stream][]A{}
	for stream, of := range f.streams {
		adds := make([]A, 0, len(of))
		for _, add := range of {
			adds = append(adds, add)
		}
		slices.SortFunc(adds, func(a, b A) int { return cmp.Compare(a.GetHandle(), b.GetHandle()) })
		all[stream] = adds
	}
	return all
}

// FullOfLists bounds the lists of a stream: MaxLists, and MaxTenantLists of one tenant.
func FullOfLists(of map[uint32]*trackerpb.ListAdd, add *trackerpb.ListAdd) bool {
	if len(of) >= MaxLists {
		return true
	}
	n := 0
	for _, other := range of {
		if other.List.GetTenant() == add.List.GetTenant() {
			n++
		}
	}
	return n >= MaxTenantLists
}
