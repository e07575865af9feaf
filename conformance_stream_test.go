package ackwire

import (
	"context"
	"encoding/json"
	"iter"
	"reflect"
	"strings"

	"github.com/ackwire/ackwire/schemas/stream"
)

// The steps of TestConformance about streams, and about what acks and documents say besides.

// confPlace is a position in a stream.
type confPlace struct {
	Run int   `json:"run"`
	At  int64 `json:"at"`
}

// confChunk is what a reader of a stream gets.
type confChunk struct {
	Run   int               `json:"run"`
	From  int64             `json:"from"`
	Text  string            `json:"text"`
	Items []json.RawMessage `json:"items"`
	Reset bool              `json:"reset"`
}

// confStream reads one chunk ahead.
type confStream struct {
	next func() (Chunk, error, bool)
	stop func()
	head *pending[confPiece]
	end  context.CancelFunc
}

type confPiece struct {
	chunk Chunk
	err   error
	more  bool
}

func (s *confStream) ahead(r *confRun) {
	s.head = begin(r.t, func() (confPiece, error) {
		chunk, err, more := s.next()
		return confPiece{chunk, err, more}, nil
	})
}

// onStream does the steps of streams.
func (r *confRun) onStream(s confStep) {
	switch {
	case s.Stream != nil:
		r.whenThere(func() {
			var j *Job
			switch of := s.Stream.(type) {
			case string:
				j = r.client.Job(of)
			case map[string]any:
				j = r.calls[of["of"].(string)].val.job
			}
			ctx, cancel := context.WithCancel(context.Background())
			of := &confStream{end: cancel}
			of.next, of.stop = iter.Pull2(j.Stream(ctx, s.Name, FromCursor(stream.Cursor{Dispatch: s.From.Run, At: s.From.At})))
			r.streams[s.As] = of
			of.ahead(r)
		})
	case s.Read != nil:
		of := r.streams[*s.Read]
		got, _ := of.head.end()
		c := confChunk{got.chunk.Run, got.chunk.From, got.chunk.Text, got.chunk.Items, got.chunk.Reset}
		if got.err != nil || !got.more || !reflect.DeepEqual(c, s.Chunk) {
			r.fatalf("%s yields %+v, %v (more: %v), want %+v", *s.Read, c, got.err, got.more, s.Chunk)
		}
		of.ahead(r)
	default:
		got, _ := r.streams[*s.Over].head.end()
		switch {
		case s.Fails == nil && (got.more || got.err != nil):
			r.fatalf("%s goes on with %+v, %v", *s.Over, got.chunk, got.err)
		case s.Fails != nil:
			r.wantError(got.err, s.Fails)
		}
	}
}

// withProgress returns a document with this progress, unless it is nil.
func withProgress(document string, progress json.RawMessage) string {
	if progress == nil {
		return document
	}
	return strings.TrimSuffix(document, "}") + `,"progress":` + string(progress) + "}"
}

// wantProgress compares a document's progress, unless want is nil.
func (r *confRun) wantProgress(s Status, want json.RawMessage) {
	if want == nil {
		return
	}
	b, err := json.Marshal(s.Progress)
	if err != nil {
		r.fatalf("%v", err)
	}
	var got, expected any
	if json.Unmarshal(b, &got) != nil || json.Unmarshal(want, &expected) != nil || !reflect.DeepEqual(got, expected) {
		r.fatalf("the progress is %s, want %s", b, want)
	}
}

// wantQueue compares what an ack says of the jobs before its own.
func (r *confRun) wantQueue(a Ack, s confStep) {
	var estimate *float64
	if a.Estimate != nil {
		estimate = new(a.Estimate.Seconds())
	}
	if !reflect.DeepEqual(a.Ahead, s.Ahead) || !reflect.DeepEqual(estimate, s.Estimate) {
		r.fatalf("%s returned ahead %v and estimate %v", *s.Done, a.Ahead, a.Estimate)
	}
}

// named writes streams that a frame asks for in the longer of their two forms.
func named(frame any) any {
	switch v := frame.(type) {
	case map[string]any:
		for name, value := range v {
			v[name] = named(value)
		}
		if refs, ok := v["streams"].([]any); ok {
			for i, ref := range refs {
				if name, ok := ref.(string); ok {
					refs[i] = map[string]any{"stream": name}
				}
			}
		}
	case []any:
		for i := range v {
			v[i] = named(v[i])
		}
	}
	return frame
}
