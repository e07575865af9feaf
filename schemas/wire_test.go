package schemas_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/fleet"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/topic"
)

var update = flag.Bool("update", false, "write testdata/wire, the examples in AsyncAPI and OpenAPI, and README.md anew")

const wireDir = "testdata/wire"

// wire is an example of one message, in Go and in JSON.
type wire struct {
	name   string // of its file in wireDir
	schema string // its path below jsonschema
	// value is what Ackwire's services encode.
	value any
	// again decodes bytes into the Go type and encodes the result.
	again func([]byte) ([]byte, error)
}

func encode(v any) ([]byte, error) {
	switch v := v.(type) {
	case event.Event:
		return event.Encode(&v)
	case event.Order:
		return event.EncodeOrder(v)
	default:
		return json.Marshal(v)
	}
}

func plain[T any](name, schema string, v T) wire {
	return wire{name, schema, v, func(b []byte) ([]byte, error) {
		var v T
		if err := json.Unmarshal(b, &v); err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}}
}

// wires returns all examples, in the order in which README.md shows them.
func wires() []wire {
	var all []wire
	for _, e := range events {
		all = append(all, wire{"event." + string(e.Type), "event/" + string(e.Type), e, func(b []byte) ([]byte, error) {
			e, err := event.Decode(b)
			if err != nil {
				return nil, err
			}
			return event.Encode(&e)
		}})
	}
	for _, e := range events[:2] { // accepted and claimed
		e.Tags = tags
		all = append(all, plain("event."+string(e.Type)+".tags", "event/"+string(e.Type), e))
	}
	for _, o := range orders {
		all = append(all, wire{"order." + string(o.Type), "order/" + string(o.Type), o, func(b []byte) ([]byte, error) {
			o, err := event.DecodeOrder(b)
			if err != nil {
				return nil, err
			}
			return event.EncodeOrder(o)
		}})
	}
	for _, f := range clientFrames {
		all = append(all, plain("frame."+string(f.Type), "frame/"+string(f.Type), f))
	}
	all = append(all,
		plain("frame.welcome", "frame/welcome", welcome),
		plain("frame.ack", "frame/ack", ack(frame.Ack, "1")),
		plain("frame.acks", "frame/acks", frame.AcksFrame{Type: frame.Acks, ID: "8", Results: batchResults()}),
		plain("frame.subscribed", "frame/subscribed", subscribed),
		plain("frame.subscribed.reset", "frame/subscribed", frame.SubscribedFrame{
			Type: frame.Subscribed, Jobs: []frame.SubscribedJob{{JobID: jobID, Version: 40, Reset: true}},
		}),
		plain("frame.unsubscribed", "frame/unsubscribed", unsubscribed),
		plain("frame.status", "frame/status", frame.StatusFrame{
			Type: frame.Status, Version: 4713, Job: must(json.Marshal(documents["processing"])),
		}),
		plain("frame.subscribe.mine", "frame/subscribe", frame.ClientFrame{Type: frame.Subscribe, ID: "9", Mine: true}),
		plain("frame.subscribed.mine", "frame/subscribed", frame.SubscribedFrame{
			Type: frame.Subscribed, ID: "9", Jobs: []frame.SubscribedJob{}, Mine: true,
		}),
		plain("frame.status.mine", "frame/status", frame.StatusFrame{
			Type: frame.Status, Version: 4713, Mine: true, Job: must(json.Marshal(documents["processing"])),
		}),
		plain("frame.submit.streams", "frame/submit", frame.ClientFrame{
			Type: frame.Submit, ID: "1", SubmitRequest: submitWithStreams,
		}),
		plain("frame.submit.tags", "frame/submit", frame.ClientFrame{
			Type: frame.Submit, ID: "1", SubmitRequest: submitWithTags,
		}),
		plain("frame.subscribe.streams", "frame/subscribe", frame.ClientFrame{
			Type: frame.Subscribe, ID: "2", Jobs: must(json.Marshal([]frame.JobRef{{
				JobID: jobID, After: &version, Streams: json.RawMessage(`["log",{"stream":"tokens","run":1,"at":15}]`),
			}})),
		}),
		plain("frame.chunk", "frame/chunk", frame.ChunkFrame{
			Type: frame.Chunk, JobID: jobID, Stream: "tokens", Kind: job.StreamText, Run: 1, From: 15, Text: "thirty-one days",
		}),
		plain("frame.chunk.items", "frame/chunk", frame.ChunkFrame{
			Type: frame.Chunk, JobID: jobID, Stream: "rows", Kind: job.StreamJSON, Run: 2, Reset: true,
			Items: []json.RawMessage{json.RawMessage(`{"day":1,"sum":812.5}`), json.RawMessage(`null`)},
		}),
		plain("frame.chunk.end", "frame/chunk", frame.ChunkFrame{
			Type: frame.Chunk, JobID: jobID, Stream: "tokens", Kind: job.StreamText, Run: 1, From: 30, End: true,
			Total: new(int64(30)),
		}),
		plain("frame.chunk.end.empty", "frame/chunk", frame.ChunkFrame{
			Type: frame.Chunk, JobID: jobID, Stream: "rows", Run: 1, End: true, Total: new(int64(0)),
		}),
		plain("frame.error", "frame/error", frame.ErrorFrame{
			Type: frame.Error, ID: "1", Problem: problem(code.ValidationFailed),
		}),
		plain("frame.goaway", "frame/goaway", frame.GoawayFrame{Type: frame.Goaway, Reason: "restart", ReconnectAfter: 1.25}),
		plain("frame.expiring", "frame/expiring", frame.ExpiringFrame{
			Type: frame.Expiring, ExpiresAt: acceptedAt, ClosesAfter: 90,
		}),
		plain("frame.cursor", "frame/cursor", frame.CursorFrame{Type: frame.Cursor, Cursor: "1mkh3y2k8"}),
		plain("frame.subscribe.mine.after", "frame/subscribe", frame.ClientFrame{
			Type: frame.Subscribe, ID: "9", Mine: true, After: "1mkh3y2k8",
		}),
		plain("frame.listWatched", "frame/listWatched", frame.ListWatchedFrame{
			Type: frame.ListWatched, ID: "10", List: "failed reports",
		}),
		plain("frame.listUnwatched", "frame/listUnwatched", frame.ListUnwatchedFrame{
			Type: frame.ListUnwatched, ID: "11", List: "failed reports",
		}),
		plain("frame.listUnwatched.renewed", "frame/listUnwatched", frame.ListUnwatchedFrame{
			Type: frame.ListUnwatched, List: "failed reports", Error: code.Forbidden,
		}),
		plain("frame.listChanged", "frame/listChanged", frame.ListChangedFrame{
			Type: frame.ListChanged, List: "failed reports",
			Rows: []frame.ListRow{{Version: 4720, Job: must(json.Marshal(documents["failed"]))}},
			Left: []frame.LeftRow{{JobID: otherID, Version: 4719}},
		}),
		plain("frame.listChanged.again", "frame/listChanged", frame.ListChangedFrame{
			Type: frame.ListChanged, List: "failed reports", Again: true, Missed: 812,
		}),
		plain("frame.pong", "frame/pong", frame.PongFrame{Type: frame.Pong, ID: "7"}),
	)
	for _, s := range []string{"pending", "processing", "retrying", "completed", "failed"} {
		all = append(all, plain("job."+s, "job/document", documents[s]))
	}
	all = append(all,
		plain("job.tags", "job/document", taggedDocument()),
		plain("job.policy", "job/policy", policy),
		plain("http.submit", "http/submit", submitRequest),
		plain("http.batch", "http/batch", batchRequest),
		plain("http.acks", "http/acks", frame.AcksFrame{Results: batchResults()}),
		plain("http.watch", "http/watch", watchRequest),
		plain("http.ack", "http/ack", ack("", "")),
		plain("http.ack.grant", "http/ack", ackWithGrant),
		plain("http.list", "http/list", list),
		plain("http.stats", "http/stats", stats),
		plain("http.why", "http/why", why),
		plain("http.history", "http/history", history),
		plain("http.streams", "http/streams", frame.StreamList{Run: 2, Streams: []frame.StreamInfo{
			{Name: job.StreamLog, Kind: job.StreamJSON, Total: 4},
			{Name: "tokens", Kind: job.StreamText, Total: 30, Ended: true},
		}}),
		plain("http.deliveries", "http/deliveries", deliveries),
		plain("http.jobTypes", "http/jobTypes", frame.JobTypes{JobTypes: []frame.JobType{
			{Type: "report.generate", Lane: "default", Policy: policy, MaxPayload: 262144, PayloadSchema: json.RawMessage(
				`{"type":"object","properties":{"month":{"type":"string"}}}`), StreamLimit: 1 << 20},
		}}),
		plain("http.dead", "http/dead", frame.DeadLetters{Letters: []frame.DeadLetter{deadRecord.DeadLetter},
			NextCursor: "0-40"}),
		plain("http.deadLetter", "http/deadLetter", deadRecord),
		plain("http.deadRequeued", "http/deadRequeued", frame.DeadRequeued{Outcome: frame.RequeueDispatched, JobID: jobID}),
		plain("http.deadRequeued.written", "http/deadRequeued", requeuedRecord),
		plain("http.activity", "http/activity", activityAnswer),
		plain("http.workers", "http/workers", workersAnswer),
		plain("http.system", "http/system", systemAnswer),
		plain("http.webhooks", "http/webhooks", webhooksAnswer),
		plain("http.audit", "http/audit", auditAnswer),
		plain("http.bulkRequest", "http/bulkRequest", frame.BulkRequest{Action: frame.BulkRetry, Filter: frame.BulkFilter{
			"state": {"failed"}, "type": {"report.generate"}}, Expect: new(int64(700)), Key: "mend-2026-02"}),
		plain("http.bulkRequest.preview", "http/bulkRequest", frame.BulkRequest{Action: frame.BulkErase,
			Filter: frame.BulkFilter{"createdBefore": {"2026-01-01T00:00:00Z"}}, Preview: true}),
		plain("http.bulk", "http/bulk", bulkAnswer),
		plain("http.bulk.preview", "http/bulk", frame.BulkAnswer{Action: frame.BulkErase, Count: 0, Examples: []string{}}),
		plain("job.bulkResult", "job/bulkResult", frame.BulkResult{
			Action: frame.BulkRetry, Matched: 700, Done: 699,
			Skipped: map[frame.BulkReason]int64{frame.BulkGone: 0, frame.BulkChanged: 1, frame.BulkRefused: 0},
			Jobs:    []frame.BulkSkipped{{JobID: jobID, Reason: frame.BulkChanged}},
		}),
		plain("http.ticket", "http/ticket", ticket),
		plain("http.grantRequest", "http/grantRequest", grantRequest),
		plain("http.grant", "http/grant", granted),
		plain("http.ready", "http/ready", map[string]any{
			"ready": true, "parts": map[string]any{"gateway": map[string]any{"ready": true}},
		}),
		plain("http.unready", "http/ready", map[string]any{"ready": false, "reasons": map[string]string{
			"gateway": "starting: Kafka has not answered yet"},
			"parts": map[string]any{
				"gateway": map[string]any{"ready": false, "reason": "starting: Kafka has not answered yet"},
			}}),
	)
	for _, c := range code.All {
		p := problem(c)
		p.Status = c.Info().HTTP
		all = append(all, plain("problem."+string(c), "http/problem", p))
	}
	return append(all,
		wire{"request.headers", "topic/request-headers", headerMap(must(request.Headers())), requestAgain},
		wire{"request.headers.tags", "topic/request-headers", headerMap(must(taggedRequest().Headers())), requestAgain},
		plain("status.headers", "topic/status-headers", statusHeaders),
		wire{"audit.erase", "topic/audit", audits[0], auditAgain},
		wire{"audit.payload", "topic/audit", audits[2], auditAgain},
		wire{"audit.grantMade", "topic/audit", audits[1], auditAgain},
		wire{"audit.bulk", "topic/audit", audits[4], auditAgain},
		wire{"audit.deadRequeue", "topic/audit", audits[3], auditAgain},
		wire{"worker.announcement", "topic/worker", announcement, announcementAgain},
		streamHeaders("stream.text.headers", textPiece),
		streamHeaders("stream.values.headers", valuesPiece),
		plain("stream.values", "", json.RawMessage(valuesPiece.Value)),
		plain("dead.headers", "topic/dead-headers", deadHeaders),
		plain("request.payload", "", submitRequest.Payload),
	)
}

// streamHeaders is the example of a record's headers.
func streamHeaders(name string, c stream.Chunk) wire {
	return wire{name, "topic/stream-headers", headerMap(c.Headers()), func(b []byte) ([]byte, error) {
		var values map[string]string
		if err := json.Unmarshal(b, &values); err != nil {
			return nil, err
		}
		var headers []topic.Header
		for key, v := range values {
			headers = append(headers, topic.Header{Key: key, Value: []byte(v)})
		}
		again, err := stream.Parse(c.JobID, headers, c.Value)
		if err != nil {
			return nil, err
		}
		return json.Marshal(headerMap(again.Headers()))
	}}
}

func announcementAgain(b []byte) ([]byte, error) {
	a, err := fleet.Decode(b)
	if err != nil {
		return nil, err
	}
	return fleet.Encode(&a)
}

func auditAgain(b []byte) ([]byte, error) {
	r, err := audit.Decode(b)
	if err != nil {
		return nil, err
	}
	return audit.Encode(&r)
}

// TestWire pins the bytes of every message: the Go value is encoded to the bytes in the file; these decode into the Go
// type, are encoded to the same bytes again, and fit their schema.
func TestWire(t *testing.T) {
	var known []string
	for _, w := range wires() {
		known = append(known, w.name+".json")
		t.Run(w.name, func(t *testing.T) {
			got, err := encode(w.value)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(wireDir, w.name+".json")
			if *update {
				if err := os.WriteFile(file, append(bytes.Clone(got), '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want := golden(t, w.name)
			if !bytes.Equal(got, want) {
				t.Errorf("encoded\n%s\nbut %s has\n%s", got, file, want)
			}
			again, err := w.again(want)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, want) {
				t.Errorf("decoded and encoded\n%s\nbut %s has\n%s", again, file, want)
			}
			if w.schema != "" {
				wantValid(t, w.schema, want)
			}
		})
	}
	entries, err := os.ReadDir(wireDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			t.Errorf("%s/%s is no example", wireDir, e.Name())
		}
	}
}

// TestEveryTypeHasAnExample finds types that were added without an example. TestWire then requires a schema too.
func TestEveryTypeHasAnExample(t *testing.T) {
	var have []string
	for _, w := range wires() {
		have = append(have, w.name)
	}
	want := func(name string) {
		if !slices.Contains(have, name) {
			t.Errorf("no example %s in wire_test.go", name)
		}
	}
	for _, e := range event.Types {
		want("event." + string(e))
	}
	for _, o := range event.OrderTypes {
		want("order." + string(o))
	}
	for _, f := range slices.Concat(frame.ClientTypes, frame.ServerTypes) {
		want("frame." + string(f))
	}
}

// TestStates checks that the schema has the same list of states as the Go type.
func TestStates(t *testing.T) {
	var want []any
	for _, s := range job.States {
		want = append(want, string(s))
	}
	if got := at(t, "defs.json", "/$defs/state/enum"); !equalJSON(got, want) {
		t.Errorf("defs.json has states %v, package job %v", got, want)
	}
}

// TestReasons checks that the schema has the same list of reasons as the Go type.
func TestReasons(t *testing.T) {
	var want []any
	for _, r := range frame.Reasons {
		want = append(want, string(r))
	}
	if got := at(t, "http/why.json", "/properties/reason/enum"); !equalJSON(got, want) {
		t.Errorf("why.json has reasons %v, package frame %v", got, want)
	}
}

// TestWriters checks that the schema has the same list of writers of events as the Go type.
func TestWriters(t *testing.T) {
	var want []any
	for _, w := range event.Writers {
		want = append(want, string(w))
	}
	if got := at(t, "http/history.json", "/properties/events/items/properties/by/enum"); !equalJSON(got, want) {
		t.Errorf("history.json has writers %v, package event %v", got, want)
	}
}

// TestCodes checks that the schema has the same list of error codes as the table.
func TestCodes(t *testing.T) {
	var want []any
	for _, c := range code.All {
		want = append(want, string(c))
	}
	if got := at(t, "defs.json", "/$defs/code/enum"); !equalJSON(got, want) {
		t.Errorf("defs.json has codes\n%v, codes.json\n%v", got, want)
	}
}

// golden returns the bytes of an example.
func golden(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(wireDir, name+".json"))
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	return []byte(strings.TrimSuffix(string(b), "\n"))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
