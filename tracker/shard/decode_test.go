package shard

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestRecordsAreDecodedByTheirReader: Fold decodes records before it hands them to the shard's goroutine, in batches,
// and leaves their order as it is. Here no such goroutine runs.
func TestRecordsAreDecodedByTheirReader(t *testing.T) {
	s := &Shard{partition: testPartition, partitions: testPartitions, records: make(chan []decoded, recordBatches)}
	id := jobIDs(1)[0]
	good, err := event.Encode(&event.Event{Type: event.Beat, JobID: id, Dispatch: 1, Run: "r"})
	if err != nil {
		t.Fatal(err)
	}
	const n = 2*decodedBatch + 3
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Key: []byte(id), Value: good, Offset: int64(i)}
	}
	records[1] = &kgo.Record{Key: []byte("other"), Value: good, Offset: 1}
	records[2] = &kgo.Record{Key: []byte(id), Value: []byte(`{"v":2}`), Offset: 2}
	records[3] = &kgo.Record{Key: []byte(id), Offset: 3}
	s.Fold(t.Context(), records)
	close(s.records)
	var got []decoded
	for batch := range s.records {
		if len(batch) > decodedBatch {
			t.Errorf("a batch of %d", len(batch))
		}
		got = append(got, batch...)
	}
	if len(got) != n {
		t.Fatalf("%d of %d records", len(got), n)
	}
	for i, d := range got {
		want := map[int]DeadReason{1: deadKeyMismatch, 2: deadUnknownVersion, 3: deadNoValue}[i]
		if d.Record != records[i] || d.reason != want || (d.err == nil) != (want == "") {
			t.Errorf("%d: %s, %v", i, d.reason, d.err)
		}
		if want == "" && d.event.JobID != id {
			t.Errorf("%d: %+v", i, d.event)
		}
	}
}

// TestQuestionsComeBeforeRecords: while records wait to be folded, a question waits for the slice that is being folded
// and not for the rest.
func TestQuestionsComeBeforeRecords(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.wantState("it is folded", id, job.Pending)
		at := w.shard.Position()
		release, held := make(chan struct{}), make(chan struct{})
		go func() {
			_ = w.shard.call(t.Context(), func() { close(held); <-release })
		}()
		<-held
		for range 2 * decodedBatch {
			w.append(id, event.CancelRequested)
		}
		var asking sync.WaitGroup
		for range maxCalls / 2 {
			asking.Go(func() {
				_ = w.shard.call(t.Context(), func() {
					if now := w.shard.pos.next; now != at {
						t.Errorf("answered at %d of %d", now, at)
					}
				})
			})
		}
		synctest.Wait()
		close(release)
		asking.Wait()
		synctest.Wait()
		if now := w.shard.Position(); now < at+2*decodedBatch {
			t.Errorf("at %d, not all is folded", now)
		}
	})
}
