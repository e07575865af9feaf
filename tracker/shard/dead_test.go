package shard

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

func TestDeadLetters(t *testing.T) {
	id := jobIDs(1)[0]
	elsewhere := ""
	for i := 0; elsewhere == ""; i++ {
		if other := fmt.Sprintf("other-%d", i); kafka.Partition(other, testPartitions) != testPartition {
			elsewhere = other
		}
	}
	beat := func(of string) string {
		return fmt.Sprintf(`{"v":1,"type":"beat","jobId":%q,"dispatch":1,"run":"r"}`, of)
	}
	accepted := `{"v":1,"type":"accepted","jobId":"` + id +
		`","job":"t","tenant":"a","payloadHash":"h","policy":{"attempts":1},"request":{"topic":"x"},"runAt":"%s"}`
	for _, c := range []struct {
		name       string
		key, value string
		reason     DeadReason
	}{
		{"garbage", id, "\x00\xffnot JSON", deadUndecodable},
		{"another shape", id, `[1,2]`, deadUndecodable},
		{"unknown type", id, `{"v":1,"type":"exploded","jobId":"` + id + `"}`, deadUndecodable},
		{"missing field", id, `{"v":1,"type":"beat","jobId":"` + id + `"}`, deadUndecodable},
		{"no job", id, `{"v":1,"type":"beat"}`, deadUndecodable},
		{"a time that has no place in a document", id, fmt.Sprintf(accepted, "9999-12-31T23:59:59-12:00"), deadUndecodable},
		{"unknown version", id, strings.Replace(beat(id), `"v":1`, `"v":2`, 1), deadUnknownVersion},
		{"no version", id, strings.Replace(beat(id), `"v":1,`, ``, 1), deadUnknownVersion},
		{"no value", id, "", deadNoValue},
		{"key mismatch", id, beat(jobIDs(2)[1]), deadKeyMismatch},
		{"no key", "", beat(id), deadKeyMismatch},
		{"wrong partition", elsewhere, beat(elsewhere), deadWrongPartition},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.submit(id)
				rec := &kgo.Record{Topic: names.Status(), Headers: []kgo.RecordHeader{{Key: "mine", Value: []byte("kept")}}}
				if c.key != "" {
					rec.Key = []byte(c.key)
				}
				if c.value != "" {
					rec.Value = []byte(c.value)
				}
				w.set(func() { w.appendLocked(rec) })
				w.append(id, event.CancelRequested)
				w.wantState("the partition goes on", id, job.Cancelled)

				dead := w.log(names.Dead())
				if len(dead) != 1 {
					t.Fatalf("%d dead letters", len(dead))
				}
				d := dead[0]
				if string(d.Key) != c.key || string(d.Value) != c.value {
					t.Errorf("key %q, value %q", d.Key, d.Value)
				}
				want := map[string]string{
					"mine": "kept", topic.HeaderDeadReason: string(c.reason), topic.HeaderDeadTopic: names.Status(),
					topic.HeaderDeadPartition: strconv.Itoa(testPartition), topic.HeaderDeadOffset: "1", topic.HeaderDeadBy: "tracker",
				}
				for _, h := range d.Headers {
					if v, ok := want[h.Key]; ok && v != string(h.Value) {
						t.Errorf("header %s is %q, want %q", h.Key, h.Value, v)
					}
					delete(want, h.Key)
				}
				if len(want) != 0 {
					t.Errorf("headers %v are missing", want)
				}
				w.wantMetric("counted", w.metrics.dead.WithLabelValues(string(c.reason)), 1)
				if len(rec.Headers) != 1 {
					t.Error("the original record was changed")
				}
			})
		})
	}
}

func TestRecordOfAFarTime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.set(func() {
			rec := &kgo.Record{Topic: names.Status(), Key: []byte(id), Value: w.logs[names.Status()][0].Value}
			w.appendLocked(rec)
			rec.Timestamp = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
		})
		synctest.Wait()
		w.wantMetric("it has no place in a document", w.metrics.dead.WithLabelValues(string(deadUndecodable)), 1)
		w.doc(id)
	})
}
