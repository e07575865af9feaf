package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/tracker/fold"
)

// Meta is what lists, indexes and timers need of a job, without its JSON.
type Meta struct {
	Version int64
	// Created and Updated are the document's, in Unix milliseconds.
	Created, Updated int64
	// Due is when a job that has not ended owes something next, by the log's clock in Unix
	// milliseconds: 0 while a run holds it, for a lease is measured by the tracker that watches it;
	// never when nothing is owed. Of an ended job it is when its retention is over. It is
	// 0, too, for any job that owes a webhook.
	Due     int64
	State   job.State
	Type    string
	Lane    string
	Tenant  string
	Subject string
}

const never = math.MaxInt64

// MetaOf returns the job's.
func MetaOf(j *fold.Job) Meta {
	m := Meta{
		Version: j.Version,
		Created: j.Doc.CreatedAt.UnixMilli(),
		Updated: j.Doc.UpdatedAt.UnixMilli(),
		Due:     DueOf(j),
		State:   j.Doc.State,
		Type:    j.Doc.Type,
		Lane:    j.Lane,
		Tenant:  j.Tenant,
		Subject: j.Subject,
	}
	return m
}

// DueOf returns the job's Meta.Due.
func DueOf(j *fold.Job) int64 {
	if j.Doc.State == job.Processing || j.CallbackDue != 0 {
		return 0
	}
	if debt := fold.NextDebt(j, time.Time{}); debt.Kind != fold.None {
		return max(debt.At.UnixMilli(), 1) // 0 has a meaning of its own
	}
	return never
}

// Row is a job as it is stored, and as the topic view carries it.
type Row struct {
	Meta
	ID string
	// Doc is the document's bytes, made once where the job was folded.
	Doc []byte
	// Inner is what the fold keeps beside the document, JSON.
	Inner []byte
}

// NewRow returns the row of a job. Its document's bytes may have been made before, else
// doc is nil.
func NewRow(j *fold.Job, doc []byte) (Row, error) {
	if doc == nil {
		doc = j.Document()
	}
	inner, err := plainjson.Marshal(j)
	if err != nil {
		return Row{}, fmt.Errorf("encode job %s: %w", j.Doc.JobID, err)
	}
	return Row{Meta: MetaOf(j), ID: j.Doc.JobID, Doc: doc, Inner: inner}, nil
}

// Job decodes the row.
func (r Row) Job() (*fold.Job, error) {
	j := &fold.Job{}
	if err := json.Unmarshal(r.Inner, j); err != nil {
		return nil, fmt.Errorf("decode job %s: %w", r.ID, err)
	}
	if err := json.Unmarshal(r.Doc, &j.Doc); err != nil {
		return nil, fmt.Errorf("decode document of job %s: %w", r.ID, err)
	}
	return j, nil
}

// rowFormat is the first byte of every row.
const rowFormat = 2

var errRow = errors.New("row is not one of this format")

// AppendMeta appends the meta's binary form, which begins a row.
func AppendMeta(b []byte, m Meta) []byte {
	b = append(b, rowFormat)
	for _, n := range [...]int64{m.Version, m.Created, m.Updated, m.Due} {
		b = binary.AppendVarint(b, n)
	}
	for _, s := range [...]string{string(m.State), m.Type, m.Lane, m.Tenant, m.Subject} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// CutMeta decodes a meta and returns what follows it.
func CutMeta(b []byte) (m Meta, rest []byte, err error) {
	if len(b) == 0 || b[0] != rowFormat {
		return m, nil, errRow
	}
	b = b[1:]
	for _, to := range [...]*int64{&m.Version, &m.Created, &m.Updated, &m.Due} {
		n, size := binary.Varint(b)
		if size <= 0 {
			return m, nil, errRow
		}
		*to, b = n, b[size:]
	}
	var state string
	for _, to := range [...]*string{&state, &m.Type, &m.Lane, &m.Tenant, &m.Subject} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return m, nil, errRow
		}
		*to, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	if m.State = job.State(state); !m.State.Valid() {
		return m, nil, errRow
	}
	return m, b, nil
}

// appendRow appends the row's value: meta, document, inner.
func appendRow(b []byte, r Row) []byte {
	b = AppendMeta(b, r.Meta)
	b = binary.AppendUvarint(b, uint64(len(r.Doc)))
	b = append(b, r.Doc...)
	return append(b, r.Inner...)
}

// decodeRow decodes a value. Doc and Inner are parts of it.
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
