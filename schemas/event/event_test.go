package event

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/job"
)

const (
	fence  = `"dispatch":1,"run":"r"`
	policy = `{"attempts":3,"backoff":{"initial":0.2,"factor":2,"cap":60},"lease":30,"grace":10,"retention":86400}`
	birth  = `"job":"t","tenant":"acme","payloadHash":"sha256:00","policy":` + policy +
		`,"request":{"topic":"requests.x","partition":0,"offset":0}`
)

// long is one character longer than a name may be.
var long = strings.Repeat("ä", job.MaxNameChars+1)

// good holds, for each type, an event with only the fields that it needs.
var good = map[Type]string{
	Accepted: birth, Claimed: birth + `,"worker":"w",` + fence, Beat: fence, Completed: fence, Released: fence,
	AttemptTimedOut: fence,
	Progress:        fence + `,"progress":{"percent":0}`, Failed: fence + `,"error":{"code":"x","retryable":true}`,
	LeaseExpired: fence + `,"renewal":0`, Requeued: `"dispatch":2,"request":{"topic":"t","partition":0,"offset":0}`,
	CancelForced: `"dispatch":1`, CancelRequested: `"round":0`, RetryRequested: `"round":1`, DeadlineExceeded: `"round":0`,
	Expired:        `"round":0`,
	Erased:         `"round":0`,
	CallbackQueued: `"delivery":{"jobId":"d","state":"completed","version":1}`,
	PayloadLost:    `"dispatch":1`,
	RequestLost:    `"request":{"topic":"t","partition":0,"offset":0}`,
}

func record(t Type, fields string) string {
	return `{"v":1,"type":"` + string(t) + `","jobId":"j",` + fields + `}`
}

func TestEveryTypeDecodes(t *testing.T) {
	for _, k := range Types {
		e, err := Decode([]byte(record(k, good[k])))
		if err != nil || e.Type != k {
			t.Errorf("%s: %v", k, err)
		}
		if _, err := Decode([]byte(record(k, good[k]+`,"later":{"a":[1]}`))); err != nil {
			t.Errorf("%s with a field of a later version: %v", k, err)
		}
	}
}

func TestBadEvents(t *testing.T) {
	for what, b := range map[string]string{
		"nothing": ``, "null": `null`, "an array": `[]`, "a string": `"accepted"`, "two": `{}{}`,
		"no version":            `{"type":"beat","jobId":"j",` + fence + `}`,
		"no job":                `{"v":1,"type":"beat",` + fence + `}`,
		"no type":               `{"v":1,"jobId":"j",` + fence + `}`,
		"an unknown type":       record("exploded", fence),
		"no dispatch":           record(Beat, `"run":"r"`),
		"dispatch 0":            record(Beat, `"dispatch":0,"run":"r"`),
		"dispatch too large":    record(Beat, `"dispatch":4294967296,"run":"r"`),
		"a fractional dispatch": record(Beat, `"dispatch":1.5,"run":"r"`),
		"no run":                record(Completed, `"dispatch":1`),
		"no worker in a claim":  record(Claimed, birth+","+fence),
		"no policy":             record(Accepted, strings.Replace(birth, `"policy"`, `"x"`, 1)),
		"no attempts":           record(Accepted, strings.Replace(birth, `"attempts":3`, `"attempts":0`, 1)),
		"a negative lease":      record(Accepted, strings.Replace(birth, `"lease":30`, `"lease":-1`, 1)),
		"an endless lease":      record(Accepted, strings.Replace(birth, `"lease":30`, `"lease":1e300`, 1)),
		"no request":            record(Accepted, strings.Replace(birth, `"request"`, `"x"`, 1)),
		"a negative offset":     record(Accepted, strings.Replace(birth, `"offset":0`, `"offset":-1`, 1)),
		"a lane that is none":   record(Accepted, birth+`,"lane":"../x"`),
		"percent 101":           record(Progress, fence+`,"progress":{"percent":101}`),
		"percent -1":            record(Progress, fence+`,"progress":{"percent":-1}`),
		"no progress":           record(Progress, fence),
		"no error":              record(Failed, fence),
		"an error without code": record(Failed, fence+`,"error":{"retryable":true}`),
		"a release without why": record(Released, fence+`,"error":{"retryable":true}`),
		"a negative retryAfter": record(Failed, fence+`,"error":{"code":"x","retryable":true,"retryAfter":-1}`),
		"no renewal":            record(LeaseExpired, fence),
		"a negative count":      record(Progress, fence+`,"progress":{"percent":1,"current":-1,"total":2}`),
		"a negative total":      record(Progress, fence+`,"progress":{"percent":1,"total":-2}`),
		"another job's blob":    record(Completed, fence+`,"resultBlob":{"key":"results/k/r","size":1,"contentType":"a/b"}`),
		"a blob above its job": record(Completed,
			fence+`,"resultBlob":{"key":"results/j/../k/r","size":1,"contentType":"a/b"}`),
		"a blob without type": record(Completed, fence+`,"resultBlob":{"key":"results/j/r","size":1}`),
		"a blob of no size": record(Completed,
			fence+`,"resultBlob":{"key":"results/j/r","size":-1,"contentType":"a/b"}`),
		"a negative round":       record(Expired, `"round":-1`),
		"a life with a slash":    record(Expired, `"round":0,"life":"a/b"`),
		"a life above its job":   record(Beat, fence+`,"life":".."`),
		"a long life":            record(Beat, fence+`,"life":"`+strings.Repeat("x", 65)+`"`),
		"a request that is none": record(PayloadLost, `"dispatch":1,"request":{"topic":"","partition":0,"offset":0}`),
		"a loss of no request":   record(RequestLost, `"dispatch":1`),
		"a start before 1970":    record(Accepted, birth+`,"runAt":"0000-01-01T00:00:00+23:59"`),
		"a start in 9000":        record(Accepted, birth+`,"runAt":"9000-06-01T00:00:00Z"`),
		"a beat's start":         record(Beat, fence+`,"runAt":"0000-01-01T00:00:00+23:59"`),
		"a long ID":              strings.Replace(record(Beat, fence), `"j"`, `"`+long+`"`, 1),
		"a long type":            record(Accepted, strings.Replace(birth, `"job":"t"`, `"job":"`+long+`"`, 1)),
		"a long tenant":          record(Accepted, strings.Replace(birth, `"acme"`, `"`+long+`"`, 1)),
		"a long hash":            record(Accepted, strings.Replace(birth, `"sha256:00"`, `"`+long+`"`, 1)),
		"a long topic":           record(Accepted, strings.Replace(birth, `"requests.x"`, `"`+long+`"`, 1)),
		"a long subject":         record(Accepted, birth+`,"subject":"`+long+`"`),
		"a long URL":             record(Accepted, birth+`,"callbackUrl":"`+strings.Repeat(long, 8)+`"`),
		"a long run":             record(Beat, `"dispatch":1,"run":"`+long+`"`),
		"a long worker":          record(Beat, fence+`,"worker":"`+long+`"`),
		"a long result URL":      record(Completed, fence+`,"resultUrl":"`+strings.Repeat(long, 8)+`"`),
		"a long blob key": record(Completed, fence+`,"resultBlob":{"key":"results/j/`+strings.Repeat(long, 4)+
			`","size":1,"contentType":"a/b"}`),
		"a long blob name": record(Completed,
			fence+`,"resultBlob":{"key":"results/j/r","size":1,"contentType":"a/b","name":"`+strings.Repeat(long, 4)+`"}`),
		"a long media type": record(Completed, fence+`,"resultBlob":{"key":"results/j/r","size":1,"contentType":"`+long+`"}`),
		"a long delivery":   record(CallbackQueued, `"delivery":{"jobId":"`+long+`","state":"completed","version":1}`),
	} {
		if e, err := Decode([]byte(b)); err == nil {
			t.Errorf("%s was taken: %+v", what, e)
		}
	}
	if _, err := Decode([]byte(`{"v":2,"type":"x","jobId":"j"}`)); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	if _, err := Encode(&Event{Type: Beat, JobID: "j"}); err == nil {
		t.Error("a beat without a run was encoded")
	}
}

func TestBadOrders(t *testing.T) {
	for what, b := range map[string]string{
		"nothing": ``, "no version": `{"type":"stop","jobId":"j","dispatch":1,"run":"r","worker":"w"}`,
		"an unknown type": `{"v":1,"type":"dance","jobId":"j","dispatch":1,"run":"r","worker":"w"}`,
		"no job":          `{"v":1,"type":"stop","dispatch":1,"run":"r","worker":"w"}`,
		"no dispatch":     `{"v":1,"type":"stop","jobId":"j","run":"r","worker":"w"}`,
		"no run":          `{"v":1,"type":"stop","jobId":"j","dispatch":1,"worker":"w"}`,
		"no worker":       `{"v":1,"type":"stop","jobId":"j","dispatch":1,"run":"r"}`,
	} {
		if o, err := DecodeOrder([]byte(b)); err == nil {
			t.Errorf("%s was taken: %+v", what, o)
		}
	}
	if _, err := DecodeOrder([]byte(`{"v":2,"type":"stop","jobId":"j","dispatch":1,"run":"r"}`)); !errors.Is(err,
		ErrVersion) {
		t.Errorf("another version: %v", err)
	}
}

// FuzzDecode: nothing panics, and a decoded event is encoded to bytes that decode to the same event.
func FuzzDecode(f *testing.F) {
	for _, k := range Types {
		f.Add([]byte(record(k, good[k])))
	}
	f.Add([]byte(`{"v":1,"type":"completed","jobId":"j","dispatch":1,"run":"r","result":{"a":1e400}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b)
		if err != nil {
			return
		}
		once, err := Encode(&e)
		if err != nil {
			t.Fatalf("%s was taken and cannot be encoded: %v", b, err)
		}
		again, err := Decode(once)
		if err != nil {
			t.Fatalf("%s does not decode: %v", once, err)
		}
		if twice, err := Encode(&again); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s became %s, %v", once, twice, err)
		}
	})
}

func FuzzDecodeOrder(f *testing.F) {
	f.Add([]byte(`{"v":1,"type":"stop","jobId":"j","dispatch":1,"run":"r","worker":"w","reason":"ended"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := DecodeOrder(b)
		if err != nil {
			return
		}
		once, err := EncodeOrder(o)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeOrder(once); err != nil || again != o {
			t.Fatalf("%+v became %+v, %v", o, again, err)
		}
	})
}

// TestLooseResultsAreFailures: a completed event whose result is not strict JSON is decoded as the permanent failure
// that its worker should have reported, whichever program wrote it.
func TestLooseResultsAreFailures(t *testing.T) {
	for what, result := range map[string]string{
		"not UTF-8": "\"\xff\"", "a lone surrogate": `{"a":["\udc00"]}`, "out of range": `[1e400]`,
		"duplicate keys": `{"a":{"b":1,"b":2}}`,
		"too deep":       strings.Repeat("[", 101) + strings.Repeat("]", 101),
	} {
		e, err := Decode([]byte(record(Completed, fence+`,"result":`+result+
			`,"resultBlob":{"key":"results/j/r","size":1,"contentType":"a/b"}`)))
		if err != nil || e.Type != Failed || e.Error == nil || e.Error.Code != "invalid_result" || e.Error.Retryable ||
			e.Result != nil || e.ResultBlob != nil {
			t.Errorf("%s: %v %+v", what, err, e)
		}
	}
	if e, err := Decode([]byte(
		record(Completed, fence+`,"result":{"a":"\ud83d\ude00","n":9007199254740993}`))); err != nil || e.Type != Completed {
		t.Errorf("a sound result: %v %+v", err, e)
	}
}

// TestWholeNumbersAreIntegers: events of a worker in a language that writes integers as 1.0 are accepted.
func TestWholeNumbersAreIntegers(t *testing.T) {
	e, err := Decode([]byte(`{"v":1.0,"type":"progress","jobId":"j","dispatch":2.0,"run":"r","progress":{"percent":5,"current":1e1,"total":20.0}}`))
	if err != nil || e.Dispatch != 2 || e.Progress.Current != 10 || e.Progress.Total != 20 {
		t.Errorf("%v %+v", err, e)
	}
	if o, err := DecodeOrder(
		[]byte(`{"v":1.0,"type":"stop","jobId":"j","dispatch":2.0,"run":"r","worker":"w"}`)); err != nil || o.Dispatch != 2 {
		t.Errorf("%v %+v", err, o)
	}
}
