package intake

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

var alice = auth.Identity{Tenant: "alice", Subject: "s", Permissions: auth.Client}

// examined is a submit after all checks that ask nobody.
func examined(t *testing.T, r frame.SubmitRequest) (*submission, frame.Problem) {
	t.Helper()
	in := checks{&Config{Types: jobtypes.Default()}}
	s, err := in.examine(alice, r)
	var p frame.Problem
	if err != nil && (!errors.As(err, &p) || s != nil) {
		t.Fatalf("%v is no frame.Problem, or came with a submission", err)
	}
	return s, p
}

// echo1 is a submit that is taken, with one change.
func echo1(change func(*frame.SubmitRequest)) frame.SubmitRequest {
	r := frame.SubmitRequest{Job: "demo.echo", Payload: []byte(`1`)}
	change(&r)
	return r
}

func TestWhatASubmitMayCarry(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		at := func(d time.Duration) *time.Time { at := time.Now().Add(d); return &at }
		const host = "https://example.com/"
		for _, c := range []struct {
			what   string
			change func(*frame.SubmitRequest)
			code   code.Code // "": taken
		}{
			{"nothing more", func(*frame.SubmitRequest) {}, ""},
			{"no job", func(r *frame.SubmitRequest) { r.Job = "" }, code.InvalidFrame},
			{"no payload", func(r *frame.SubmitRequest) { r.Payload = nil }, code.InvalidFrame},
			{"null, which is a payload", func(r *frame.SubmitRequest) { r.Payload = []byte(`null`) }, ""},
			{"an unknown job", func(r *frame.SubmitRequest) { r.Job = "demo.ecko" }, code.UnknownJobType},
			{"a job in capitals", func(r *frame.SubmitRequest) { r.Job = "Demo.Echo" }, code.UnknownJobType},
			{"a payload against the schema", func(r *frame.SubmitRequest) { r.Job = "demo.sleep" }, code.ValidationFailed},
			{"a payload that is too large", func(r *frame.SubmitRequest) {
				r.Payload = []byte(`"` + strings.Repeat("x", frame.MaxFrameBytes) + `"`)
			}, code.PayloadTooLarge},
			{
				"a number that no float holds", func(r *frame.SubmitRequest) { r.Payload = []byte(`[1e400]`) },
				code.ValidationFailed,
			},
			{"a key of 128 characters", func(r *frame.SubmitRequest) { r.Key = strings.Repeat("k", 128) }, ""},
			{"a key of 128 long characters", func(r *frame.SubmitRequest) { r.Key = strings.Repeat("😀", 128) }, ""},
			{"a key of 129 characters", func(r *frame.SubmitRequest) { r.Key = strings.Repeat("k", 129) }, code.InvalidFrame},
			{"a start now", func(r *frame.SubmitRequest) { r.RunAt = at(0) }, ""},
			{"a start in the past", func(r *frame.SubmitRequest) { r.RunAt = at(-time.Hour) }, ""},
			{"a start in 30 days", func(r *frame.SubmitRequest) { r.RunAt = at(MaxSchedule) }, ""},
			{"a start later than that", func(r *frame.SubmitRequest) { r.RunAt = at(MaxSchedule + 1) }, code.InvalidFrame},
			{"a callback", func(r *frame.SubmitRequest) { r.CallbackURL = host }, ""},
			{
				"a callback of 2,048 bytes",
				func(r *frame.SubmitRequest) { r.CallbackURL = host + strings.Repeat("x", 2048-len(host)) }, "",
			},
			{
				"a callback of 2,049 bytes",
				func(r *frame.SubmitRequest) { r.CallbackURL = host + strings.Repeat("x", 2049-len(host)) },
				code.InvalidFrame,
			},
			{"a callback without a host", func(r *frame.SubmitRequest) { r.CallbackURL = "https:///x" }, code.InvalidFrame},
			{
				"a callback without a scheme", func(r *frame.SubmitRequest) { r.CallbackURL = "//example.com/x" },
				code.InvalidFrame,
			},
			{
				"a callback to a file", func(r *frame.SubmitRequest) { r.CallbackURL = "file://host/etc/passwd" },
				code.InvalidFrame,
			},
			{"a callback that is no URL", func(r *frame.SubmitRequest) { r.CallbackURL = "http://[" }, code.InvalidFrame},
		} {
			s, p := examined(t, echo1(c.change))
			if p.Code != c.code || (s != nil) != (c.code == "") {
				t.Errorf("%s: want %q, got %+v", c.what, c.code, p)
			}
		}
	})
}

// timeout and deadline are positive numbers of seconds, and replace the type's own.
func TestTimeoutAndDeadline(t *testing.T) {
	for _, c := range []struct {
		seconds float64
		want    time.Duration // 0: refused
	}{
		{1, time.Second}, {0.25, 250 * time.Millisecond}, {1e-9, 1}, {job.MaxSeconds, job.MaxSeconds * time.Second},
		{0, 0}, {-1, 0}, {1e-10, 0}, {job.MaxSeconds + 1, 0}, {1e300, 0},
	} {
		s, p := examined(t, echo1(func(r *frame.SubmitRequest) { r.Timeout = &c.seconds }))
		if c.want == 0 && (p.Code != code.InvalidFrame || !strings.Contains(p.Detail, "timeout")) ||
			c.want != 0 && s.request.Policy.Timeout.Duration() != c.want {
			t.Errorf("timeout %v: got %+v", c.seconds, p)
		}
		s, p = examined(t, echo1(func(r *frame.SubmitRequest) { r.Deadline = &c.seconds }))
		if c.want == 0 && (p.Code != code.InvalidFrame || !strings.Contains(p.Detail, "deadline")) ||
			c.want != 0 && s.request.Policy.Deadline.Duration() != c.want {
			t.Errorf("deadline %v: got %+v", c.seconds, p)
		}
	}
	s, _ := examined(t, frame.SubmitRequest{
		Job: "report.generate", Payload: []byte(`{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"}`),
	})
	if s == nil || s.request.Policy.Timeout.Duration() != 10*time.Minute || s.request.Lane != "reports" ||
		s.request.Tenant != "alice" {
		t.Errorf("the type's own: %+v", s)
	}
}

func hashOf(t *testing.T, payload string) string {
	t.Helper()
	before := payload
	hash, err := PayloadHash([]byte(payload))
	if err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	if payload != before || !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(hash) {
		t.Errorf("%s: hash %s", payload, hash)
	}
	return hash
}

// The same payload is the same JSON value, however it is spelled (RFC 8785).
func TestTheSamePayload(t *testing.T) {
	for _, same := range [][]string{
		{`{"a":1,"b":2}`, `{"b":2,"a":1}`, " {\t\"b\" :\r\n2 , \"a\":1 } "},
		{`{"a":{"x":[1,2],"y":{}}}`, `{"a":{"y":{},"x":[1,2]}}`},
		{`[1]`, `[1.0]`, `[1e0]`, `[10e-1]`, `[0.1E1]`, `[1.000]`},
		{`[0]`, `[-0]`, `[0.0]`, `[-0.0e5]`, `[0e400]`},
		{`[100000000000000000000]`, `[1e20]`, `[100000000000000000000.0]`},
		{`[9007199254740993]`, `[9007199254740993.0]`, `[9.007199254740993e15]`, `[90071992547409930e-1]`},
		{`[0.1]`, `[1e-1]`, `[0.10000000000000000]`},
		{`{"a":9007199254740993,"b":1}`, `{"b":1,"a":9007199254740993}`},
		{`["é"]`, `["\u00e9"]`, `["\u00E9"]`},
		{`["😀"]`, `["\ud83d\ude00"]`, `["\uD83D\uDE00"]`},
		{`["/"]`, `["\/"]`, `["\u002f"]`},
		{`["\n"]`, `["\u000a"]`, `["\u000A"]`},
		{`["\u0000"]`, "[\"\\u0000\" ]"},
		{`{"é":1,"z":2}`, `{"z":2,"\u00e9":1}`},
		{`"a"`, ` "\u0061" `},
		{`7`, `7.0`, `70e-1`},
		{`true`, ` true`},
		{`null`, "null\n"},
		{`{}`, `{ }`},
	} {
		for _, other := range same[1:] {
			if hashOf(t, same[0]) != hashOf(t, other) {
				t.Errorf("%s and %s differ", same[0], other)
			}
		}
	}
}

func TestAnotherPayload(t *testing.T) {
	seen := map[string]string{}
	for _, payload := range []string{
		`7`, `[7]`, `"a"`, `["a"]`, `null`, `true`,
		`{}`, `[]`, `[{}]`, `[[]]`, `[null]`, `[true]`, `[false]`, `[0]`, `[1]`, `[-1]`, `["1"]`, `[1,2]`, `[2,1]`, `[[1],2]`,
		`[1e-7]`,
		`[9007199254740991]`, `[9007199254740992]`, `[9007199254740993]`, `[9007199254740994]`, `[-9007199254740993]`,
		`9007199254740993`,
		`[18446744073709551615]`, `[18446744073709551614]`, `[1e20]`, `[100000000000000000001]`, `[1e-400]`, `[0.1]`,
		`[0.10000000000000000555]`,
		`{"a":9007199254740993,"b":9007199254740992}`, `{"a":9007199254740992,"b":9007199254740993}`, `["9007199254740993"]`,
		`[[9007199254740993,1]]`, `[[1,9007199254740993]]`,
		`{"a":1}`, `{"a":"1"}`, `{"a":null}`, `{"a":[]}`, `{"A":1}`, `{"a":1,"b":1}`, `{"b":{"a":1}}`,
		`["é"]`, `["e\u0301"]`, `["\u0000"]`, `[""]`, `[" "]`,
	} {
		hash := hashOf(t, payload)
		if other, ok := seen[hash]; ok {
			t.Errorf("%s and %s are one", payload, other)
		}
		seen[hash] = payload
	}
}

// Hashes of ordinary payloads are those of former versions: they are compared across an upgrade.
func TestHashesOfOrdinaryPayloadsStay(t *testing.T) {
	for payload, want := range map[string]string{
		`{"b":[1,2.5,"x"],"a":null}`:                          "sha256:cacedc786abc936ff5388c20aad7a580a43bd81efb4e8df98d138f3816b04bab",
		`[123456789012345,1e20,9007199254740992,0.1,1E-7,-0]`: "sha256:d45e16bfe4620582cac9c9ac803b052aee86cce26538a9236099bc0d4e6e0cab",
	} {
		if got := hashOf(t, payload); got != want {
			t.Errorf("%s: %s, want %s", payload, got, want)
		}
	}
}

// A payload without a canonical form is the client's fault.
func TestPayloadsWithoutACanonicalForm(t *testing.T) {
	for _, payload := range []string{`1e400`, `[-1e400]`, `{"a":{"b":1e309}}`} {
		var p frame.Problem
		if _, err := PayloadHash([]byte(payload)); !errors.As(err, &p) || p.Code != code.ValidationFailed {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

// Without a key each submit is a job of its own, in the order of submission.
func TestJobIDsWithoutAKey(t *testing.T) {
	last := ""
	for range 1000 {
		id, err := newJobID()
		if err != nil {
			t.Fatal(err)
		}
		if u, err := uuid.Parse(id); err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 || u.String() != id {
			t.Fatalf("%s: %v", id, err)
		}
		if id <= last {
			t.Fatalf("%s after %s", id, last)
		}
		last = id
	}
}

// With a key the ID is made of tenant, type, key and subject: the same ones are the same job, now, on
// another gateway and in the next release.
func TestJobIDsOfKeys(t *testing.T) {
	seen := map[string][]string{}
	for _, parts := range [][]string{
		{"alice", "demo.echo", "k", ""},
		{"bob", "demo.echo", "k", ""},
		{"alice", "demo.fail", "k", ""},
		{"alice", "demo.echo", "K", ""},
		{"alice", "demo.echo", "k ", ""},
		{"alicedemo", ".echo", "k", ""},
		{"alice", "demo.ech", "ok", ""},
		{"alice\x09demo.echo", "", "k", ""},
		{"alice", "demo.echo\x01k", "\x00", ""},
		{"demo.echo", "alice", "k", ""},
		{"k", "demo.echo", "alice", ""},
		{"alice", "demo.echo", "k", "ann"},
		{"alice", "demo.echo", "k", "bob"},
		{"alice", "demo.echo", "ann", "k"},
	} {
		id, _ := IDKeys{}.of(parts[0], parts[3], parts[1], parts[2])
		if u, err := uuid.Parse(id); err != nil || u.Version() != 8 || u.Variant() != uuid.RFC4122 || u.String() != id {
			t.Errorf("%q: %s, %v", parts, id, err)
		}
		if again, _ := (IDKeys{}).of(parts[0], parts[3], parts[1], parts[2]); again != id {
			t.Errorf("%q: %s, then %s", parts, id, again)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q are one job", parts, other)
		}
		seen[id] = parts
	}
	// The first 16 bytes of SHA-256 over keySpace, 5 "alice" 9 "demo.echo" 1 "k", with the
	// version and variant of RFC 9562 §5.8.
	const fixed = "f58fe39b-1a70-89df-9031-b46b59d6a14a"
	if id, former := (IDKeys{}).of("alice", "", "demo.echo", "k"); id != fixed || len(former) > 0 {
		t.Errorf("keys that were used before mean other jobs now: %s, %s", id, former)
	}
	id, former := IDKeys{}.of("alice", "ann", "demo.echo", "k")
	if id == fixed || !slices.Equal(former, []string{fixed}) {
		t.Errorf("keys that were used before mean other jobs now: %s, %s", id, former)
	}
}

// A job that would be due only when its deadline has passed could never run.
func TestRunAtAfterTheDeadline(t *testing.T) {
	in := checks{&Config{Types: jobtypes.Default()}}
	name := ""
	for name = range in.Types {
		if strings.HasSuffix(name, "echo") {
			break
		}
	}
	for _, c := range []struct {
		runAt    time.Duration
		deadline float64
		taken    bool
	}{
		{time.Minute, 3600, true}, {time.Hour + time.Minute, 3600, false}, {-time.Minute, 1, true}, {time.Minute, 59, false},
		{29 * 24 * time.Hour, 30 * 24 * 3600, true}, {31 * 24 * time.Hour, 40 * 24 * 3600, false},
	} {
		at := time.Now().Add(c.runAt)
		_, err := in.examine(auth.Identity{Tenant: "acme", Permissions: auth.Client}, frame.SubmitRequest{
			Job: name, Payload: []byte(`{}`), RunAt: &at, Deadline: &c.deadline,
		})
		if (err == nil) != c.taken {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
