// Package latest is a bounded log of changes that keeps only the newest value of each key. Several readers follow it,
// each at its own pace; the state of a reader is one number, its position.
package latest

// Log holds the newest value of each key that was put, the one that was put last at the end. A value takes the place of
// the former one of its key. When there are too many, the oldest are dropped: a reader that has not read them is told.
// The owner of a Log guards it. The zero Log with its bounds set is empty.
type Log[V any] struct {
	// MaxKeys and MaxBytes bound the values that are held. The newest one is always held. Set before the first use.
	MaxKeys, MaxBytes int

	rows       map[string]*row[V]
	head, tail *row[V]
	bytes      int
	end        uint64
	lost       uint64
}

// row is the newest value of one key.
type row[V any] struct {
	key          string
	version      int64
	value        V
	size         int
	at           uint64
	older, newer *row[V]
}

// Put puts the value of a key, whose size in bytes is given. It changes nothing if the value that is held has this
// version or a higher one. replaced reports that the value of the key that was held was not read by all, as far as the
// log knows, and is held no longer.
func (l *Log[V]) Put(key string, version int64, value V, size int) (taken, replaced bool) {
	r := l.rows[key]
	switch {
	case r != nil && r.version >= version:
		return false, false
	case r != nil:
		l.unlink(r)
		replaced = true
	default:
		r = &row[V]{key: key}
		if l.rows == nil {
			l.rows = map[string]*row[V]{}
		}
		l.rows[key] = r
	}
	l.end++
	r.version, r.value = version, value
	r.size, r.at = size, l.end
	r.older, r.newer = l.tail, nil
	if l.tail == nil {
		l.head = r
	} else {
		l.tail.newer = r
	}
	l.tail = r
	l.bytes += size
	for l.head != r && (len(l.rows) > l.MaxKeys || l.bytes > l.MaxBytes) {
		l.lost = l.head.at
		l.drop(l.head)
	}
	return true, replaced
}

// unlink takes a row out of the order.
func (l *Log[V]) unlink(r *row[V]) {
	if r.older == nil {
		l.head = r.newer
	} else {
		r.older.newer = r.newer
	}
	if r.newer == nil {
		l.tail = r.older
	} else {
		r.newer.older = r.older
	}
	l.bytes -= r.size
}

func (l *Log[V]) drop(r *row[V]) {
	l.unlink(r)
	delete(l.rows, r.key)
}

// End is the position behind the last value: how many were put so far.
func (l *Log[V]) End() uint64 { return l.end }

// Lost is the position behind the last value that was dropped because there were too many. A reader that has read less
// far has missed changes.
func (l *Log[V]) Lost() uint64 { return l.lost }

// Len is the number of values that are held.
func (l *Log[V]) Len() int { return len(l.rows) }

// Bytes is the size of the values that are held.
func (l *Log[V]) Bytes() int { return l.bytes }

// Read calls take with the values behind a position, the oldest first, until it returns false. It returns the position
// up to which they were taken. The value for which take returned false was not.
func (l *Log[V]) Read(from uint64, take func(key string, version int64, value V, size int) bool) (to uint64) {
	first := l.tail
	if first == nil || first.at <= from {
		return from
	}
	for first.older != nil && first.older.at > from {
		first = first.older
	}
	for r := first; r != nil; r = r.newer {
		if !take(r.key, r.version, r.value, r.size) {
			return from
		}
		from = r.at
	}
	return from
}

// Trim drops the values up to a position, which all readers have read.
func (l *Log[V]) Trim(to uint64) {
	for l.head != nil && l.head.at <= to {
		l.drop(l.head)
	}
}

// Clear drops all values, and has every reader told that it has missed changes.
func (l *Log[V]) Clear() {
	l.end++
	l.lost = l.end
	clear(l.rows)
	l.head, l.tail, l.bytes = nil, nil, 0
}
