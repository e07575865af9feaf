package tracker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

func (i *instance) listAudit(before, since int64, limit int32) *trackerpb.ListAuditResponse {
	i.w.t.Helper()
	r, err := i.api.ListAudit(context.Background(), connect.NewRequest(&trackerpb.ListAuditRequest{
		Before: before, Since: since, Limit: limit}))
	if err != nil {
		i.w.t.Fatal(err)
	}
	return r.Msg
}

// TestAuditIsListed: all pages together have every record once, the newest first; since a time only those from then on.
// Without the topic the answer says so.
func TestAuditIsListed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		if page := i.listAudit(0, 0, 10); !page.Off || len(page.Records) != 0 || page.Next != 0 {
			t.Errorf("without a topic: %v", page)
		}
		if _, err := kafka.EnsureTopics(t.Context(), w.client, kafka.Topic(w.names.AuditSpec())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // a client of Kafka remembers for a while that there is no topic
		if page := i.listAudit(0, 0, 10); page.Off || len(page.Records) != 0 || page.Next != 0 {
			t.Errorf("an empty topic: %v", page)
		}
		const n = 41
		var middle time.Time
		for k := range n {
			time.Sleep(time.Second)
			if k == 30 {
				middle = time.Now()
			}
			w.produce(&kgo.Record{Topic: w.names.Audit(), Key: []byte("acme"), Value: fmt.Append(nil, "record ", k)})
		}
		for _, c := range []struct {
			limit int32
			since int64
			want  int
		}{{1, 0, n}, {7, 0, n}, {16, 0, n}, {100, 0, n}, {3, middle.UnixMilli(), 11},
			{100, time.Now().Add(time.Hour).UnixMilli(), 0}} {
			seen := int64(n)
			for before := int64(0); ; {
				page := i.listAudit(before, c.since, c.limit)
				if len(page.Records) > int(c.limit) {
					t.Fatalf("limit %d: %d records", c.limit, len(page.Records))
				}
				for _, r := range page.Records {
					seen--
					if r.Offset != seen || string(r.Value) != fmt.Sprint("record ", seen) || r.At < c.since {
						t.Fatalf("limit %d: %v, want the one at %d", c.limit, r, seen)
					}
				}
				before = page.Next
				if before == 0 {
					break
				}
			}
			if n-int(seen) != c.want {
				t.Errorf("limit %d: %d records, want %d", c.limit, n-int(seen), c.want)
			}
		}
		for _, r := range []*trackerpb.ListAuditRequest{
			{Limit: 0}, {Limit: 101}, {Limit: 1, Before: -1}, {Limit: 1, Since: -1},
		} {
			_, err := i.api.ListAudit(t.Context(), connect.NewRequest(r))
			wantCode(t, "bounds", err, connect.CodeInvalidArgument)
		}
	})
}
