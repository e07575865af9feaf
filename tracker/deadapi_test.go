package tracker

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// bury writes a dead letter, as a service does with a record that it cannot read.
func (w *world) bury(at event.Position, key, value string, headers ...kgo.RecordHeader) *kgo.Record {
	w.t.Helper()
	own := []kgo.RecordHeader{
		{Key: topic.HeaderDeadReason, Value: []byte("undecodable")},
		{Key: topic.HeaderDeadDetail, Value: []byte("detail \xff")},
		{Key: topic.HeaderDeadTopic, Value: []byte(at.Topic)},
		{Key: topic.HeaderDeadPartition, Value: []byte(strconv.Itoa(int(at.Partition)))},
		{Key: topic.HeaderDeadOffset, Value: []byte(strconv.FormatInt(at.Offset, 10))},
		{Key: topic.HeaderDeadBy, Value: []byte("processor")},
	}
	return w.produce(&kgo.Record{Topic: w.names.Dead(), Key: []byte(key), Value: []byte(value),
		Headers: append(own, headers...)})
}

func (i *instance) listDead(before int64, limit int32) *trackerpb.ListDeadResponse {
	i.w.t.Helper()
	r, err := i.api.ListDead(context.Background(), connect.NewRequest(&trackerpb.ListDeadRequest{
		Before: before, Limit: limit}))
	if err != nil {
		i.w.t.Fatal(err)
	}
	return r.Msg
}

func (i *instance) requeueDead(offset int64, jobID string) (*trackerpb.RequeueDeadResponse, error) {
	r, err := i.api.RequeueDead(context.Background(), connect.NewRequest(&trackerpb.RequeueDeadRequest{
		Offset: offset, JobId: jobID}))
	if err != nil {
		return nil, err
	}
	return r.Msg, nil
}

// read returns all records that a topic has.
func (w *world) read(name string) (all []*kgo.Record) {
	w.t.Helper()
	ends, err := kadm.NewClient(w.client).ListEndOffsets(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	reader, err := w.kafka().NewClient(w.env(nil), "test-reader", kgo.ConsumeTopics(name),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer reader.Close()
	for int64(len(all)) < left {
		all = append(all, reader.PollFetches(w.t.Context()).Records()...)
	}
	return all
}

// TestDeadLettersAreListed: all pages together have every letter once, the newest first, whatever the limit is, and a
// letter is found by its offset.
func TestDeadLettersAreListed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.makeRequests()
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		if page := i.listDead(0, 10); len(page.Letters) != 0 || page.Next != 0 {
			t.Errorf("an empty topic lists %v", page)
		}
		const n = 53
		for k := range n {
			w.bury(event.Position{Topic: w.names.Status(), Offset: int64(k)}, fmt.Sprint("job-", k), fmt.Sprint("value ", k))
		}
		for _, limit := range []int32{1, 7, 16, 17, 53, 100} {
			var seen []int64
			for before := int64(0); ; {
				page := i.listDead(before, limit)
				if len(page.Letters) > int(limit) {
					t.Fatalf("limit %d: %d letters", limit, len(page.Letters))
				}
				for _, l := range page.Letters {
					seen = append(seen, l.Offset)
					if l.Value != nil || l.JobId != fmt.Sprint("job-", l.Offset) || l.Request || l.Reason != "undecodable" ||
						l.Detail != "detail \uFFFD" || l.By != "processor" || l.SourceOffset != fmt.Sprint(l.Offset) {
						t.Fatalf("letter %v", l)
					}
				}
				before = page.Next
				if before == 0 {
					break
				}
			}
			if len(seen) != n {
				t.Fatalf("limit %d: %d letters, want %d", limit, len(seen), n)
			}
			for k, offset := range seen {
				if offset != int64(n-1-k) {
					t.Fatalf("limit %d: offsets %v", limit, seen)
				}
			}
		}
		got, err := i.api.GetDead(t.Context(), connect.NewRequest(&trackerpb.GetDeadRequest{Offset: 7}))
		if err != nil || string(got.Msg.Letter.Value) != "value 7" || len(got.Msg.Letter.Headers) != 0 {
			t.Errorf("%v, %v", got, err)
		}
		_, err = i.api.GetDead(t.Context(), connect.NewRequest(&trackerpb.GetDeadRequest{Offset: n}))
		wantCode(t, "behind the end", err, connect.CodeNotFound)
		for _, limit := range []int32{0, 101} {
			_, err := i.api.ListDead(t.Context(), connect.NewRequest(&trackerpb.ListDeadRequest{Limit: limit}))
			wantCode(t, "limit", err, connect.CodeInvalidArgument)
		}
	})
}

// TestDeadLettersAreRequeued: a dead request of a job that waits for it has the job dispatched again, once; any other
// is refused with the reason; and what is no request of a known job is written to its topic again.
func TestDeadLettersAreRequeued(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.makeRequests()
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		request, v := w.submit("job-1")
		dead := w.bury(request, "job-1", `{}`)
		i.doc("job-1", v)
		want := func(why string, offset int64, jobID string, outcome trackerpb.RequeueDeadResponse_Outcome) {
			t.Helper()
			got, err := i.requeueDead(offset, jobID)
			if err != nil || got.Outcome != outcome {
				t.Errorf("%s: %v, %v, want %s", why, got, err, outcome)
			}
		}
		_, err := i.requeueDead(dead.Offset, "job-2")
		wantCode(t, "as another job's", err, connect.CodeInvalidArgument)
		want("the job waits for it", dead.Offset, "job-1", trackerpb.RequeueDeadResponse_DISPATCHED)
		want("a second time", dead.Offset, "job-1", trackerpb.RequeueDeadResponse_NOT_WAITING)
		time.Sleep(time.Second)
		if n := len(w.read(w.names.Requests("default"))); n != 2 {
			t.Errorf("%d requests are in the lane, want the dead one and a new one", n)
		}
		v = w.append(&event.Event{Type: event.CancelRequested, JobID: "job-1"})
		i.doc("job-1", v)
		want("the job has ended", dead.Offset, "job-1", trackerpb.RequeueDeadResponse_ENDED)

		stray := w.bury(event.Position{Topic: w.names.Requests("default"), Offset: 99}, "unknown", "payload",
			kgo.RecordHeader{Key: "other", Value: []byte("header")})
		want("no such job is known", stray.Offset, "unknown", trackerpb.RequeueDeadResponse_WRITTEN)
		again := w.read(w.names.Requests("default"))
		last := again[len(again)-1]
		for _, r := range again {
			if string(r.Key) == "unknown" {
				last = r
			}
		}
		if string(last.Value) != "payload" || len(last.Headers) != 1 || last.Headers[0].Key != "other" {
			t.Errorf("written again as %q with %v", last.Value, last.Headers)
		}
		foreign := w.bury(event.Position{Topic: "another.topic"}, "", "x")
		want("of a foreign topic", foreign.Offset, "", trackerpb.RequeueDeadResponse_FOREIGN)
		_, err = i.requeueDead(foreign.Offset+1, "")
		wantCode(t, "no such letter", err, connect.CodeNotFound)
	})
}
