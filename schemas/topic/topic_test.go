package topic

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

func example() Request {
	at := time.Date(2026, 2, 2, 9, 30, 0, 448e6, time.UTC)
	return Request{JobID: "j", Job: "report.generate", Lane: "reports", Dispatch: 2, Attempt: 1, Tenant: "acme",
		Subject:     "alice",
		PayloadHash: "sha256:00", Policy: job.Policy{Attempts: 3, Lease: job.Seconds(time.Minute)}, Time: at, RunAt: &at,
		CallbackURL: "https://example.com/hook", Traceparent: "00-1-2-01", Tracestate: "vendor=1",
		PayloadBlob: "payloads/j/1", Tags: job.Tags{"customer": "c-17", "note": "é\" \\u003c"}}
}

func TestARequestSurvivesItsHeaders(t *testing.T) {
	r := example()
	headers, err := r.Headers()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRequest("j", append(headers, Header{"x-other", []byte{0xff}}))
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v became %+v, %v", r, got, err)
	}
	if _, err := ParseRequest("k", headers); err == nil {
		t.Error("a record whose key is another job's was taken")
	}
}

// TestEachHeader: a required header that is missing or broken is named, an optional one may be missing.
func TestEachHeader(t *testing.T) {
	optional := map[string]bool{HeaderSpecVersion: true, HeaderSource: true, HeaderTime: true, HeaderContentType: true,
		HeaderLane:    true,
		HeaderSubject: true, HeaderLife: true, HeaderCallbackURL: true, HeaderTraceparent: true, HeaderTracestate: true,
		HeaderRunAt: true, HeaderPayloadBlob: true, HeaderTags: true}
	r := example()
	headers, err := r.Headers()
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range headers {
		without := append(append([]Header(nil), headers[:i]...), headers[i+1:]...)
		_, err := ParseRequest("j", without)
		switch {
		case optional[h.Key] && err != nil:
			t.Errorf("without %s: %v", h.Key, err)
		case !optional[h.Key] && (err == nil || !strings.Contains(err.Error(), h.Key)):
			t.Errorf("without %s: %v", h.Key, err)
		}
	}
	for key, bad := range map[string][]string{
		HeaderVersion: {"2", "one"}, HeaderDispatch: {"0", "-1", "x", "99999999999"}, HeaderAttempt: {"0", "1.5"},
		HeaderPolicy: {"{", "[]", `{"attempts":0}`, `{"attempts":3,"lease":-1}`}, HeaderTime: {"yesterday"}, HeaderRunAt: {
			"1767225600", "0000-01-01T00:00:00+23:59", "1960-01-01T00:00:00Z", "9999-01-01T00:00:00Z",
		},
		HeaderTenant: {"\xff", strings.Repeat("x", 257)}, HeaderSubject: {"a\xc3", strings.Repeat("ä", 257)}, HeaderID: {
			"\xff"}, HeaderType: {strings.Repeat("x", 257)},
		HeaderPayloadHash: {strings.Repeat("x", 257)}, HeaderCallbackURL: {"https://a.example/" + strings.Repeat("x", 2048)},
		HeaderCallbackEvents: {"\xff", "dead"}, HeaderLane: {"a/b", "Ä"}, HeaderLife: {"..", "a/b", strings.Repeat("x", 65)},
		HeaderPayloadBlob: {"payloads/k/1", "payloads/j/../k/1", "/etc/passwd"},
		HeaderTags: {
			"{", "[]", "7", `"a"`, `{"a":1}`, `{"a":""}`, `{"a b":"v"}`, `{"a":"1","a":"2"}`, "{\"a\":\"\xff\"}", `{"a":"\n"}`,
		},
	} {
		for _, value := range bad {
			if _, err := ParseRequest("j", append(append([]Header(nil), headers...), Header{key, []byte(value)})); err == nil {
				t.Errorf("%s: %q was taken", key, value)
			}
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add("j", "1", "1", `{"attempts":3}`, "2026-01-01T00:00:00Z")
	f.Add("", "", "-1", "{", "x")
	f.Fuzz(func(t *testing.T, key, dispatch, attempt, policy, at string) {
		r := example()
		headers, err := r.Headers()
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, Header{HeaderPayloadBlob, nil}, Header{HeaderID, []byte(key)},
			Header{HeaderDispatch, []byte(dispatch)}, Header{HeaderAttempt, []byte(attempt)},
			Header{HeaderPolicy, []byte(policy)}, Header{HeaderTime, []byte(at)})
		got, err := ParseRequest(key, headers)
		if err != nil {
			return
		}
		if got.Dispatch < 1 || got.Attempt < 1 || got.Policy.Validate() != nil || got.JobID == "" {
			t.Fatalf("taken: %+v", got)
		}
		again, err := got.Headers()
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := ParseRequest(key, again); err != nil || !reflect.DeepEqual(twice, got) {
			t.Fatalf("%+v became %+v, %v", got, twice, err)
		}
	})
}

func TestNames(t *testing.T) {
	n := Names{Prefix: "a."}
	if lane, ok := n.Lane(n.Requests("reports")); !ok || lane != "reports" {
		t.Errorf("lane %q %v", lane, ok)
	}
	if _, ok := n.Lane("b.requests.reports"); ok {
		t.Error("a topic of another prefix is no lane's")
	}
	for lane, ok := range map[string]bool{"default": true, "a-b_c1": true, "": false, "A": false, "-a": false,
		"a.b": false, strings.Repeat("x", 64): false} {
		if ValidLane(lane) != ok {
			t.Errorf("lane %q valid: %v", lane, !ok)
		}
	}
	if addr, ok := TrackerAddress(TrackerClientID("host:8090")); !ok || addr != "host:8090" {
		t.Errorf("address %q %v", addr, ok)
	}
	if _, ok := TrackerAddress("kcat"); ok {
		t.Error("a stranger's client ID is no tracker's")
	}
	for prefix, ok := range map[string]bool{"ackwire.": true, "": false, "a b": false, "ä": false,
		strings.Repeat("x", 250): false} {
		if (Names{Prefix: prefix}.Validate() == nil) != ok {
			t.Errorf("prefix %q valid: %v", prefix, !ok)
		}
	}
}

// TestStatusIsNeverCompacted: compaction would keep the last record of a job, which may be a stale worker's.
func TestStatusIsNeverCompacted(t *testing.T) {
	n := Names{Prefix: DefaultPrefix}
	for _, s := range []Spec{n.StatusSpec(3), n.RequestsSpec("default", 3), n.DeferredSpec(3), n.ControlSpec(3),
		n.DeadSpec(), n.AuditSpec()} {
		if s.Configs["cleanup.policy"] != "delete" || s.Configs["retention.ms"] == "" {
			t.Errorf("%s: %v", s.Name, s.Configs)
		}
		if s.Configs["message.timestamp.type"] != "LogAppendTime" {
			t.Errorf("%s: its clock is not the broker's", s.Name)
		}
	}
}

// FuzzNames compares the names of lanes and lives that are valid with regular expressions.
func FuzzNames(f *testing.F) {
	lane := regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	life := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	for _, s := range []string{"", "a", "0", "default", "-a", "_a", "a-", "A", "o12", "a.b", "a\n", "é", "..", "a/b",
		"\xff", strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 65), "Z_9-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := ValidLane(s); got != lane.MatchString(s) {
			t.Fatalf("%q is a lane: %t", s, got)
		}
		if got := ValidLife(s); got != life.MatchString(s) {
			t.Fatalf("%q is a life: %t", s, got)
		}
	})
}
