package watch

import (
	"sync"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Queues records which streams have asked for reports of the lanes' queues.
type Queues struct {
	mu      sync.Mutex // guards streams
	streams map[*Stream]struct{}
}

// Add has a stream get reports from now on.
func (q *Queues) Add(stream *Stream) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if stream.Closed() { // a stream that leaves is closed first
		return
	}
	if q.streams == nil {
		q.streams = map[*Stream]struct{}{}
	}
	q.streams[stream] = struct{}{}
}

// Leave removes a stream.
func (q *Queues) Leave(stream *Stream) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.streams, stream)
}

// Tell queues a report for all streams that have asked. Nobody may change it afterwards.
func (q *Queues) Tell(report *trackerpb.Queues) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for stream := range q.streams {
		stream.putQueues(report)
	}
}

// putQueues queues a report, in place of an earlier one that was not sent yet.
func (s *Stream) putQueues(report *trackerpb.Queues) {
	s.mu.Lock()
	if !s.closed {
		s.queues = report
	}
	s.mu.Unlock()
	s.wake.Send()
}
