package sse

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/ackwire/ackwire/gateway/outbox"
)

// told holds, for each job of a stream in order, what the client was sent: nothing (toldNothing), that the job cannot
// be followed (toldRefused), or the last version.
type told []int64

const (
	toldNothing = 0
	toldRefused = -1
)

// ids makes the IDs of a stream's events: the job's version in a stream of one job, else a cursor. Owned by Serve
// once it runs.
type ids struct {
	jobs  []string
	told  told
	many  bool           // the IDs are cursors
	index map[string]int // of jobs; made at the first use
	parts *parts         // streams of the jobs; nil if none is followed, or the events have no IDs
}

// status records a status that is about to be written.
func (d *ids) status(f *outbox.Frame) { d.note(f.JobID, f.Version) }

// refused records that a job cannot be followed. A retryable error is not recorded.
func (d *ids) refused(a Answer) {
	if !a.Error.Info().Retryable {
		d.note(a.JobID, toldRefused)
	}
}

func (d *ids) note(jobID string, what int64) {
	if i := d.place(jobID); i >= 0 {
		d.told[i] = what
	}
}

// place returns the place of a job in jobs; -1 if it is not there.
func (d *ids) place(jobID string) int {
	if d.index == nil {
		d.index = make(map[string]int, len(d.jobs))
		for i, id := range d.jobs {
			d.index[id] = i
		}
	}
	if i, ok := d.index[jobID]; ok {
		return i
	}
	return -1
}

// append appends the line with the ID of the event that follows. It appends nothing in a stream without jobs, or before
// the first version of a stream of one job.
func (d *ids) append(b []byte) []byte {
	switch {
	case len(d.jobs) == 0:
		return b
	case d.many:
		b = append(append(b, "id: "...), d.told.cursor(d.jobs)...)
	case d.told[0] > 0 || d.parts != nil:
		b = strconv.AppendInt(append(b, "id: "...), d.told[0], 10)
	default:
		return b
	}
	if d.parts != nil {
		b = d.parts.append(b)
	}
	return append(b, '\n')
}

// cursorFormat is the first byte of a cursor.
const cursorFormat = 1

// cursor encodes what the client was sent of each job, as the event ID of a stream of several jobs. It is valid only
// for the same jobs in the same order, and has about six characters per job, at most fourteen.
func (t told) cursor(jobs []string) string {
	b := make([]byte, 0, 5+5*len(t))
	b = append(b, cursorFormat)
	b = binary.BigEndian.AppendUint32(b, sumOf(jobs))
	for _, v := range t {
		b = binary.AppendVarint(b, v)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// readCursor decodes the cursor of a stream of these jobs. An invalid cursor counts as none and is no error, since an
// EventSource that is answered with an error does not reconnect (WHATWG HTML §9.2.2).
func readCursor(s string, jobs []string) told {
	t := make(told, len(jobs))
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < 5 || b[0] != cursorFormat || binary.BigEndian.Uint32(b[1:]) != sumOf(jobs) {
		return t
	}
	b = b[5:]
	for i := range t {
		v, n := binary.Varint(b)
		if n <= 0 || v < toldRefused {
			return make(told, len(jobs))
		}
		t[i], b = v, b[n:]
	}
	if len(b) > 0 {
		return make(told, len(jobs))
	}
	return t
}

func sumOf(jobs []string) uint32 { return crc32.ChecksumIEEE([]byte(strings.Join(jobs, "\n"))) }
