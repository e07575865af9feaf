package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// FuzzKafkaToSocket writes any record to any of our topics, as anybody who reaches the broker
// could. Nothing ends for it: jobs of each partition behind it are run and told, every frame on a
// socket is strict JSON of the protocol, and a tracker that starts again gets past it, too.
func FuzzKafkaToSocket(f *testing.F) {
	const birth = `"job":"demo.echo","tenant":"local","subject":"me","payloadHash":"sha256:00","policy":{"attempts":1,"backoff":{"initial":0,"factor":0,"cap":0},"lease":30,"grace":1,"retention":3600},"request":{"topic":"ackwire.requests.default","partition":0,"offset":0}`
	status := func(typ, fields string) {
		f.Add(uint8(0), []byte("j"), []byte(`{"v":1,"type":"`+typ+`","jobId":"j",`+fields+`}`),
			"traceparent", []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	}
	for _, at := range []string{"0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59-12:00", "1970-01-01T00:00:00Z"} {
		status("accepted", birth+`,"runAt":"`+at+`"`)
		status("claimed", birth+`,"dispatch":1,"run":"r","worker":"w","runAt":"`+at+`"`)
	}
	status("accepted", birth+`,"subject":"`+strings.Repeat("s", 500_000)+`"`)
	status("claimed", birth+`,"dispatch":1,"run":"\u0000","worker":"\ud800"`)
	status("completed", `"dispatch":1,"run":"r","result":"`+strings.Repeat("x", 990_000)+`"`)
	// A request whose headers are one that is spoilt and, for the rest, good ones.
	for _, spoilt := range [][2]string{
		{topic.HeaderTenant, "\xff"}, {topic.HeaderSubject, strings.Repeat("s", 300)}, {topic.HeaderDispatch, "99999999999"},
		{topic.HeaderAttempt, "-1"},
		{topic.HeaderPolicy, `{"attempts":1,"lease":1e300}`}, {topic.HeaderPolicy, `{"attempts":1,"lease":0.000000001}`},
		{topic.HeaderRunAt, "0000-01-01T00:00:00+23:59"},
		{topic.HeaderTraceparent, "\xff"}, {topic.HeaderTracestate, "\x00"}, {topic.HeaderCallbackURL,
			"\xff"}, {topic.HeaderCallbackEvents, "dead"}, {topic.HeaderPayloadBlob, "payloads/j/../x"},
		{topic.HeaderType, "no.such.type"}, {topic.HeaderLane, "elsewhere"}, {topic.HeaderVersion, "2"}, {topic.HeaderTime,
			"yesterday"}, {"x", ""},
	} {
		f.Add(uint8(1), []byte("j"), []byte(`1`), spoilt[0], []byte(spoilt[1]))
		f.Add(uint8(2), []byte("j"), []byte(nil), spoilt[0], []byte(spoilt[1]))
	}
	f.Add(uint8(3), []byte("worker-1"),
		[]byte(`{"v":1,"type":"stop","jobId":"j","dispatch":1,"run":"r","worker":"worker-1"}`), "", []byte(nil))
	f.Add(uint8(3), []byte("worker-1"), []byte("\xff"), "", []byte(nil))
	f.Add(uint8(4), []byte(nil), []byte(nil), topic.HeaderDeadTopic, []byte("\xff"))

	f.Fuzz(func(t *testing.T, which uint8, key, value []byte, header string, content []byte) {
		if len(key)+len(value)+len(header)+len(content) > 1_000_000 {
			return // no broker takes it
		}
		Run(t, func(w *World) { fuzzKafkaToSocket(w, which, key, value, kgo.RecordHeader{Key: header, Value: content}) })
	})
}

func fuzzKafkaToSocket(w *World, which uint8, key, value []byte, header kgo.RecordHeader) {
	w.StartWorker(nil)
	frames := w.listen()
	all := []string{w.Names.Status(), w.Names.Requests("default"), w.Names.Deferred(), w.Names.Control(), w.Names.Dead()}
	rec := &kgo.Record{Topic: all[int(which)%len(all)], Key: key, Value: value, Headers: []kgo.RecordHeader{header}}
	if rec.Topic == w.Names.Requests("default") || rec.Topic == w.Names.Deferred() {
		r := topic.Request{
			JobID: string(key), Job: "demo.echo", Lane: "default", Dispatch: 1, Attempt: 1, Tenant: Tenant,
			PayloadHash: "sha256:00", Policy: policy, Time: time.Now(),
		}
		good, err := r.Headers()
		if err != nil {
			w.T.Fatal(err)
		}
		rec.Headers = nil
		for _, h := range append(good, topic.Header(header)) {
			rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
		}
	}
	if rec.Topic != w.Names.Dead() && key != nil { // where its reader looks for it
		rec.Partition = kafka.Partition(string(key), partitions)
	}
	w.Produce(rec)
	c := w.Dial()
	for p := range int32(partitions) { // behind it, in each partition
		for {
			j := w.Submit(c, "demo.echo", fmt.Sprint(p))
			w.WantEnd("a job behind any record", c, j.ID, job.Completed, 1)
			if kafka.Partition(j.ID, partitions) == p {
				break
			}
		}
	}
	w.strictList()
	w.CrashTracker()
	w.StartTracker()
	w.strictList()
	frames()
}

// strictList reads the list of all jobs as a strict client does.
func (w *World) strictList() {
	w.T.Helper()
	code, _, body := w.HTTP(http.MethodGet, "/v1/jobs", nil, nil)
	var page struct {
		Jobs []json.RawMessage `json:"jobs"`
	}
	if err := json.Unmarshal(body, &page); code != http.StatusOK || err != nil {
		w.T.Fatalf("list: %d %v: %.300s", code, err, body)
	}
	if len(page.Jobs) < partitions {
		w.T.Errorf("%d jobs in the list: %.300s", len(page.Jobs), body)
	}
}

// listen opens a socket that follows all jobs. What it returns checks every frame that came.
func (w *World) listen() (check func()) {
	w.T.Helper()
	transport := &http.Transport{DialContext: w.Net.Host("listener").Dial}
	ws, _, err := websocket.Dial(w.ctx(), fmt.Sprintf("http://localhost:%d/v1/ws", gatewayPort),
		&websocket.DialOptions{Subprotocols: []string{frame.Protocol}, HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		w.T.Fatal(err)
	}
	ws.SetReadLimit(-1)
	if err := ws.Write(w.ctx(), websocket.MessageText, []byte(`{"type":"subscribe","id":"1","mine":true}`)); err != nil {
		w.T.Fatal(err)
	}
	var frames [][]byte // the reader's until it has ended, as is err
	ended := make(chan struct{})
	go func() {
		for {
			var b []byte
			if _, b, err = ws.Read(context.Background()); err != nil {
				close(ended)
				return
			}
			frames = append(frames, b)
		}
	}()
	return func() {
		w.T.Helper()
		select {
		case <-ended:
			w.T.Errorf("the socket ended: %v", err)
		default:
			_ = ws.CloseNow()
			<-ended
		}
		transport.CloseIdleConnections()
		ends := 0
		for _, b := range frames {
			var head struct {
				Type frame.Type `json:"type"`
			}
			if err := json.Unmarshal(b, &head); err != nil {
				w.T.Errorf("a frame that is no JSON: %v: %.300s", err, b)
			}
			if head.Type != frame.Status {
				continue
			}
			var s frame.StatusFrame
			var doc job.Document
			if err := errors.Join(strict(b, &s), strict(s.Job, &doc)); err != nil {
				w.T.Errorf("%v: %.300s", err, b)
			}
			if doc.State.Terminal() {
				ends++
			}
		}
		if ends < partitions {
			w.T.Errorf("%d ends were told", ends)
		}
	}
}

func strict(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("something follows: %v", err)
	}
	return nil
}
