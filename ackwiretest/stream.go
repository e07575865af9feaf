package ackwiretest

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/stream"
)

// Stream is a stream of a job, as the worker writes it: a text, by Write, or a list of values, by Send. The first use
// decides which. What is written reaches the clients at once.
type Stream struct {
	j    *Job
	name string
}

// written is what a run has written to one stream. Guarded by Server.mu.
type written struct {
	kind  job.StreamKind
	text  string
	items []json.RawMessage
}

// Errors of writes to a stream.
var (
	errOtherKind = errors.New("ackwiretest: the stream is of the other kind")
	errNoStream  = errors.New("ackwiretest: no such name, or more than 8 streams")
)

// Stream returns the attempt's stream of that name: 1 to 32 of the characters a-z 0-9 _ -. Each attempt begins its
// streams anew: clients that follow them are told, and drop what they have.
func (j *Job) Stream(name string) *Stream { return &Stream{j: j, name: name} }

// Write appends to a text. Bytes that belong to no character are replaced with U+FFFD. It fails, and
// writes nothing, once the attempt has ended.
func (s *Stream) Write(p []byte) (int, error) {
	err := s.append(job.StreamText, strings.ToValidUTF8(string(p), "\uFFFD"), nil)
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString appends to a text, as Write does.
func (s *Stream) WriteString(text string) (int, error) { return s.Write([]byte(text)) }

// Send appends the JSON of v to a list.
func (s *Stream) Send(v any) error {
	item, err := plainjson.Marshal(v)
	if err != nil {
		return err
	}
	return s.append(job.StreamJSON, "", item)
}

// Log appends a line to the job's log, which is its stream "log". attrs are keys and values, as in slog.
func (j *Job) Log(level slog.Level, message string, attrs ...any) error {
	r := slog.Record{}
	r.Add(attrs...)
	line := map[string]any{}
	r.Attrs(func(a slog.Attr) bool {
		line[a.Key] = a.Value.Resolve().Any()
		return true
	})
	line["time"], line["level"], line["message"] = stamp(time.Now()), strings.ToLower(level.String()), message
	return j.Stream(job.StreamLog).Send(line)
}

func (s *Stream) append(kind job.StreamKind, text string, item json.RawMessage) error {
	server, r := s.j.s, s.j.r
	server.mu.Lock()
	defer server.mu.Unlock()
	w := r.streams[s.name]
	switch {
	case r.run != s.j || r.doc.State != job.Processing:
		return errOver
	case !job.ValidStream(s.name), w == nil && len(r.streams) >= job.MaxStreams:
		return errNoStream
	case w == nil && s.name == job.StreamLog && kind != job.StreamJSON, w != nil && w.kind != kind:
		return errOtherKind
	case w == nil:
		w = &written{kind: kind}
		r.streams[s.name] = w
	}
	w.text += text
	if item != nil {
		w.items = append(w.items, item)
	}
	server.feedLocked(r)
	return nil
}

// total returns how much was written: bytes of text, or values.
func (w *written) total() int64 {
	if w == nil {
		return 0
	}
	return int64(len(w.text) + len(w.items))
}

// totals returns what the run has written to its streams.
func (r *record) totals() job.Streams {
	if len(r.streams) == 0 {
		return nil
	}
	all := job.Streams{}
	for name, w := range r.streams {
		all[name] = job.StreamTotal{Kind: w.kind, Total: w.total()}
	}
	return all
}

// after returns what the run that counts has written behind a cursor: reset if the cursor belongs to another run, end
// if nothing follows, and an error if it lies within a character, or behind the end of a stream that has ended.
func (r *record) after(name string, at stream.Cursor) frame.ChunkFrame {
	f := frame.ChunkFrame{Type: frame.Chunk, JobID: r.doc.JobID, Stream: name, Run: r.dispatch, From: at.At}
	w, over := r.streams[name], r.doc.State.Terminal()
	if w != nil {
		f.Kind = w.kind
	}
	switch {
	case at.At > 0 && at.Dispatch > r.dispatch: // of a run that has not begun
		f.Run = at.Dispatch
		return f
	case at.Dispatch != r.dispatch:
		f.From, f.Reset = 0, at.Dispatch != 0
	case over && at.At > w.total(),
		w != nil && at.At < int64(len(w.text)) && !utf8.RuneStart(w.text[at.At]):
		f.Error = code.InvalidOffset
		return f
	}
	if w != nil {
		f.Text = w.text[min(f.From, int64(len(w.text))):]
		f.Items = w.items[min(f.From, int64(len(w.items))):]
		if len(f.Items) == 0 {
			f.Items = nil
		}
	}
	if over {
		f.EndAt(w.total())
	}
	return f
}

// news reports whether a chunk says anything.
func news(f frame.ChunkFrame) bool {
	return f.Text != "" || len(f.Items) > 0 || f.Reset || f.End || f.Error != ""
}

// behindOf returns the cursor behind a chunk.
func behindOf(f frame.ChunkFrame) stream.Cursor {
	return stream.Cursor{Dispatch: f.Run, At: f.From + int64(len(f.Text)+len(f.Items))}
}

// list returns what GET /v1/jobs/{id}/streams answers.
func (r *record) list() frame.StreamList {
	l := frame.StreamList{Run: r.dispatch, Streams: []frame.StreamInfo{}}
	for _, name := range slices.Sorted(maps.Keys(r.streams)) {
		w := r.streams[name]
		l.Streams = append(l.Streams, frame.StreamInfo{
			Name: name, Kind: w.kind, Total: w.total(), Ended: r.doc.State.Terminal(),
		})
	}
	return l
}

// feedLocked sends what is new in a job's streams to all who follow them.
func (s *Server) feedLocked(r *record) {
	close(s.changed)
	s.changed = make(chan struct{})
	for k := range s.sockets {
		k.feedLocked(r)
	}
}

// followLocked makes a socket follow streams of a job, in place of those that it follows.
func (k *socket) followLocked(r *record, refs []frame.StreamRef) {
	delete(k.follows, r.doc.JobID)
	room := frame.MaxFollowedStreams
	for _, of := range k.follows {
		room -= len(of)
	}
	places := map[string]stream.Cursor{}
	for _, ref := range refs {
		if len(places) >= room {
			k.send(frame.ChunkFrame{Type: frame.Chunk, JobID: r.doc.JobID, Stream: ref.Stream, Error: code.LimitExceeded})
			continue
		}
		places[ref.Stream] = stream.Cursor{Dispatch: ref.Run, At: ref.At}
	}
	k.follows[r.doc.JobID] = places
	k.feedLocked(r)
}

// maxChunk is about the largest piece of a stream in one frame, in bytes of text or values.
const maxChunk = 32 << 10

// feedLocked sends what is new in the streams of a job that the socket follows.
func (k *socket) feedLocked(r *record) {
	places := k.follows[r.doc.JobID]
	for _, name := range slices.Sorted(maps.Keys(places)) {
		for {
			f := r.after(name, places[name])
			if !news(f) {
				places[name] = behindOf(f) // if another run begins, that is a reset
				break
			}
			if n := stream.WholeText([]byte(f.Text[:min(maxChunk, len(f.Text))])); n < len(f.Text) {
				f.Text, f.End, f.Total = f.Text[:n], false, nil
			}
			k.send(f)
			if f.End || f.Error != "" {
				delete(places, name)
				break
			}
			places[name] = behindOf(f)
		}
	}
	if len(places) == 0 {
		delete(k.follows, r.doc.JobID)
	}
}

// readStreams reads the streams of a submit or subscribe; without any it returns nil.
func readStreams(raw json.RawMessage) ([]frame.StreamRef, error) {
	if raw == nil {
		return nil, nil
	}
	refs, err := frame.ParseStreams(raw)
	if err != nil {
		return nil, frame.NewProblem(code.InvalidFrame, err.Error())
	}
	return refs, nil
}
