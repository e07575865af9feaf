package tracker

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/shard"
)

// TestReportsOfQueues: numbers are told only of partitions that are counted, and starts only between two reports of the
// same ones.
func TestReportsOfQueues(t *testing.T) {
	q := newQueues(2)
	now := time.Unix(1e9, 0)
	served := map[string]bool{"default": true}
	for _, step := range []struct {
		name       string
		partitions []int32
		waiting    int64
		started    int64 // in all
		want       *trackerpb.Queue
	}{
		{"while one is restored", nil, 3, 500, nil},
		{"once both are there", []int32{0, 1}, 5, 900, &trackerpb.Queue{Lane: "default", Waiting: 5, Served: true}},
		{"a second later", []int32{0, 1}, 9, 902,
			&trackerpb.Queue{Lane: "default", Waiting: 9, Started: 2, Pace: 2, Served: true}},
		{"when one has moved away", []int32{0}, 4, 950,
			&trackerpb.Queue{Lane: "default", Waiting: 4, Pace: 2, Served: true}},
	} {
		now = now.Add(time.Second)
		got := q.report(now, step.partitions, []shard.LaneQueue{{Name: "default", Waiting: step.waiting,
			Started: step.started}}, &served)
		want := &trackerpb.Queues{Total: 2, Partitions: step.partitions}
		if step.want != nil {
			want.Lanes = append(want.Lanes, step.want)
		}
		if !proto.Equal(got, want) {
			t.Errorf("%s: %v, want %v", step.name, got, want)
		}
	}
}

// TestReportsAreSentWhenTheyChange: and each third one in any case.
func TestReportsAreSentWhenTheyChange(t *testing.T) {
	q := newQueues(1)
	sent := ""
	for _, waiting := range []int64{1, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3} {
		report := &trackerpb.Queues{Total: 1, Lanes: []*trackerpb.Queue{{Lane: "default", Waiting: waiting}}}
		if q.news(report, false) {
			sent += "x"
		} else {
			sent += "-"
		}
	}
	if want := "x--x-x-x--x"; sent != want {
		t.Errorf("sent %s, want %s", sent, want)
	}
}
