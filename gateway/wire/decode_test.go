package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// problemOf returns an error as a frame.Problem; every error of this package must be one.
func problemOf(t *testing.T, what string, err error) frame.Problem {
	t.Helper()
	var p frame.Problem
	if err != nil && !errors.As(err, &p) {
		t.Fatalf("%s: %v is no frame.Problem", what, err)
	}
	return p
}

func nested(levels int) string {
	return strings.Repeat("[", levels) + strings.Repeat("]", levels)
}

// submitNested returns a submit whose payload has levels of nesting; the frame itself is one more level.
func submitNested(levels int) string {
	return `{"type":"submit","id":"7","job":"demo.echo","payload":` + nested(levels-1) + `}`
}

// Every bad frame has its code, and is answered with its own ID where that can be read.
func TestBadFrames(t *testing.T) {
	const invalid, failed = code.InvalidFrame, code.ValidationFailed
	for _, bad := range []struct {
		what, frame string
		code        code.Code
		id          string
	}{
		{"nothing", "", invalid, ""},
		{"white space", " \t\r\n", invalid, ""},
		{"not JSON", "hello", invalid, ""},
		{"a NUL", "\x00", invalid, ""},
		{"a byte order mark", "\ufeff" + `{"type":"ping","id":"7"}`, invalid, ""},
		{"a UTF-16 frame", "{\x00}\x00", invalid, ""},
		{"an array", `[{"type":"ping","id":"7"}]`, invalid, ""},
		{"a string", `"ping"`, invalid, ""},
		{"a number", `7`, invalid, ""},
		{"null", `null`, invalid, ""},
		{"true", `true`, invalid, ""},
		{"half an object", `{"type":"ping","id":"7"`, invalid, "7"},
		{"half a string", `{"id":"7","type":"pi`, invalid, "7"},
		{"half an escape", `{"id":"7","type":"\u00`, invalid, "7"},
		{"a comma too much", `{"id":"7","type":"ping",}`, invalid, "7"},
		{"a comment", `{"id":"7",/* */"type":"ping"}`, invalid, "7"},
		{"single quotes", `{'type':'ping'}`, invalid, ""},
		{"a name without quotes", `{type:"ping"}`, invalid, ""},
		{"garbage before", `x{"type":"ping","id":"7"}`, invalid, ""},
		{"garbage after", `{"type":"ping","id":"7"}x`, invalid, "7"},
		{"a bracket after", `{"type":"ping","id":"7"}}`, invalid, "7"},
		{"two objects", `{"type":"ping","id":"7"}{"type":"ping","id":"8"}`, invalid, "7"},
		{"two lines of JSON", "{\"type\":\"ping\",\"id\":\"7\"}\n{\"type\":\"ping\",\"id\":\"8\"}", invalid, "7"},
		{"a NUL after", "{\"type\":\"ping\",\"id\":\"7\"}\x00", invalid, "7"},
		{"a NUL in a string", "{\"id\":\"7\",\"type\":\"pi\x00ng\"}", invalid, "7"},
		{"a line end in a string", "{\"id\":\"7\",\"type\":\"pi\nng\"}", invalid, "7"},
		{"invalid UTF-8 in a value", "{\"id\":\"7\",\"type\":\"\xff\"}", invalid, "7"},
		{"invalid UTF-8 in a name", "{\"id\":\"7\",\"\xc3\":1}", invalid, "7"},
		{"invalid UTF-8 in the payload", "{\"id\":\"7\",\"type\":\"submit\",\"payload\":\"\xed\xa0\x80\"}", invalid, "7"},
		{"an overlong UTF-8 slash", "{\"id\":\"7\",\"type\":\"\xc0\xaf\"}", invalid, "7"},
		{"half a surrogate pair", `{"id":"7","type":"\ud800"}`, invalid, "7"},
		{"a pair the wrong way round", `{"id":"7","type":"\udc00\ud800"}`, invalid, "7"},
		{"half a pair in the payload", `{"id":"7","type":"submit","payload":{"a":"\udfff"}}`, invalid, "7"},

		{"no type", `{"id":"7"}`, invalid, "7"},
		{"an empty type", `{"id":"7","type":""}`, invalid, "7"},
		{"no type but null", `{"id":"7","type":null}`, invalid, "7"},
		{"a type in capitals is another field", `{"id":"7","Type":"ping"}`, invalid, "7"},
		{"a type that is a number", `{"type":7,"id":"7"}`, invalid, "7"},
		{"a type that is a list", `{"type":["ping"],"id":"7"}`, invalid, "7"},
		{"an id that is a number", `{"type":"ping","id":7}`, invalid, ""},
		{"an id that is an object", `{"type":"ping","id":{}}`, invalid, ""},
		{"an id of 65 characters", `{"type":"ping","id":"` + strings.Repeat("x", 65) + `"}`, invalid, ""},
		{"an id of 65 long characters", `{"type":"ping","id":"` + strings.Repeat("é", 65) + `"}`, invalid, ""},
		{"a token that is an object", `{"type":"auth","id":"7","token":{}}`, invalid, "7"},
		{"a job that is a list", `{"type":"submit","id":"7","job":["demo.echo"],"payload":1}`, invalid, "7"},
		{"a key that is a number", `{"type":"submit","id":"7","job":"demo.echo","payload":1,"key":1}`, invalid, "7"},
		{"a watch that is a string", `{"type":"submit","id":"7","job":"demo.echo","payload":1,"watch":"no"}`, invalid, "7"},
		{"a watch that is 0", `{"type":"submit","id":"7","job":"demo.echo","payload":1,"watch":0}`, invalid, "7"},
		{
			"a timeout that is a string", `{"type":"submit","id":"7","job":"demo.echo","payload":1,"timeout":"30s"}`,
			invalid, "7",
		},
		{
			"a timeout that no float holds",
			`{"type":"submit","id":"7","job":"demo.echo","payload":1,"timeout":1e400}`, invalid, "7",
		},
		{
			"a deadline that no float holds",
			`{"type":"submit","id":"7","job":"demo.echo","payload":1,"deadline":-1e400}`, invalid, "7",
		},
		{"a timeout that is no JSON number", `{"type":"submit","id":"7","timeout":NaN}`, invalid, "7"},
		{"a number with a leading zero", `{"type":"submit","id":"7","timeout":01}`, invalid, "7"},
		{"a number with a leading plus", `{"type":"submit","id":"7","timeout":+1}`, invalid, "7"},
		{
			"a runAt that is a number", `{"type":"submit","id":"7","job":"demo.echo","payload":1,"runAt":1767225600}`,
			invalid, "7",
		},
		{
			"a runAt without a zone",
			`{"type":"submit","id":"7","job":"demo.echo","payload":1,"runAt":"2026-01-01T00:00:00"}`, invalid, "7",
		},
		{
			"a runAt on no day",
			`{"type":"submit","id":"7","job":"demo.echo","payload":1,"runAt":"2026-02-30T00:00:00Z"}`, invalid, "7",
		},
		{"a mine that is a string", `{"type":"subscribe","id":"7","mine":"true"}`, invalid, "7"},
		{"a jobId that is a number", `{"type":"cancel","id":"7","jobId":7}`, invalid, "7"},

		{"the same key twice", `{"type":"ping","id":"7","id":"7"}`, invalid, "7"},
		{"the type twice", `{"type":"ping","id":"7","type":"submit"}`, invalid, "7"},
		{"the type twice, once escaped", `{"type":"ping","id":"7","ty\u0070e":"submit"}`, invalid, "7"},
		{"an unknown key twice", `{"type":"ping","id":"7","x":1,"x":1}`, invalid, "7"},
		{"a key twice in an unknown field", `{"type":"ping","id":"7","x":{"a":1,"\u0061":1}}`, invalid, "7"},
		{"two payloads", `{"type":"submit","id":"7","job":"demo.echo","payload":1,"payload":1}`, invalid, "7"},
		{
			"two payloads, one escaped", `{"type":"submit","id":"7","job":"demo.echo","payload":1,"p\u0061yload":1}`,
			invalid, "7",
		},
		{
			"a job named twice in a subscribe entry",
			`{"type":"subscribe","id":"7","jobs":[{"jobId":"a","jobId":"b"}]}`, invalid, "7",
		},
		{"a key twice in the payload", `{"type":"submit","id":"7","job":"demo.echo","payload":{"a":1,"a":2}}`, failed, "7"},
		{
			"an escaped key twice in the payload",
			`{"type":"submit","id":"7","job":"demo.echo","payload":{"a":1,"\u0061":2}}`, failed, "7",
		},
		{"a key twice deep in the payload", `{"payload":[{"a":{"b":1,"b":2}}],"type":"submit","id":"7"}`, failed, "7"},

		{"101 levels", submitNested(101), invalid, ""},
		{"10,000 levels", submitNested(10_000), invalid, ""},
		{"10,000 levels that do not close", `{"type":"ping","id":"7","x":` + strings.Repeat(`{"a":`, 10_000), invalid, ""},
		{"a million brackets", strings.Repeat("[", 1_000_000), invalid, ""},
	} {
		f, err := Decode([]byte(bad.frame))
		p := problemOf(t, bad.what, err)
		if p.Code != bad.code || p.Retryable || p.Title == "" || p.Detail == "" {
			t.Errorf("%s: want %s with a detail, got %+v", bad.what, bad.code, p)
		}
		if f.ID != bad.id {
			t.Errorf("%s: want id %q, got %q", bad.what, bad.id, f.ID)
		}
		if len(p.Detail) > 200 {
			t.Errorf("%s: a detail of %d bytes: %.100s…", bad.what, len(p.Detail), p.Detail)
		}
	}
}

// A broken frame is never answered with an ID that is not its own.
func TestAnIDIsTheTopLevelsOwn(t *testing.T) {
	for _, bad := range []struct{ what, frame, id string }{
		{"an id in the payload", `{"payload":{"id":"8"},"type":7}`, ""},
		{"an id in a list", `{"jobs":["id","8"],"type":7,"id":"7"}`, "7"},
		{"an id as a value", `{"key":"id","type":7,"id":"7"}`, "7"},
		{"an escaped name", `{"type":7,"i\u0064":"7"}`, "7"},
		{"an escaped value", `{"type":7,"id":"\u0037"}`, "7"},
		{"an id after the fault", `{"type":,"id":"7"}`, ""},
		{"an id too long", `{"type":7,"id":"` + strings.Repeat("x", 65) + `"}`, ""},
	} {
		f, err := Decode([]byte(bad.frame))
		if err == nil || f.ID != bad.id {
			t.Errorf("%s: want id %q, got %q, %v", bad.what, bad.id, f.ID, err)
		}
	}
}

// A duplicate key of a payload is named by an RFC 6901 pointer into the payload.
func TestDuplicateKeysOfAPayloadAreNamed(t *testing.T) {
	for _, c := range []struct{ payload, pointer string }{
		{`{"a":1,"a":2}`, "/a"},
		{`[{},{"a":{"b":1,"b":2}}]`, "/1/a/b"},
		{`{"":1,"":2}`, "/"},
		{`{"a/b":1,"a/b":2}`, "/a~1b"},
		{`{"m~n":1,"m~n":2}`, "/m~0n"},
		{`{"payload":1,"payload":2}`, "/payload"},
		{`{"é":1,"\u00e9":2}`, "/é"},
	} {
		_, asFrame := Decode([]byte(`{"type":"submit","job":"demo.echo","payload":` + c.payload + `}`))
		_, asBody := DecodeSubmit([]byte(`{"job":"demo.echo","payload":` + c.payload + `}`))
		for _, err := range []error{asFrame, asBody} {
			p := problemOf(t, c.payload, err)
			if p.Code != code.ValidationFailed || len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer ||
				p.Errors[0].Detail == "" {
				t.Errorf("%s: want validation_failed at %s, got %+v", c.payload, c.pointer, p)
			}
		}
	}
}

// Unusual but valid frames are accepted.
func TestGoodFrames(t *testing.T) {
	for _, c := range []struct {
		what, frame string
		id          string
	}{
		{"white space around", " \r\n\t{ \"type\" : \"ping\" , \"id\" : \"7\" }\n ", "7"},
		{"unknown fields", `{"type":"ping","id":"7","x":{"type":"submit","id":"8"},"Id":9}`, "7"},
		{"an unknown type, which is the session's to refuse", `{"type":"sumbit","id":"7"}`, "7"},
		{"no id", `{"type":"ping"}`, ""},
		{"null for an absent id", `{"type":"ping","id":null}`, ""},
		{"an id of 64 characters", `{"type":"ping","id":"` + strings.Repeat("x", 64) + `"}`, strings.Repeat("x", 64)},
		{"an id of 64 long characters", `{"type":"ping","id":"` + strings.Repeat("😀", 64) + `"}`, strings.Repeat("😀", 64)},
		{
			"64 escaped characters", `{"type":"ping","id":"` + strings.Repeat(`\ud83d\ude00`, 64) + `"}`,
			strings.Repeat("😀", 64),
		},
		{"an escaped NUL", `{"type":"ping","id":"\u0000"}`, "\x00"},
		{"escaped names and values", `{"ty\u0070e":"pi\u006eg","id":"7"}`, "7"},
		{"exactly 100 levels", submitNested(100), "7"},
		{
			"brackets in strings, which are no nesting",
			`{"type":"ping","id":"7","x":"` + strings.Repeat(`[{\"`, 200) + `"}`, "7",
		},
		{"200 objects beside each other", `{"type":"submit","id":"7","payload":[` + strings.Repeat(`{},`, 199) + `{}]}`, "7"},
		{
			"a payload with a number that no float holds",
			`{"type":"submit","id":"7","payload":[1e400,-1e-400,123456789012345678901234567890]}`, "7",
		},
		{"the same key in two objects", `{"type":"submit","id":"7","payload":[{"a":1},{"a":{"a":2}}]}`, "7"},
	} {
		f, err := Decode([]byte(c.frame))
		if err != nil || f.ID != c.id {
			t.Errorf("%s: got id %q, %v", c.what, f.ID, err)
		}
	}
}

// Each field of a submit arrives as it was sent, and the payload byte for byte.
func TestSubmitFieldsArrive(t *testing.T) {
	const payload = `{ "b":1.0, "a":"\u00e9" , "c":[1e400] }`
	const fields = `"job":"demo.echo","payload":` + payload + `,"key":"k","runAt":"2026-01-01T01:00:00.5+01:00",` +
		`"timeout":0.25,"deadline":1e3,"watch":false,"callbackUrl":"https://example.com/hook"`
	f, err := Decode([]byte(`{"type":"submit","id":"7",` + fields + `}`))
	if err != nil {
		t.Fatal(err)
	}
	body, err := DecodeSubmit([]byte(`{` + fields + `}`))
	if err != nil {
		t.Fatal(err)
	}
	for what, r := range map[string]frame.SubmitRequest{"frame": f.SubmitRequest, "body": body} {
		at := time.Date(2026, 1, 1, 0, 0, 0, int(500*time.Millisecond), time.UTC)
		if r.Job != "demo.echo" || string(r.Payload) != payload || r.Key != "k" || !r.RunAt.Equal(at) ||
			*r.Timeout != 0.25 || *r.Deadline != 1000 || *r.Watch || r.CallbackURL != "https://example.com/hook" {
			t.Errorf("%s: got %+v", what, r)
		}
	}
	r, err := DecodeSubmit([]byte(
		`{"job":"demo.echo","payload":null,"key":null,"timeout":null,"deadline":null,"runAt":null,"watch":null}`))
	if err != nil || string(r.Payload) != "null" || r.Key != "" || r.Timeout != nil || r.Deadline != nil ||
		r.RunAt != nil || r.Watch != nil {
		t.Errorf("null is a payload, and elsewhere what is absent: got %+v, %v", r, err)
	}
}

// The body of POST /v1/jobs is as strict as a frame.
func TestBadBodies(t *testing.T) {
	for _, bad := range []struct{ what, body string }{
		{"nothing", ""},
		{"an array", "[]"},
		{"two objects", `{"job":"a","payload":1}{"job":"a","payload":1}`},
		{"the job twice", `{"job":"a","payload":1,"j\u006fb":"b"}`},
		{"a mistyped job", `{"job":7,"payload":1}`},
		{"101 levels", `{"job":"a","payload":` + nested(100) + `}`},
		{"invalid UTF-8", "{\"job\":\"a\",\"payload\":\"\xff\"}"},
		{"a timeout that no float holds", `{"job":"a","payload":1,"timeout":1e400}`},
	} {
		if _, err := DecodeSubmit([]byte(bad.body)); problemOf(t, bad.what, err).Code != code.InvalidFrame {
			t.Errorf("%s: got %v", bad.what, err)
		}
	}
}

func TestJobsOfASubscribe(t *testing.T) {
	for _, bad := range []struct{ what, jobs string }{
		{"nothing", ``},
		{"a string", `"all"`},
		{"an object", `{"jobId":"a"}`},
		{"a list of IDs", `["a"]`},
		{"no jobId", `[{"after":1}]`},
		{"an empty jobId", `[{"jobId":""}]`},
		{"a jobId that is a number", `[{"jobId":7}]`},
		{"a null in the list", `[null]`},
		{"a negative after", `[{"jobId":"a","after":-1}]`},
		{"a fraction", `[{"jobId":"a","after":1.5}]`},
		{"an after above 63 bits", `[{"jobId":"a","after":9223372036854775808}]`},
		{"an after below 63 bits", `[{"jobId":"a","after":-9223372036854775809}]`},
		{"an after that no float holds", `[{"jobId":"a","after":1e400}]`},
		{"an after that is a string", `[{"jobId":"a","after":"1"}]`},
		{"one bad among good ones", `[{"jobId":"a"},{"jobId":"b","after":-1}]`},
	} {
		refs, err := DecodeRefs("jobs", json.RawMessage(bad.jobs))
		if problemOf(t, bad.what, err).Code != code.InvalidFrame || refs != nil {
			t.Errorf("%s: got %v, %v", bad.what, refs, err)
		}
	}
	refs, err := DecodeRefs("jobs", json.RawMessage(
		`[{"jobId":"a"},{"jobId":"b","after":0},{"jobId":"c","after":9223372036854775807,"x":1},{"jobId":"d","after":null}]`))
	if err != nil || len(refs) != 4 || refs[0].After != nil || *refs[1].After != 0 || *refs[2].After != 1<<63-1 ||
		refs[3].After != nil {
		t.Errorf("got %+v, %v", refs, err)
	}
	if refs, err := DecodeRefs("jobs", json.RawMessage(`[]`)); err != nil || len(refs) != 0 {
		t.Errorf("an empty list: got %v, %v", refs, err)
	}
}

func TestJobsOfAnUnsubscribe(t *testing.T) {
	for _, bad := range []struct{ what, jobs string }{
		{"nothing", ``}, {"a string", `"a"`}, {"objects", `[{"jobId":"a"}]`}, {"numbers", `[7]`},
	} {
		if ids, err := DecodeIDs(json.RawMessage(bad.jobs)); problemOf(t, bad.what, err).Code != code.InvalidFrame ||
			ids != nil {
			t.Errorf("%s: got %v, %v", bad.what, ids, err)
		}
	}
	ids, err := DecodeIDs(json.RawMessage(`["a","b"]`))
	if err != nil || len(ids) != 2 || ids[0] != "a" || ids[1] != "b" {
		t.Errorf("got %v, %v", ids, err)
	}
}
