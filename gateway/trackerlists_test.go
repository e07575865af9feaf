package gateway

import (
	"fmt"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// watchLists adds and removes the lists of a stream; it is called with f.mu held. All partitions are covered at once,
// unless the tracker is mute.
func (f *fakeTracker) watchLists(s *fakeStream, m *trackerpb.WatchRequest) {
	if s.lists == nil {
		s.lists = map[uint32]*trackerpb.ListRequest{}
	}
	for _, handle := range m.RemoveLists {
		delete(s.lists, handle)
	}
	for _, add := range m.AddLists {
		s.lists[add.Handle] = add.List
		if !f.mute {
			f.coverLocked(s, add.Handle, false)
		}
	}
}

func (f *fakeTracker) coverLocked(s *fakeStream, handle uint32, lost bool) {
	r := &trackerpb.WatchResponse{}
	for p := range int32(testPartitions) {
		r.Coverage = append(r.Coverage, &trackerpb.Coverage{
			Partition: p, Partitions: testPartitions, Lists: []uint32{handle}, Lost: lost,
		})
	}
	s.out <- r
}

// coverLists says of all lists that they are covered, or no longer.
func (f *fakeTracker) coverLists(lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.streams {
		for handle := range s.lists {
			f.coverLocked(s, handle, lost)
		}
	}
}

// watchedLists are what the trackers' streams watch.
func (f *fakeTracker) watchedLists() (all []*trackerpb.ListRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.streams {
		for _, l := range s.lists {
			all = append(all, l)
		}
	}
	return all
}

// tellLists tells all lists of changes.
func (f *fakeTracker) tellLists(missed int64, changes ...*trackerpb.ListChange) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.streams {
		for handle := range s.lists {
			s.out <- &trackerpb.WatchResponse{Lists: []*trackerpb.ListChanges{
				{Handle: handle, Changes: changes, Missed: missed}}}
		}
	}
}

func rowOf(i int, version int64) *trackerpb.ListChange {
	id := fmt.Sprintf("job-%d", i)
	return &trackerpb.ListChange{JobId: id, Version: version, Document: document(id, job.Processing)}
}
