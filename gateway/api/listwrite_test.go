package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// sink is a client that takes all, and keeps it where it is to be looked at.
type sink struct {
	header http.Header
	kept   *bytes.Buffer
}

func (s *sink) Header() http.Header { return s.header }
func (s *sink) WriteHeader(int)     {}
func (s *sink) Write(b []byte) (int, error) {
	if s.kept != nil {
		s.kept.Write(b)
	}
	return len(b), nil
}

// TestAListIsWrittenWithoutACopy: the same bytes as a list that is encoded, and nearly none allocated for them.
func TestAListIsWrittenWithoutACopy(t *testing.T) {
	ls := &lists{door: quietDoor()}
	page := func(jobs, size int, cursor string) *frame.JobList {
		l := &frame.JobList{Jobs: []json.RawMessage{}, NextCursor: cursor, AsOf: time.UnixMilli(1).UTC()}
		for range jobs {
			l.Jobs = append(l.Jobs, json.RawMessage(`{"result":"`+strings.Repeat("<", size)+`"}`))
		}
		return l
	}
	for _, c := range []struct {
		jobs   int
		cursor string
	}{{0, ""}, {1, ""}, {1, "x"}, {3, "x"}} {
		want, err := plainjson.Marshal(page(c.jobs, 10, c.cursor))
		if err != nil {
			t.Fatal(err)
		}
		s := &sink{header: http.Header{}, kept: &bytes.Buffer{}}
		ls.answerList(s, page(c.jobs, 10, c.cursor))
		if s.kept.String() != string(want) || s.header.Get("Content-Length") != strconv.Itoa(len(want)) {
			t.Errorf("%d jobs: %s, length %s, want %s", c.jobs, s.kept, s.header.Get("Content-Length"), want)
		}
	}
	large := page(64, 64<<10, "x")
	wrote := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ls.answerList(&sink{header: http.Header{}}, &frame.JobList{
				Jobs: append([]json.RawMessage(nil), large.Jobs...), NextCursor: "x",
			})
		}
	})
	if n := wrote.AllocedBytesPerOp(); n == 0 || n > 64<<10 {
		t.Errorf("%d bytes were allocated to write a list of 4 MiB", n)
	}
}
