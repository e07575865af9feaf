package wire

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ackwire/ackwire/gateway/bulk"
	"github.com/ackwire/ackwire/schemas/codec/codectest"
	"github.com/ackwire/ackwire/schemas/frame"
)

// FuzzParse: a frame is refused with a problem, or is decoded to what any JSON parser reads,
// also after it was encoded again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		envelope,
		`{"type":"ping"}`,
		`{"type":"auth","id":"1","token":"a.b.c"}`,
		`{"type":"subscribe","id":"\u00e9","jobs":[{"jobId":"a","after":9007199254740993},{"jobId":"b"}]}`,
		`{"type":"subscribe","mine":true}`,
		`{"type":"unsubscribe","jobs":["a","b"]}`,
		`{"type":"submit","job":"a","payload":null,"runAt":"2026-01-01T00:00:00.123456789+01:00","timeout":1e-9,"watch":false}`,
		`{"type":"submit","job":"a","payload":{"a":1,"a":2}}`,
		`{"type":"submit","job":"a","payload":1,"":false,"x":1}`,
		`{"type":"submit","job":"a","payload":1,"tags":{}}`,
		`{"type":"submit","job":"a","payload":1,"tags":{"b":"\u00e9","a":null}}`,
		`{"ty\u0070e":"ping","TYPE":"pong","x":[1e400,"\ud83d\ude00"]}`,
		`{"type":"ping","type":"ping"}`,
		`{"type":"submitBatch","id":"1","jobs":[{"job":"a","payload":1},{"job":"a","payload":{"a":1,"a":2}},7]}`,
		`{"type":"submitBatch","type":"ping","jobs":[{"job":"a","job":"b"}]}`,
		`{"type":"submitBatch","job":[]}`,
		`{"type":"submitBatch","key":7,"jobs":[{"job":"a","payload":{"a":1,"a":2}}]}`,
		submitNested(100),
		submitNested(101),
		"{\"type\":\"\xff\"}",
		`{"type":"\ud800"}`,
		"\ufeff{}",
		`{"a":{"b":"}"}}}`,
		``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		got, err := Decode(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
		if utf8.RuneCountInString(got.ID) > frame.MaxIDChars {
			t.Fatalf("an id of %d bytes", len(got.ID))
		}
		if err != nil {
			if p := problemOf(t, "refused", err); !p.Code.Known() {
				t.Fatalf("unknown code %s", p.Code)
			}
			return
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(b, &fields); err != nil || !utf8.Valid(b) {
			t.Fatalf("taken, and encoding/json says %v", err)
		}
		for name, value := range map[string]string{"type": string(got.Type), "id": got.ID, "token": got.Token,
			"job": got.Job, "key": got.Key, "jobId": got.JobID, "callbackUrl": got.CallbackURL} {
			var want string
			if raw := fields[name]; raw != nil && json.Unmarshal(raw, &want) != nil || value != want {
				t.Fatalf("%s is %s, and was read as %q", name, fields[name], value)
			}
		}
		if !bytes.Equal(got.Payload, fields["payload"]) {
			t.Fatalf("payload %s was read as %s", fields["payload"], got.Payload)
		}
		_, _ = DecodeRefs("jobs", got.Jobs)
		_, _ = DecodeIDs(got.Jobs)
		checkBatch(t, got.Jobs, DecodeSubmits)

		anew, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(anew)
		if err != nil {
			t.Fatalf("%s was taken and, written anew as %s, refused: %v", b, anew, err)
		}
		if !same(t, got, again) {
			t.Fatalf("%s was taken and, written anew as %s, means something else", b, anew)
		}
	})
}

// FuzzBatch: a batch is refused as a whole, or each of its items is what it is as a submit of its own.
func FuzzBatch(f *testing.F) {
	for _, seed := range []string{
		`{"jobs":[{"job":"a","payload":1,"key":"k"}]}`,
		` { "x" : [ ] , "jobs" : [ {"job":"a","job":"b"} , 7 , null ] } `,
		`{"jobs":[{"job":"a","payload":1,"typo":1,"grant":{"ttl":1}}],"jobs":[]}`,
		`{"j\u006fbs":[{"job":"\u00e9","payload":[[[]]]}]}`,
		`{"jobs":[` + submitNested(101) + `]}`,
		`{"jobs":[{}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		checkBatch(t, b, func(b json.RawMessage) ([]bulk.Item, error) { return DecodeBatch(b) })
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
	})
}

// checkBatch checks the items that decode reads from b.
func checkBatch(t *testing.T, b json.RawMessage, decode func(json.RawMessage) ([]bulk.Item, error)) {
	t.Helper()
	items, err := decode(b)
	if err != nil {
		if p := problemOf(t, "a batch", err); !p.Code.Known() || items != nil {
			t.Fatalf("%s, %d items", p.Code, len(items))
		}
		return
	}
	if len(items) == 0 || len(items) > frame.MaxBatch {
		t.Fatalf("%d items", len(items))
	}
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil {
		var fields map[string]json.RawMessage
		if json.Unmarshal(b, &fields) != nil || json.Unmarshal(fields["jobs"], &list) != nil {
			t.Fatalf("%s was taken as a batch", b)
		}
	}
	if len(list) != len(items) {
		t.Fatalf("%d items were read of %d: %s", len(items), len(list), b)
	}
	for i, item := range items {
		want, wrong := DecodeSubmit(list[i])
		differs := item.Err == nil && !reflect.DeepEqual(item.Request, want)
		if differs || (item.Err == nil) != (wrong == nil) && item.Request.Grant == nil {
			t.Fatalf("item %d, %s: %+v, %v; alone %+v, %v", i, list[i], item.Request, item.Err, want, wrong)
		}
	}
}

// FuzzDecodeAsJSONv2 compares what codecs read of clients' messages with what jsonv2 reads: the same values, and the
// same errors.
func FuzzDecodeAsJSONv2(f *testing.F) {
	files, err := filepath.Glob("../../schemas/testdata/wire/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	seeds := [][]byte{
		[]byte(envelope), []byte(submitNested(99)), []byte(submitNested(100)), []byte(submitNested(101)),
		[]byte(`[{"jobId":"a","after":9007199254740993},{"jobId":"b","later":1},{"after":null}]`), []byte(`["a",null,"b"]`),
		[]byte(`{"type":"submit","job":"a","payload":null,"watch":null,"timeout":1e400,"callbackEvents":[null],"grant":null}`),
		[]byte(`{"type":"submit","job":"a","payload":{"k":[1e400,"\ud800",{"a":1,"a":2}]},"deadline":-0,"grant":{"ttl":1.5}}`),
		[]byte(`{"type":"submit","job":"a","payload":1,"tags":{"a":null,"b":"\ud83d\ude00","c":"\ud800"}}`),
		[]byte(`{"job":"a","payload":1,"tags":{"a":"1","a":"2"}}`), []byte(`{"job":"a","payload":1,"tags":{"a":1,"b":[]}}`),
		[]byte(`{"job":"a","payload":1,"tags":{}}`), []byte(`{"job":"a","payload":1,"tags":[],"Tags":{"a":"1"}}`),
	}
	for _, file := range files {
		if name := filepath.Base(file); strings.HasPrefix(name, "frame.") || strings.HasPrefix(name, "http.") {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			seeds = append(seeds, bytes.TrimSuffix(b, []byte("\n")))
		}
	}
	for _, seed := range seeds {
		for _, spelling := range codectest.Spellings(seed) {
			f.Add(spelling)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		equal := func(what string, got any, err error, want any, wantErr error) {
			t.Helper()
			if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(err, wantErr) {
				t.Fatalf("%q is read as %s\n%+v, %v\nand by jsonv2 as\n%+v, %v", b, what, got, err, want, wantErr)
			}
		}
		got, err := Decode(b)
		want, wantErr := decodeFrame(b)
		equal("a frame", got, err, want, wantErr)
		submit, err := DecodeSubmit(b)
		wantSubmit, wantErr := decodeSubmit(b)
		equal("a submit", submit, err, wantSubmit, wantErr)
		watch, err := DecodeWatch(b)
		var wantWatch frame.WatchRequest
		wantErr = decode(b, &wantWatch)
		equal("a watch", watch, err, wantWatch, wantErr)

		var list, wantList []frame.JobRef
		if refs.Try(b, &list) {
			equal("references", list, nil, wantList, jsonv2.Unmarshal(b, &wantList))
		}
		var all, wantAll []string
		if ids.Try(b, &all) {
			equal("IDs", all, nil, wantAll, jsonv2.Unmarshal(b, &wantAll))
		}
	})
}

// FuzzEncodeAsJSON compares the frames that codecs write with those of encoding/json.
func FuzzEncodeAsJSON(f *testing.F) {
	for n := range 50 {
		f.Add(bytes.Repeat([]byte{byte(n), 1, 3}, n))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ack := codectest.Make[frame.AckFrame](b)
		codectest.Encode(t, acks, &ack)
		all := codectest.Make[frame.SubscribedFrame](b)
		codectest.Encode(t, subscribed, &all)
		problem := codectest.Make[frame.ErrorFrame](b)
		codectest.Encode(t, problems, &problem)
	})
}

// TestExamplesAreReadFast: frames as clients write them are read without help from jsonv2.
func TestExamplesAreReadFast(t *testing.T) {
	files, err := filepath.Glob("../../schemas/testdata/wire/frame.*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	read := map[frame.Type]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var f frame.ClientFrame
		if frames.Try(b, &f) {
			read[f.Type] = true
		}
	}
	for _, typ := range frame.ClientTypes {
		if !read[typ] {
			t.Errorf("%s is not read", typ)
		}
	}
	var f frame.ClientFrame
	if !frames.Try([]byte(envelope), &f) || f.Job != "report.generate" {
		t.Errorf("the envelope is not read: %+v", f)
	}
}

func same(t *testing.T, a, b frame.ClientFrame) bool {
	t.Helper()
	if (a.RunAt == nil) != (b.RunAt == nil) || a.RunAt != nil && !a.RunAt.Equal(*b.RunAt) {
		return false
	}
	a.RunAt, b.RunAt = (*time.Time)(nil), nil
	if !sameJSON(t, a.Payload, b.Payload) || !sameJSON(t, a.Jobs, b.Jobs) {
		return false
	}
	for _, f := range []*frame.ClientFrame{&a, &b} {
		f.Unknown = nil // they are not written anew
		if len(f.Tags) == 0 {
			f.Tags = nil // nor is an object without members
		}
	}
	a.Payload = nil
	b.Payload = nil
	a.Jobs = nil
	b.Jobs = nil
	return reflect.DeepEqual(a, b)
}

func sameJSON(t *testing.T, a, b json.RawMessage) bool {
	t.Helper()
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	x, y := jsontext.Value(bytes.Clone(a)), jsontext.Value(bytes.Clone(b))
	for _, v := range []*jsontext.Value{&x, &y} {
		// Strings in one spelling, numbers as they are: they need not fit a float.
		if err := v.Format(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false),
			jsontext.ReorderRawObjects(true), jsontext.PreserveRawStrings(false),
			jsontext.AllowDuplicateNames(true)); err != nil {
			t.Fatal(err)
		}
	}
	return bytes.Equal(x, y)
}

// envelope is a submit of common size.
const envelope = `{"type":"submit","id":"c-000000000000000042","job":"report.generate","key":"order-2026-01-31-000000042","timeout":600,"watch":true,` +
	`"payload":{"reportType":"sales","from":"2026-01-01","to":"2026-01-31","columns":["date","region","product","units","revenue","cost","tax"],` +
	`"filter":{"regions":["north","south","east","west"],"minRevenue":1250.5,"products":[{"sku":"A-1001","max":250},{"sku":"A-1002","max":100},{"sku":"B-2001","max":75}]},` +
	`"note":"Month end figures for the board, with all corrections that came in until the third.","format":"csv","compress":false,"copies":3}}`

const envelopeBytes = 573

func TestEnvelopeHasItsSize(t *testing.T) {
	if len(envelope) != envelopeBytes {
		t.Errorf("%d bytes", len(envelope))
	}
}

// BenchmarkDecodeSubmit compares the strict decoding of a submit with encoding/json and json/v2.
func BenchmarkDecodeSubmit(b *testing.B) {
	raw := []byte(envelope)
	for _, by := range []struct {
		name   string
		decode func(*frame.ClientFrame) error
	}{
		{"wire", func(f *frame.ClientFrame) (err error) { *f, err = Decode(raw); return err }},
		{"wire-jsonv2", func(f *frame.ClientFrame) (err error) { *f, err = decodeFrame(raw); return err }},
		{"encoding-json", func(f *frame.ClientFrame) error { return json.Unmarshal(raw, f) }},
		{"json-v2", func(f *frame.ClientFrame) error { return jsonv2.Unmarshal(raw, f) }},
	} {
		b.Run(by.name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				var f frame.ClientFrame
				if err := by.decode(&f); err != nil || f.Job == "" {
					b.Fatal(err)
				}
			}
		})
	}
}
