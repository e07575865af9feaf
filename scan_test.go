package ackwire

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestScanHead(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want string // the fields, or "" for what is refused
	}{
		{`{}`, "0||||"},
		{
			` { "type" : "status" , "version" : 12 , "job" : { "a" : [ "}" , "\"]" ] } } `,
			`12|status|||{ "a" : [ "}" , "\"]" ] }`,
		},
		{`{"type":"ack","id":"a\"bä","jobId":"j"}`, `0|ack|a"bä|j|`},
		{`{"x":{"type":"no"},"type":"yes","y":"type"}`, "0|yes|||"},
		{`{"type":"a","type":"b"}`, "0|b|||"},
		{`{"t\u0079pe":"a"}`, "0|a|||"},
		{`{"job":null,"x":-1.5e9,"y":true}`, "0||||null"},
		{`{"version":1.5}`, ""}, {`{"version":true}`, ""}, {`{"type":null}`, ""}, {`{"type":"a\q"}`, ""},
		{`{"a":1,}`, ""}, {`{"a" 1}`, ""}, {`{"a":1}{`, ""}, {`{"a":[}`, ""}, {`{"a":"`, ""}, {`{"a":"\`, ""}, {`{"a`,
			""}, {`{a:1}`, ""}, {`{"a":,"b":1}`, ""}, {``, ""},
	} {
		h, ok := scanHead([]byte(tc.in))
		got := ""
		if ok {
			v, _ := json.Marshal(h.version)
			got = strings.Join([]string{string(v), string(h.typ), string(h.id), string(h.jobID), string(h.job)}, "|")
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "plain", `q"b\`, "tab\t\x00", "ä 漢 \u2028", "\xff\xfe", "\x7f", "<&>"} {
		want, _ := json.Marshal(s)
		var a, b string
		if err := json.Unmarshal(appendString(nil, s), &a); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		_ = json.Unmarshal(want, &b)
		if a != b {
			t.Errorf("%q: got %q, want %q", s, a, b)
		}
	}
}

// FuzzScan holds the scanner against encoding/json: it never panics, and of every frame
// that is valid JSON it reads what encoding/json does.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"type":"status","version":3,"job":{"jobId":"a","state":"completed"}}`,
		`{"type":"ack","id":"1","jobId":"j","state":"pending","statusUrl":"/x","duplicate":true}`,
		`{"a":[1,{"b":"}\""}],"type":"x"}`, `[`, `{"\u0069d":"7"}`, `{"version":9223372036854775808}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := scanHead(b)
		scanDocument(b)
		if !json.Valid(b) {
			return
		}
		var m map[string]json.RawMessage
		if json.Unmarshal(b, &m) != nil || m == nil {
			if ok {
				t.Fatalf("%q is no object", b)
			}
			return
		}
		if !ok {
			return // a field of another type: refused
		}
		for key, got := range map[string][]byte{"type": h.typ, "id": h.id, "jobId": h.jobID, "state": h.state,
			"statusUrl": h.statusURL} {
			raw, there := m[key]
			if !there {
				continue
			}
			var want string
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatalf("%s of %q: %v", key, b, err)
			}
			if !strings.ContainsRune(want, '\ufffd') && string(got) != want {
				t.Fatalf("%s of %q: got %q, want %q", key, b, got, want)
			}
		}
		if raw, there := m["job"]; there && string(raw) != string(h.job) {
			t.Fatalf("job of %q: got %q, want %q", b, h.job, raw)
		}
	})
}

var statusFrame = []byte(`{"type":"status","version":123456,"job":` + document("0199f0c8-6a7b-7c3d-8e4f-0123456789ab",
	"processing") + `}`)

func BenchmarkScanStatus(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(statusFrame)))
	for b.Loop() {
		h, _ := scanHead(statusFrame)
		if _, _, ok := scanDocument(h.job); !ok {
			b.Fatal("not read")
		}
	}
}
