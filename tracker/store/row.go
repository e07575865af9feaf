package store

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// Meta has the fields of a job that lists, indexes and timers need, so that its JSON need not be decoded.
type Meta struct {
	Version int64
	// Created is the document's, Updated the job's UpdatedAt, in Unix milliseconds.
	Created, Updated int64
	// Due is the time of the job's next timer, by the log's clock in Unix milliseconds; for an ended
	// job it is the end of its retention, and for a job without a timer never. It is 0 while a run
	// holds the job, for a lease is measured by the tracker that watches it, and while the job owes a
	// webhook.
	Due     int64
	State   job.State
	Type    string
	Lane    string
	Tenant  string
	Subject string
	// Tags are the document's. Nobody changes the map.
	Tags job.Tags
}

// Equal reports whether two metas are the same.
func (m *Meta) Equal(o *Meta) bool {
	return m.Version == o.Version && m.Created == o.Created && m.Updated == o.Updated && m.Due == o.Due &&
		m.State == o.State && m.Type == o.Type && m.Lane == o.Lane && m.Tenant == o.Tenant && m.Subject == o.Subject &&
		maps.Equal(m.Tags, o.Tags)
}

// Erased reports whether the row is the marker of a job that was erased. Only timers find it: it is in no other index.
func (m *Meta) Erased() bool { return m.State == fold.Erased }

// Ended reports whether the job is in a terminal state, or erased.
func (m *Meta) Ended() bool { return m.State.Terminal() || m.Erased() }

// never is the Due of a job without a timer.
const never = math.MaxInt64

// MetaOf returns the job's meta.
func MetaOf(j *fold.Job) Meta {
	m := Meta{
		Version: j.Version,
		Created: j.Doc.CreatedAt.UnixMilli(),
		Updated: j.UpdatedAt().UnixMilli(),
		Due:     DueOf(j),
		State:   j.Doc.State,
		Type:    j.Doc.Type,
		Lane:    j.Doc.Lane,
		Tenant:  j.Tenant,
		Subject: j.Doc.Subject,
		Tags:    j.Doc.Tags,
	}
	return m
}

// DueOf returns the job's Meta.Due.
func DueOf(j *fold.Job) int64 {
	if j.Doc.State == job.Processing || j.CallbackDue != 0 {
		return 0
	}
	if debt := fold.NextDebt(j, time.Time{}); debt.Kind != fold.None {
		return max(debt.At.UnixMilli(), 1) // 0 would mean that a run holds the job
	}
	return never
}

// Row is a job as it is written to the store and to the topic view.
type Row struct {
	Meta
	ID string
	// Doc is the document's JSON.
	Doc []byte
	// Inner is the fold.Job without its document, as JSON.
	Inner []byte
}

// NewRow returns the row of a job. doc is the document's JSON if it was made before, else nil.
func NewRow(j *fold.Job, doc []byte) (Row, error) {
	if doc == nil {
		doc = j.Document()
	}
	inner, err := j.Inner()
	if err != nil {
		return Row{}, fmt.Errorf("encode job %s: %w", j.Doc.JobID, err)
	}
	return Row{Meta: MetaOf(j), ID: j.Doc.JobID, Doc: doc, Inner: inner}, nil
}

// Job decodes the row.
func (r Row) Job() (*fold.Job, error) {
	j, err := fold.DecodeJob(r.Doc, r.Inner)
	if err != nil {
		return nil, fmt.Errorf("%w: decode job %s: %w", ErrUnsound, r.ID, err)
	}
	return j, nil
}

// The first byte of a row. Only rows with tags have the second, so that all others are as earlier versions write and
// read them.
const (
	rowFormat   = 2
	rowWithTags = 3
)

var errRow = fmt.Errorf("%w: row is not of this format", ErrUnsound)

// AppendMeta appends the meta's binary encoding, with which a row begins.
func AppendMeta(b []byte, m Meta) []byte {
	format := byte(rowFormat)
	if len(m.Tags) > 0 {
		format = rowWithTags
	}
	b = append(b, format)
	for _, n := range [...]int64{m.Version, m.Created, m.Updated, m.Due} {
		b = binary.AppendVarint(b, n)
	}
	for _, s := range [...]string{string(m.State), m.Type, m.Lane, m.Tenant, m.Subject} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	if len(m.Tags) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(m.Tags)))
	for _, key := range slices.Sorted(maps.Keys(m.Tags)) {
		for _, s := range [...]string{key, m.Tags[key]} {
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	return b
}

// CutMeta decodes a meta and returns what follows it.
func CutMeta(b []byte) (m Meta, rest []byte, err error) {
	tagged, b, err := cutFormat(b)
	if err != nil {
		return m, nil, err
	}
	for _, to := range [...]*int64{&m.Version, &m.Created, &m.Updated, &m.Due} {
		n, size := binary.Varint(b)
		if size <= 0 {
			return m, nil, errRow
		}
		*to, b = n, b[size:]
	}
	var state string
	for _, to := range [...]*string{&state, &m.Type, &m.Lane, &m.Tenant, &m.Subject} {
		var s []byte
		if s, b, err = cutBytes(b); err != nil {
			return m, nil, err
		}
		*to = string(s)
	}
	if m.State = job.State(state); !m.State.Valid() && !m.Erased() {
		return m, nil, errRow
	}
	if tagged {
		m.Tags, b, err = cutTags(b)
	}
	return m, b, err
}

// cutFormat reads the first byte of a row, which says whether the meta ends with tags.
func cutFormat(b []byte) (tagged bool, rest []byte, err error) {
	if len(b) == 0 || b[0] != rowFormat && b[0] != rowWithTags {
		return false, nil, errRow
	}
	return b[0] == rowWithTags, b[1:], nil
}

// cutBytes reads a text and its length before it. It does not copy the text.
func cutBytes(b []byte) (text, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, errRow
	}
	b = b[size:]
	return b[:n], b[n:], nil
}

func cutTags(b []byte) (tags job.Tags, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n == 0 || n > job.MaxTags {
		return nil, nil, errRow
	}
	b = b[size:]
	tags = make(job.Tags, n)
	last := ""
	for range n {
		var key, value []byte
		if key, b, err = cutBytes(b); err != nil {
			return nil, nil, err
		}
		if value, b, err = cutBytes(b); err != nil {
			return nil, nil, err
		}
		if string(key) <= last { // they are sorted, each is there once, and none is empty
			return nil, nil, errRow
		}
		last = string(key)
		tags[last] = string(value)
	}
	return tags, b, nil
}

// cutOwner decodes only the tenant and the subject of a meta, without copying them.
func cutOwner(b []byte) (tenant, subject []byte, err error) {
	_, b, err = cutFormat(b)
	if err != nil {
		return nil, nil, err
	}
	for range 4 { // the numbers
		_, size := binary.Varint(b)
		if size <= 0 {
			return nil, nil, errRow
		}
		b = b[size:]
	}
	for range 5 { // the texts: tenant and subject are the last
		tenant = subject
		if subject, b, err = cutBytes(b); err != nil {
			return nil, nil, err
		}
	}
	return tenant, subject, nil
}

// appendRow appends the row's value: meta, document, inner.
func appendRow(b []byte, r Row) []byte {
	b = AppendMeta(b, r.Meta)
	b = binary.AppendUvarint(b, uint64(len(r.Doc)))
	b = append(b, r.Doc...)
	return append(b, r.Inner...)
}

// decodeRow decodes a row's value. Doc and Inner share its memory.
func decodeRow(id string, value []byte) (Row, error) {
	m, rest, err := CutMeta(value)
	if err != nil {
		return Row{}, fmt.Errorf("job %s: %w", id, err)
	}
	n, size := binary.Uvarint(rest)
	if size <= 0 || n > uint64(len(rest)-size) {
		return Row{}, fmt.Errorf("job %s: %w", id, errRow)
	}
	rest = rest[size:]
	return Row{Meta: m, ID: id, Doc: rest[:n:n], Inner: rest[n:]}, nil
}
