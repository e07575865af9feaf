package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"

	"github.com/cespare/xxhash/v2"
)

// Kinds of keys, after the partition's prefix.
const (
	kindRow     = 'd' // <job ID>: the row
	kindState   = 'f' // <tenant> <type> <lane> <state> <^created> <job ID>
	kindMeta    = 'm' // the partition's counts and position, JSON
	kindCount   = 'n' // <tenant> <type> <lane> <state>: how many, 8 bytes
	kindRemoved = 'o' // <job ID>: the job was removed, and its tombstone is not in the view yet
	kindBlobs   = 'b' // <job ID> or <job ID> 0 <life>: the job was removed, and its blobs may still be there
	kindSubject = 's' // <tenant> <subject> <^created> <job ID>
	kindTenant  = 't' // <tenant> <^created> <job ID>
	kindTag     = 'g' // <tenant> <key> <value> <^created> <job ID>
	kindKeeper  = 'a' // the keeper's position in the topic streams, 8 bytes
	kindOpen    = 'k' // <job ID>: the job's streams, of which more may come
	kindClosed  = 'w' // <job ID>: the streams of a job that has ended
	kindExpiry  = 'x' // <due> <job ID>: ended jobs, by the end of their retention
	kindDue     = 'z' // <due> <job ID>: jobs that have a timer or owe a webhook
)

// appendText appends a text to a key. It ends with the bytes 0 1, and a 0 within it becomes 0 255, so that
// keys sort as their texts do and no text's encoding is a prefix of another's.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		b = append(b, s[i])
		if s[i] == 0 {
			b = append(b, 255)
		}
	}
	return append(b, 0, 1)
}

var errKey = errors.New("key is not of this format")

// cutText decodes a text that begins b and returns what follows it.
func cutText(b []byte) (s string, rest []byte, err error) {
	var text []byte
	for i := 0; i+1 < len(b); i++ {
		switch {
		case b[i] != 0:
			text = append(text, b[i])
		case b[i+1] == 255:
			text = append(text, 0)
			i++
		case b[i+1] == 1:
			return string(text), b[i+2:], nil
		default:
			return "", nil, errKey
		}
	}
	return "", nil, errKey
}

// appendNewestFirst appends a time so that keys sort the newest first, also for times before 1970.
func appendNewestFirst(b []byte, ms int64) []byte {
	return binary.BigEndian.AppendUint64(b, ^(uint64(ms) ^ 1<<63))
}

func newestFirst(b []byte) int64 { return int64(^binary.BigEndian.Uint64(b) ^ 1<<63) }

// appendTime appends a time so that keys sort the oldest first; times before 1970 become 1970.
func appendTime(b []byte, ms int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(max(ms, 0)))
}

func (p *Partition) key(kind byte, rest ...byte) []byte {
	k := make([]byte, 0, len(p.prefix)+1+len(rest))
	k = append(k, p.prefix...)
	k = append(k, kind)
	return append(k, rest...)
}

func (p *Partition) rowKey(id string) []byte { return append(p.key(kindRow), id...) }

func appendTuple(b []byte, m *Meta) []byte {
	b = appendText(b, m.Tenant)
	b = appendText(b, m.Type)
	b = appendText(b, m.Lane)
	return appendText(b, string(m.State))
}

// keySet holds the index keys of one job in a buffer that is reused: at most four, and one for each tag.
type keySet struct {
	buf  []byte
	ends []int
}

func (k *keySet) at(i int) []byte {
	from := 0
	if i > 0 {
		from = k.ends[i-1]
	}
	return k.buf[from:k.ends[i]]
}

func (k *keySet) has(key []byte) bool {
	for i := range k.ends {
		if bytes.Equal(k.at(i), key) {
			return true
		}
	}
	return false
}

// set makes the index keys of a job; none for a nil m. Those of its tags are left out unless tags is true.
func (k *keySet) set(p *Partition, id string, m *Meta, tags bool) {
	k.buf, k.ends = k.buf[:0], k.ends[:0]
	if m == nil {
		return
	}
	start := func(kind byte) []byte { return append(append(k.buf, p.prefix...), kind) }
	finish := func(b []byte) {
		k.buf = append(b, id...)
		k.ends = append(k.ends, len(k.buf))
	}
	if m.Erased() {
		finish(appendTime(start(kindExpiry), m.Due))
		return
	}
	finish(appendNewestFirst(appendText(start(kindTenant), m.Tenant), m.Created))
	if m.Subject != "" {
		finish(appendNewestFirst(appendText(appendText(start(kindSubject), m.Tenant), m.Subject), m.Created))
	}
	finish(appendNewestFirst(appendTuple(start(kindState), m), m.Created))
	switch {
	case m.State.Terminal() && m.Due != 0:
		finish(appendTime(start(kindExpiry), m.Due))
	case m.Due != never:
		finish(appendTime(start(kindDue), m.Due))
	}
	if !tags {
		return
	}
	for key, value := range m.Tags {
		b := appendText(start(kindTag), m.Tenant)
		finish(appendNewestFirst(appendText(appendText(b, key), value), m.Created))
	}
}

// sameTags reports whether two metas of one job have the same index keys of tags, so that none needs to be made.
// Nearly always they have: a job's tags do not change.
func sameTags(a, b *Meta) bool {
	return a != nil && b != nil && !a.Erased() && !b.Erased() && a.Created == b.Created && a.Tenant == b.Tenant &&
		maps.Equal(a.Tags, b.Tags)
}

// Sums of a partition do not depend on order, so a changed row's part can be subtracted and added again.

// sumFactor is 2^64 divided by the golden ratio: an odd number whose bits have no pattern.
const sumFactor = 0x9E3779B97F4A7C15

// rowSum returns a row's part of its partition's sum. It depends on both value and ID, so that two jobs
// whose values were exchanged change the sum.
func rowSum(id string, value []byte) uint64 {
	return xxhash.Sum64(value)*sumFactor ^ xxhash.Sum64String(id)
}

func keySum(key []byte) uint64 { return xxhash.Sum64(key) }
