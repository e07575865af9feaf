package event

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/codec/codectest"
	"github.com/ackwire/ackwire/schemas/job"
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

// hostile are fields of events that decoders have disagreed about.
var hostile = []string{
	fence + `,"result":{"a":1,"a":2}`, fence + `,"result":"\ud800"`, fence + ",\"result\":\"\xff\"", fence + `,"result":1e400`,
	fence + `,"result":` + strings.Repeat("[", 99) + strings.Repeat("]", 99),
	fence + `,"result":` + strings.Repeat("[", 100) + strings.Repeat("]", 100),
	fence + `,"result":` + strings.Repeat("[", 101) + strings.Repeat("]", 101),
	fence + `,"later":` + strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200),
	fence + `,"result":null`, fence + `,"result": [ 1 , 2 ]`, fence + `,"result":{"\u0061":1,"a":2}`,
	fence + `,"Result":1`, fence + `,"result":1,"RESULT":2`, fence + ",\"re\u017fult\":1", `"dispatch":1,"run":"r","run":"s"`,
	`"policy":{"attempts":1},"policy":{"lease":2},` + fence, fence + `,"error":{"code":"a","message":"b"},"error":{"code":"c"}`,
	fence + `,"error":null,"progress":null,"callbackEvents":null,"runAt":null,"round":null`,
	fence + `,"callbackEvents":[null,"completed"]`, fence + `,"callbackEvents":[]`, fence + `,"callbackEvents":"completed"`,
	fence + `,"runAt":"2026-01-31T12:00:00+01:00"`, fence + `,"runAt":"2026-01-31t12:00:00z"`, fence + `,"runAt":"10000-01-01T00:00:00Z"`,
	fence + `,"renewal":-9223372036854775808`, fence + `,"renewal":9223372036854775808`, fence + `,"renewal":1.0`,
	`"dispatch":2147483648,"run":"r"`, `"dispatch":1.0e0,"run":"r"`, `"dispatch":"1","run":"r"`, `"dispatch":01,"run":"r"`,
	fence + `,"error":{"code":"a","retryAfter":1e3}`, fence + `,"error":{"code":"a","retryAfter":3153600000.000000001}`,
	fence + `,"error":{"code":"a","retryAfter":"1"}`, fence + `,"error":{"code":"a","retryAfter":0.1234567890}`,
	fence + `,"request":{"topic":"t","partition":2147483648,"offset":1}`, fence + `,"request":[]`, fence + `,"request":{}`,
	fence + `,"progress":{"percent":-0}`, fence + `,"progress":{"percent":1e-7}`, fence + `,"progress":{"percent":1e308}`,
	`"policy":{"attempts":3,"backoff":null,"lease":null}`,
	fence + `,"tags":{"a":null,"b":"\ud83d\ude00"}`, fence + `,"tags":{"a":"1","a":"2"}`, fence + `,"tags":{"a":1}`,
	fence + `,"tags":{}`, fence + `,"tags":[]`, fence + `,"tags":null,"Tags":{"a":"1"}`, fence + ",\"tags\":{\"a\":\"\xff\"}",
	fence + `,"progress":{"percent":1,"stage":null,"data":null,"omitted":null}`,
	fence + `,"progress":{"stage":"A b","data": { "a" : [ 1 , "<" ] } ,"omitted":["data",null]}`,
	fence + `,"progress":{"data":{"a":1,"a":2},"Stage":"x"}`, fence + `,"progress":{"data":"\ud800","data":1}`,
	fence + ",\"progress\":{\"stage\":\"\xff\",\"data\":\"\xff\"}", fence + `,"progress":{"stage":1}`,
	fence + `,"progress":{"data":` + strings.Repeat("[", 98) + strings.Repeat("]", 98) + `}`,
	fence + `,"progress":{"data":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	fence + `,"progress":{"data":"` + strings.Repeat("x", job.MaxProgressData) + `"}`,
}

func seeds(t testing.TB) [][]byte {
	all := examples(t, "event.*.json")
	for _, k := range Types {
		all = append(all, []byte(record(k, good[k])))
	}
	for _, fields := range hostile {
		all = append(all, []byte(record(Completed, fields)))
	}
	return append(all, []byte(`{"v":2,"type":"x"}`), []byte(`null`), []byte(`[]`), []byte(`{}`), []byte("\uFEFF{}"))
}

// FuzzCodec compares the codec of events with encoding/json, in both directions.
func FuzzCodec(f *testing.F) { codectest.Fuzz(f, events, seeds(f)...) }

// FuzzOrderCodec is FuzzCodec for orders.
func FuzzOrderCodec(f *testing.F) {
	codectest.Fuzz(f, orders, append(examples(f, "order.*.json"), []byte(`{"v":1.0,"type":"stop","Run":"r","dispatch":1e0}`))...)
}

// FuzzDecodeAsJSON compares Decode and Encode with what they were when they used encoding/json.
func FuzzDecodeAsJSON(f *testing.F) {
	for _, seed := range seeds(f) {
		for _, spelling := range codectest.Spellings(seed) {
			f.Add(spelling)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Decode(b)
		want, wantErr := decodeByJSON(b)
		if (err == nil) != (wantErr == nil) || err != nil && (err.Error() != wantErr.Error() ||
			errors.Is(err, ErrVersion) != errors.Is(wantErr, ErrVersion)) {
			t.Fatalf("%q: %v, want %v", b, err, wantErr)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q is %+v, want %+v", b, got, want)
		}
		if err != nil {
			return
		}
		once, err := Encode(&got)
		twice, wantErr := plainjson.Marshal(&want)
		if !bytes.Equal(once, twice) || (err == nil) != (wantErr == nil) {
			t.Fatalf("%s, %v\n%s, %v", once, err, twice, wantErr)
		}
	})
}

// decodeByJSON is Decode without a codec.
func decodeByJSON(b []byte) (Event, error) {
	var e Event
	if err := strict.Unmarshal(b, &e); err != nil {
		return Event{}, errors.New("decode event: " + err.Error())
	}
	e.refuseResult()
	return e, e.Validate()
}

// TestExamplesAreReadFast: events as Ackwire's services write them, and as other programs may, are read without help
// from encoding/json.
func TestExamplesAreReadFast(t *testing.T) {
	for _, b := range examples(t, "event.*.json") {
		later := append([]byte(`{"later":{"a":[1,"é"]},`), b[1:]...)
		for _, b := range [][]byte{b, codectest.Reversed(b), bytes.ReplaceAll(b, []byte(`,"`), []byte(" , \n\"")), later} {
			var e Event
			if !events.Try(b, &e) {
				t.Errorf("%s is not read", b)
			}
		}
	}
	for _, b := range examples(t, "order.*.json") {
		var o Order
		if !orders.Try(b, &o) {
			t.Errorf("%s is not read", b)
		}
	}
}

// life is what is written about a job: accepted, claimed, two times progress, completed.
func life() []Event {
	p := job.Policy{
		Attempts: 3,
		Backoff:  job.Backoff{Initial: job.Seconds(200 * time.Millisecond), Factor: 2, Cap: job.Seconds(time.Minute)},
		Lease:    job.Seconds(30 * time.Second), Grace: job.Seconds(10 * time.Second), Retention: job.Seconds(24 * time.Hour),
	}
	const id = "0198c0de-0000-7000-8000-000000000042"
	born := Event{
		Type: Accepted, JobID: id, Job: "demo.echo", Tenant: "acme", Subject: "alice", Lane: "default",
		PayloadHash: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Policy: &p,
		Request: &Position{Topic: "ackwire.requests.default", Offset: 7}, Dispatch: 1,
	}
	claimed := born
	claimed.Type, claimed.Run, claimed.Worker = Claimed, "run-"+id, "worker-1"
	run := Event{JobID: id, Dispatch: 1, Run: claimed.Run, Worker: claimed.Worker}
	some, more, done := run, run, run
	some.Type, some.Progress = Progress, &job.Progress{Percent: 20, Message: "rows"}
	more.Type, more.Progress = Progress, &job.Progress{Percent: 66.7, Message: "rows", Current: 2, Total: 3, Stage: "sort"}
	done.Type, done.Result = Completed, []byte(`{"rows":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}`)
	return []Event{born, claimed, some, more, done}
}

func encoded(t testing.TB, all []Event) (messages [][]byte) {
	t.Helper()
	for i := range all {
		b, err := Encode(&all[i])
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, b)
	}
	return messages
}

// TestFewAllocations bounds what reading and writing an event allocates: its texts, and what it points to.
func TestFewAllocations(t *testing.T) {
	all := life()
	for i, b := range encoded(t, all) {
		codectest.Allocations(t, "read "+string(b), 2, func() error {
			_, err := Decode(b)
			return err
		})
		codectest.Allocations(t, "write "+string(b), 2, func() error {
			_, err := Encode(&all[i])
			return err
		})
	}
}

// BenchmarkDecode reads the events of a job's life, and compares with encoding/json.
func BenchmarkDecode(b *testing.B) {
	messages := encoded(b, life())
	for _, by := range []struct {
		name   string
		decode func([]byte) (Event, error)
	}{{"codec", Decode}, {"encoding-json", decodeByJSON}} {
		b.Run(by.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := by.decode(messages[i%len(messages)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEncode writes the events of a job's life, and compares with encoding/json.
func BenchmarkEncode(b *testing.B) {
	all := life()
	encoded(b, all) // which sets their version
	for _, by := range []struct {
		name   string
		encode func(*Event) ([]byte, error)
	}{
		{"codec", Encode},
		{"encoding-json", func(e *Event) ([]byte, error) {
			if err := e.Validate(); err != nil {
				return nil, err
			}
			return plainjson.Marshal(e)
		}},
	} {
		b.Run(by.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := by.encode(&all[i%len(all)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
