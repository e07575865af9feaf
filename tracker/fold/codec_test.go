package fold

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/codec/codectest"
	"github.com/ackwire/ackwire/schemas/job"
)

// sampleJob returns a job of which each field is set.
func sampleJob() *Job {
	j := codectest.Make[Job](nil)
	at := time.Date(2026, 1, 31, 12, 0, 0, 5e8, time.UTC)
	position := `{"topic":"requests.default","partition":3,"offset":77}`
	err := json.Unmarshal([]byte(`{"version":7,"life":"o1","tenant":"acme","payloadHash":"sha256:1",`+
		`"policy":{"attempts":3,"backoff":{"initial":0.2,"factor":2,"cap":60},"lease":30,"timeout":5,"grace":10,"retention":86400},`+
		`"callbackUrl":"https://example.com","callbackEvents":["completed"],"callbackState":"completed","callbackDue":6,`+
		`"deliveries":[{"jobId":"d","state":"failed","version":5}],"source":`+position+`,"accepted":true,"dispatch":2,"round":1,`+
		`"roundAt":"2026-01-31T12:00:00Z","request":`+position+`,"run":"r","worker":"w","renewal":9,"renewedAt":"2026-01-31T12:00:01Z",`+
		`"skew":-5,"ahead":6,"byWriter":true,"cancelAt":"2026-01-31T12:00:02Z"}`), &j)
	if err != nil {
		panic(err)
	}
	j.Doc = job.Document{JobID: "j", Type: "t", State: job.Completed, Attempt: 1, MaxAttempts: 3, CreatedAt: at,
		UpdatedAt: at, Result: []byte(`{"a":[1]}`), Lane: "default", Subject: "alice", Tags: job.Tags{"customer": "c-17"}}
	return &j
}

// TestDecodeJob: a job is the same after it was encoded and decoded.
func TestDecodeJob(t *testing.T) {
	j := sampleJob()
	rest, err := j.Inner()
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeJob(j.Document(), rest)
	if err != nil || !reflect.DeepEqual(again, j) {
		t.Errorf("%v\n%+v\n%+v", err, again, j)
	}
	var fast inner
	if !inners.Try(rest, &fast) {
		t.Errorf("%s is not read without help from encoding/json", rest)
	}
}

// TestDecodeJobOfEarlierVersion: the lane and the subject of a job that was written before documents had them are those
// beside its document.
func TestDecodeJobOfEarlierVersion(t *testing.T) {
	j := sampleJob()
	rest, err := j.Inner()
	if err != nil {
		t.Fatal(err)
	}
	old := *j
	old.Doc.Lane, old.Doc.Subject, old.Doc.Tags = "", "", nil
	again, err := DecodeJob(old.Document(), rest)
	if err != nil || again.Doc.Lane != "default" || again.Doc.Subject != "alice" || again.Doc.Tags != nil {
		t.Errorf("%v\n%+v", err, again)
	}
}

// FuzzJobCodec compares the codec of jobs with encoding/json, in both directions.
func FuzzJobCodec(f *testing.F) {
	b, err := sampleJob().Inner()
	if err != nil {
		f.Fatal(err)
	}
	codectest.Fuzz(f, inners, b)
}
