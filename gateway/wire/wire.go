package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/codec"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// Messages of the common form are read, and written, by codecs. All others are read by jsonv2, which decides what is an
// error.
var (
	frames  = codec.New[frame.ClientFrame]().Exact()
	submits = codec.New[frame.SubmitRequest]().Exact()
	watches = codec.New[frame.WatchRequest]().Exact()
	refs    = codec.New[[]frame.JobRef]().Exact()
	ids     = codec.New[[]string]()

	acks       = codec.New[frame.AckFrame]()
	subscribed = codec.New[frame.SubscribedFrame]()
	problems   = codec.New[frame.ErrorFrame]()
)

// Decode reads one client frame. The error is a frame.Problem. With it the returned frame has the ID, if that could be
// read, for the answer.
func Decode(b []byte) (frame.ClientFrame, error) {
	var f frame.ClientFrame
	if frames.Try(b, &f) {
		return checked(f)
	}
	return decodeFrame(b)
}

// decodeFrame is Decode for frames of any form.
func decodeFrame(b []byte) (frame.ClientFrame, error) {
	var read struct {
		frame.ClientFrame
		Others jsontext.Value `json:",embed"`
	}
	if err := decode(b, &read); err != nil {
		h := head(b)
		if h.Type != frame.SubmitBatch {
			return frame.ClientFrame{ID: h.ID}, err
		}
		// A duplicate key in one of the submits is that submit's error alone.
		jobs, wrong := batchJobs(b)
		if wrong != nil {
			return frame.ClientFrame{ID: h.ID}, err
		}
		// What is beside the submits must be as in any frame.
		if jsonv2.Unmarshal(b, &read, times, jsontext.AllowDuplicateNames(true)) != nil {
			return frame.ClientFrame{ID: h.ID}, err
		}
		return checked(frame.ClientFrame{Type: h.Type, ID: h.ID, Jobs: jobs})
	}
	if read.Type == frame.Submit {
		read.Unknown = names(read.Others)
	}
	return checked(read.ClientFrame)
}

func checked(f frame.ClientFrame) (frame.ClientFrame, error) {
	if f.Type == frame.Submit {
		f.Unknown = append(foreign(&f), f.Unknown...)
	}
	if utf8.RuneCountInString(f.ID) > frame.MaxIDChars {
		return frame.ClientFrame{}, invalid("id is longer than %d characters", frame.MaxIDChars)
	}
	if f.Type == "" {
		return f, invalid("type is missing")
	}
	return f, nil
}

// DecodeSubmit reads the body of POST /v1/jobs.
func DecodeSubmit(b []byte) (frame.SubmitRequest, error) {
	var r frame.SubmitRequest
	if submits.Try(b, &r) {
		return r, nil
	}
	return decodeSubmit(b)
}

func decodeSubmit(b []byte) (frame.SubmitRequest, error) {
	var read struct {
		frame.SubmitRequest
		Others jsontext.Value `json:",embed"`
	}
	err := decode(b, &read)
	read.Unknown = names(read.Others)
	return read.SubmitRequest, err
}

// DecodeWatch reads the body of POST /v1/events.
func DecodeWatch(b []byte) (frame.WatchRequest, error) {
	var r frame.WatchRequest
	if watches.Try(b, &r) {
		return r, nil
	}
	err := decode(b, &r)
	return r, err
}

// DecodeGrant reads the body of POST /v1/grants.
func DecodeGrant(b []byte) (frame.GrantRequest, error) {
	var r frame.GrantRequest
	err := decode(b, &r)
	return r, err
}

// DecodeBulk reads the body of POST /v1/bulk.
func DecodeBulk(b []byte) (frame.BulkRequest, error) {
	var r frame.BulkRequest
	err := decode(b, &r)
	if err == nil && !slices.Contains(frame.BulkActions, r.Action) {
		err = invalid("action must be one of %v", frame.BulkActions)
	}
	if err == nil && r.Filter == nil {
		err = invalid("filter is missing: {} selects all jobs")
	}
	return r, err
}

func invalid(format string, args ...any) error { return problem(code.InvalidFrame, format, args...) }

func problem(c code.Code, format string, args ...any) error {
	return frame.NewProblem(c, fmt.Sprintf(format, args...))
}

// decode reads exactly one JSON object in UTF-8, without duplicate keys and with bounded nesting. A duplicate key
// within the payload is the error validation_failed; everything else is invalid_frame.
func decode(b []byte, into any) error {
	if depth := nesting(b); depth > frame.MaxNesting {
		return invalid("nested deeper than %d", frame.MaxNesting)
	}
	trimmed := bytes.TrimLeft(b, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' {
		return invalid("not a JSON object")
	}
	err := jsonv2.Unmarshal(b, into, times)
	if err == nil {
		return nil
	}
	var semantic *jsonv2.SemanticError
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		var pointer string
		if errors.As(err, &syntax) {
			pointer = string(syntax.JSONPointer)
		}
		if inside, ok := strings.CutPrefix(pointer, "/payload/"); ok {
			p := frame.NewProblem(code.ValidationFailed, "the payload has a duplicate key")
			p.Errors = []frame.FieldError{{Pointer: "/" + inside, Detail: "duplicate key"}}
			return p
		}
		return invalid("duplicate key %s", pointer)
	case errors.As(err, &semantic):
		return invalid("%s has the wrong type", strings.TrimPrefix(string(semantic.JSONPointer), "/"))
	case errors.As(err, &syntax):
		return invalid("not valid JSON at byte %d", syntax.ByteOffset)
	default:
		return invalid("not valid JSON")
	}
}

// times reads all forms of RFC 3339 times; jsonv2 itself accepts T and Z only in upper case.
var times = jsonv2.WithUnmarshalers(jsonv2.UnmarshalFunc(func(b []byte, t *time.Time) error {
	var text string
	if err := jsonv2.Unmarshal(b, &text); err != nil {
		return err
	}
	read, err := job.ParseTime(text)
	*t = read
	return err
}))

// nesting returns how deeply objects and arrays are nested. It does not recurse, so deep nesting cannot exhaust the
// stack.
func nesting(b []byte) int {
	depth, deepest := 0, 0
	inString := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// DecodeRefs reads the jobs of a subscribe frame, or another field that holds such a list.
func DecodeRefs(field string, b json.RawMessage) ([]frame.JobRef, error) {
	var list []frame.JobRef
	if !refs.Try(b, &list) && (len(b) == 0 || jsonv2.Unmarshal(b, &list) != nil) {
		return nil, invalid("%s must be a list of {jobId, after?}", field)
	}
	for i, r := range list {
		if r.JobID == "" {
			return nil, invalid("%s has an entry without jobId", field)
		}
		list[i].JobID = stored(r.JobID)
		if r.After != nil && *r.After < 0 {
			return nil, invalid("after must not be negative")
		}
	}
	return list, nil
}

// DecodeIDs reads the jobs of an unsubscribe frame.
func DecodeIDs(b json.RawMessage) ([]string, error) {
	var list []string
	if !ids.Try(b, &list) && (len(b) == 0 || jsonv2.Unmarshal(b, &list) != nil) {
		return nil, invalid("jobs must be a list of job IDs")
	}
	for i, id := range list {
		list[i] = stored(id)
	}
	return list, nil
}

// stored returns a job ID in its stored form. A string that is not a job ID is returned as it is, and will not be
// found.
func stored(jobID string) string {
	if id, ok := job.ParseID(jobID); ok {
		return id
	}
	return jobID
}

// Encode encodes a server frame as a WebSocket text frame.
func Encode(v any) []byte {
	b, err := marshal(v)
	if err != nil {
		// Cannot happen: server frames contain only strings, numbers and valid JSON.
		panic(fmt.Sprintf("wire: encode %T: %v", v, err))
	}
	return append(header(opText, len(b)), b...)
}

func marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case frame.AckFrame:
		return acks.Encode(&v)
	case frame.SubscribedFrame:
		return subscribed.Encode(&v)
	case frame.ErrorFrame:
		return problems.Encode(&v)
	}
	return plainjson.Marshal(v)
}

// EncodeStatus encodes a status as a WebSocket text frame. It copies the document without reading it.
func EncodeStatus(version int64, document []byte) []byte {
	return encodeStatus(version, `,"job":`, document)
}

// EncodeMineStatus is like EncodeStatus, for sockets that watch all jobs of a subject.
func EncodeMineStatus(version int64, document []byte) []byte {
	return encodeStatus(version, `,"mine":true,"job":`, document)
}

func encodeStatus(version int64, middle string, document []byte) []byte {
	const prefix, suffix = `{"type":"status","version":`, `}`
	var digits [20]byte
	number := strconv.AppendInt(digits[:0], version, 10)
	n := len(prefix) + len(number) + len(middle) + len(document) + len(suffix)
	b := header(opText, n)
	b = append(b, prefix...)
	b = append(b, number...)
	b = append(b, middle...)
	b = append(b, document...)
	return append(b, suffix...)
}

// Document returns the document in a frame of EncodeStatus; size is the document's length in bytes.
func Document(status []byte, size int) []byte { return status[len(status)-1-size : len(status)-1] }

// Text returns the text in a frame of Encode, EncodeStatus or EncodeMineStatus.
func Text(b []byte) []byte {
	switch b[1] {
	case 126:
		return b[4:]
	case 127:
		return b[10:]
	}
	return b[2:]
}

// Close encodes a close frame.
func Close(c code.Close) []byte {
	reason := c.String()
	b := header(opClose, 2+len(reason))
	b = binary.BigEndian.AppendUint16(b, uint16(c))
	return append(b, reason...)
}

// IsClose reports whether b is a server's close frame, and returns its code; 0 if it has none.
func IsClose(b []byte) (c code.Close, ok bool) {
	if len(b) < 2 || b[0] != fin|opClose {
		return 0, false
	}
	if len(b) >= 4 {
		c = code.Close(binary.BigEndian.Uint16(b[2:]))
	}
	return c, true
}

// Ping is an empty ping frame.
var Ping = header(opPing, 0)

const (
	opText    = 0x1
	opClose   = 0x8
	opPing    = 0x9
	fin       = 0x80
	rsv1      = 0x40 // compressed (RFC 7692 §6)
	maxHeader = 10
)

func header(op byte, n int) []byte {
	b := make([]byte, 0, maxHeader+n)
	b = append(b, fin|op)
	switch {
	case n < 126:
		return append(b, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
}
