package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/codec"
	"github.com/ackwire/ackwire/schemas/codec/codectest"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
)

// examples returns the golden messages whose files match the pattern.
func examples(t testing.TB, pattern string) (all [][]byte) {
	t.Helper()
	files, err := filepath.Glob("../testdata/wire/" + pattern)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bytes.TrimSuffix(b, []byte("\n")))
	}
	return all
}

// FuzzDocument compares the codec of documents with encoding/json, in both directions.
func FuzzDocument(f *testing.F) {
	codectest.Fuzz(f, documents, append(examples(f, "job.*.json"), []byte(`{"attempts":[null,{"error":null},{}],"result":null}`),
		[]byte(`{"progress":{"stage":null,"data": [ 1 , {"a":null} ],"omitted":["stage","data"]}}`),
		[]byte(`{"progress":{"data":null,"omitted":[]}}`),
		[]byte(`{"tags":{"a":null,"b":"\ud800"},"lane":null}`), []byte(`{"tags":{}}`), []byte(`{"tags":{"a":1}}`),
		[]byte(`{"tags":{"a":"1","a":"2"}}`))...)
}

// FuzzPolicy compares a codec of policies with encoding/json, in both directions.
func FuzzPolicy(f *testing.F) {
	codectest.Fuzz(f, codec.New[Policy](), append(examples(f, "job.policy.json"),
		[]byte(`{"lease":0.000000001,"grace":1e2,"retention":3153600000,"timeout":00.5,"deadline":-0}`))...)
}

// FuzzSecondsAsJSON compares the encoding of durations, and what is read as one, with simpler code.
func FuzzSecondsAsJSON(f *testing.F) {
	for _, s := range []string{"0", "1", "0.2", "-1.5", "00", "1.", ".5", "1.1234567890",
		"3153600000.000000001", "4294967296", "null", " 1"} {
		f.Add(s, int64(len(s))*123456789)
	}
	f.Fuzz(func(t *testing.T, text string, n int64) {
		want := fmt.Sprintf("%d.%09d", n/1e9, max(n%1e9, -(n%1e9)))
		if n < 0 && n > -1e9 {
			want = "-" + want
		}
		want = strings.TrimSuffix(strings.TrimRight(want, "0"), ".")
		if got := string(Seconds(n).AppendJSON(nil)); got != want {
			t.Fatalf("%d is %s, want %s", n, got, want)
		}
		var got Seconds
		err := got.UnmarshalJSON([]byte(text))
		var f float64
		if err == nil && json.Unmarshal([]byte(text), &f) != nil {
			t.Fatalf("%q was taken as %d", text, got)
		}
		if err == nil {
			if d := float64(got)/1e9 - f; d > 1e-6*f+1e-9 || d < -1e-6*f-1e-9 {
				t.Fatalf("%s was taken as %d", text, got)
			}
		}
		if json.Unmarshal([]byte(text), &f) == nil && f >= 0 && f <= MaxSeconds-1 && err != nil {
			t.Fatalf("%s was refused: %v", text, err)
		}
	})
}

// TestExamplesAreReadFast: documents as Ackwire writes them are read without help from encoding/json.
func TestExamplesAreReadFast(t *testing.T) {
	for _, b := range examples(t, "job.*.json") {
		var d Document
		if !bytes.Contains(b, []byte("jobId")) {
			continue // the policy
		}
		if !documents.Try(b, &d) {
			t.Errorf("%s is not read", b)
		}
	}
}

// done is the document of a job that has ended.
func done() *Document {
	at := time.Date(2026, 1, 31, 12, 0, 0, 123e6, time.UTC)
	end := at.Add(1500 * time.Millisecond)
	return &Document{
		JobID: "0198c0de-0000-7000-8000-000000000042", Type: "demo.echo", State: Completed, Attempt: 1, MaxAttempts: 3,
		Progress:  &Progress{Percent: 66.7, Message: "rows", Stage: "sort", Data: json.RawMessage(`{"spilled":2}`)},
		CreatedAt: at, UpdatedAt: end, StartedAt: &at, FinishedAt: &end,
		Result:   json.RawMessage(`{"rows":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}`),
		Attempts: []Attempt{{Number: 1, Worker: "worker-1", StartedAt: at, EndedAt: &end, Outcome: OutcomeCompleted}},
	}
}

// TestFewAllocations bounds what writing a document allocates: the bytes, and nothing else.
func TestFewAllocations(t *testing.T) {
	d := done()
	codectest.Allocations(t, "write", 1, func() error {
		_, err := EncodeDocument(d)
		return err
	})
}

// BenchmarkDocument writes and reads the document of a job that has ended, and compares with encoding/json.
func BenchmarkDocument(b *testing.B) {
	d := done()
	text, err := EncodeDocument(d)
	if err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"encode/codec":         func() error { _, err := EncodeDocument(d); return err },
		"encode/encoding-json": func() error { _, err := plainjson.Marshal(d); return err },
		"decode/codec":         func() error { _, err := DecodeDocument(text); return err },
		"decode/encoding-json": func() error { var d Document; return strict.Unmarshal(text, &d) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
