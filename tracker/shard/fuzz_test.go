package shard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/store"
)

// maxViewRecord is what clients and brokers take of one record by default, less a batch's header.
const maxViewRecord = 1_000_012 - 512

// FuzzRecord appends any record to status: its partition goes on, all that its jobs become
// can be stored, put into the view and told on, and a shard that begins anew says the same.
func FuzzRecord(f *testing.F) {
	id := jobIDs(1)[0]
	birth := `"job":"t","tenant":"acme","payloadHash":"sha256:00","policy":{"attempts":3,"backoff":{"initial":0.2,"factor":100,"cap":3153600000},"lease":3153600000,"grace":0,"timeout":3153600000,"deadline":3153600000,"retention":3153600000},"request":{"topic":"t.requests.x","partition":2147483647,"offset":9223372036854775807}`
	fence := `"dispatch":1,"run":"r1","worker":"worker-of-r1"`
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() // a bubble's
	add := func(typ event.Type, of, fields string, ms int64) {
		f.Add([]byte(`{"v":1,"type":"`+string(typ)+`","jobId":"`+of+`",`+fields+`}`),
			"traceparent", []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), ms, true)
	}
	fresh := jobIDs(3)[2]
	for _, at := range []string{"0000-01-01T00:00:00+23:59", "0000-01-01T00:00:00Z", "1969-12-31T00:00:00Z",
		"1970-01-01T00:00:00Z", "9000-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"} {
		add(event.Accepted, fresh, birth+`,"runAt":"`+at+`"`, now)
		add(event.Claimed, fresh, birth+`,"runAt":"`+at+`",`+fence, now)
	}
	for _, ms := range []int64{-1 << 63, -1, 0, 1, now - 93_600_000, now + 3_300_000, 7258118400000, 253402300799999,
		253402300800000, 1<<63 - 1} {
		add(event.Failed, id, fence+`,"error":{"code":"x","retryable":true,"retryAfter":3153600000}`, ms)
		add(event.Completed, id, fence+`,"result":{"a":1e400}`, ms)
		add(event.Accepted, fresh, birth, ms)
		add(event.RetryRequested, id, `"round":0`, ms)
	}
	add(event.Completed, id, fence+`,"result":"`+strings.Repeat("<", 200_000)+`"`, now)
	add(event.Completed, id, fence+`,"result":"`+strings.Repeat("x", 990_000)+`"`, now)
	add(event.Completed, id, fence+`,"result":"`+strings.Repeat("x", 800_000)+`","resultUrl":"`+strings.Repeat("x", 2048)+
		`"`, now)
	add(event.Progress, id, fence+`,"progress":{"percent":1e-300,"current":9223372036854775807,"message":"`+
		strings.Repeat("\\u0000", 3000)+`"}`, now)
	add(event.Accepted, fresh, birth+`,"subject":"`+strings.Repeat("s", 900_000)+`"`, now)
	add(event.Accepted, fresh, birth+`,"subject":"\u0000\ud800","callbackUrl":"`+strings.Repeat("<", 2048)+`"`, now)
	add(event.CallbackQueued, id, `"delivery":{"jobId":"d","state":"completed","version":9223372036854775807}`, now)
	add(event.Beat, id, `"dispatch":2147483647,"run":"r1"`, now)
	f.Add([]byte(nil), "", []byte(nil), now, false)
	f.Add([]byte("\xff\x00"), "tracestate", []byte("\xff"), now, false)

	f.Fuzz(func(t *testing.T, value []byte, header string, content []byte, ms int64, byBroker bool) {
		bubble.Test(t, func(t *testing.T) { fuzzRecord(t, value, header, content, ms, byBroker) })
	})
}

func fuzzRecord(t *testing.T, value []byte, header string, content []byte, ms int64, byBroker bool) {
	views := &tables{rows: map[string]*store.Row{}}
	w := newWorld(t)
	w.view = views
	w.start()
	running, other := jobIDs(2)[0], jobIDs(2)[1]
	w.submit(running, func(e *event.Event) { e.CallbackURL = "https://example.com" })
	w.claim(running, "r1")
	w.submit(other)

	var said struct{ JobID string }
	key := running
	if json.Unmarshal(value, &said) == nil && said.JobID != "" {
		key = said.JobID
	}
	rec := &kgo.Record{
		Topic: names.Status(), Key: []byte(key), Value: value,
		Headers: []kgo.RecordHeader{{Key: header, Value: content}},
	}
	w.set(func() {
		w.appendLocked(rec)
		rec.Timestamp = time.UnixMilli(ms)
		if !byBroker {
			rec.Attrs = kgo.RecordAttrs{}
		}
	})
	synctest.Wait()
	w.append(other, event.CancelRequested)
	w.wantState("the partition goes on", other, job.Cancelled)
	before := w.checkAll("at first")
	w.pass(2 * time.Second) // a checkpoint and a transaction of the view
	if views.failed != nil {
		t.Fatal(views.failed)
	}
	w.end()

	w.fs, w.view = newWorld(t).fs, nil // without its state: from the log's beginning
	w.start()
	synctest.Wait()
	for id, doc := range w.checkAll("from the log") {
		if was, known := before[id]; known && version(was) == version(doc) && !proto.Equal(was, doc) {
			t.Errorf("job %s was\n%s and is\n%s", id, was.Document, doc.Document)
		}
	}
	w.pass(2 * time.Second)
	w.end()
}

func version(j *trackerpb.Job) int64 { return j.Version }

// checkAll checks all jobs in memory and returns them as they travel.
func (w *world) checkAll(when string) map[string]*trackerpb.Job {
	w.t.Helper()
	all := map[string]*trackerpb.Job{}
	done := make(chan struct{})
	err := w.shard.call(context.Background(), func() {
		defer close(done)
		for id, e := range w.shard.jobs.all {
			if e.job == nil {
				continue
			}
			all[id] = e.document()
			if err := checkDocument(e); err != nil {
				w.t.Errorf("%s: job %q: %v", when, id, err)
			}
		}
	})
	if err != nil {
		w.t.Fatalf("%s: %v", when, err)
	}
	<-done
	return all
}

func checkDocument(e *entry) error {
	travels := e.document()
	dec := json.NewDecoder(bytes.NewReader(travels.Document))
	dec.DisallowUnknownFields()
	var doc job.Document
	if err := dec.Decode(&doc); err != nil {
		return fmt.Errorf("document %.300s: %w", travels.Document, err)
	}
	if doc.CreatedAt.IsZero() || doc.UpdatedAt.Before(doc.CreatedAt) || doc.State != e.job.Doc.State {
		return fmt.Errorf("document %.300s", travels.Document)
	}
	if _, err := proto.Marshal(&trackerpb.WatchResponse{Updates: []*trackerpb.Job{travels}}); err != nil {
		return err
	}
	row, err := store.NewRow(e.job, travels.Document)
	if err != nil {
		return err
	}
	if n := len(row.Doc) + len(row.Inner) + len(store.AppendMeta(nil, row.Meta)) + len(row.ID); n > maxViewRecord {
		return fmt.Errorf("its row has %d bytes", n)
	}
	again, err := row.Job()
	if err != nil {
		return err
	}
	if due := store.DueOf(again); due != store.DueOf(e.job) || due < 0 {
		return fmt.Errorf("it is due at %d, and read again at %d", store.DueOf(e.job), due)
	}
	return nil
}

// tables takes what the shard writes to its view.
type tables struct {
	rows   map[string]*store.Row
	failed error
}

func (v *tables) Write(_ context.Context, ids []string, row func(string) (*store.Row, error), _ store.Totals) error {
	for _, id := range ids {
		r, err := row(id)
		if err != nil {
			v.failed = err
			return err
		}
		v.rows[id] = r
	}
	return nil
}
