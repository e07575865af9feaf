package shard

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
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
