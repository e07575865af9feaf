package keeper

import "sort"

const (
	maxMarks    = 512 // of a stream
	firstStride = 16  // records of the topic between two marks, while there are few
)

// mark says that the record at offset holds the position at.
type mark struct{ At, Offset int64 }

// marks are an index of a stream into the topic: from a mark on, records are read and those of others skipped. As
// pieces have no gaps between them, a stream is what lies from its first mark to its end. The marks are at least
// Stride offsets apart; when there are too many, every second one is dropped, and Stride is doubled. List is never
// changed in place.
type marks struct {
	List   []mark `json:"list,omitempty"`
	Stride int64  `json:"stride,omitempty"`
}

// add notes that the record at offset holds the position at, which is the largest so far.
func (m *marks) add(at, offset int64) {
	m.Stride = max(m.Stride, firstStride)
	if n := len(m.List); n > 0 && offset-m.List[n-1].Offset < m.Stride {
		return
	}
	if len(m.List) >= maxMarks {
		half := make([]mark, 0, maxMarks)
		for i := 0; i < len(m.List); i += 2 {
			half = append(half, m.List[i])
		}
		m.List = half
		m.Stride *= 2
	}
	m.List = append(m.List, mark{at, offset})
}

// find returns the offset from which records must be read to find the position at; false if there is no mark before
// it.
func (m *marks) find(at int64) (offset int64, ok bool) {
	i := sort.Search(len(m.List), func(i int) bool { return m.List[i].At > at })
	if i == 0 {
		return 0, false
	}
	return m.List[i-1].Offset, true
}
