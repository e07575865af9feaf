package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/pace"
	"github.com/ackwire/ackwire/loadtest/system"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

const (
	heldType = "bench.hold" // on a lane without a processor
	heldLane = "bench"
	heldWait = 30 * time.Second // for a status that all sockets should get, and for an answer
	heldRun  = "ZX44SL23FUU65CEY54T6DIGHNK"
)

// heldJobs are running jobs without a processor: the benchmark itself writes their events, so that only the measured
// parts are between an event and the sockets. Socket i watches job i, and all sockets watch the shared one.
type heldJobs struct {
	client *kgo.Client
	status string // the topic
	ids    []string
	shared string

	sockets *rawSockets
	answers chan string // to requests to the gateway, one at a time

	seq    int64 // of the last change; owned by changes
	turn   atomic.Pointer[turnOfChanges]
	seen   []atomic.Int64 // statuses, by socket
	length atomic.Int64   // of the last status
}

// turnOfChanges has the times at which each change was durable and was seen, in Unix nanoseconds.
type turnOfChanges struct {
	first int64 // the sequence number of at[0]
	at    []changeTimes
}

type changeTimes struct{ durable, seen atomic.Int64 }

// holdJobs submits the jobs, makes the sockets watch them and begins a run of each.
func holdJobs(
	ctx context.Context, sys *system.System, gateway string, n int, log *slog.Logger,
) (_ *heldJobs, err error) {
	names := topic.Names{Prefix: "ackwire."}
	h := &heldJobs{
		status: names.Status(), ids: make([]string, n), answers: make(chan string, 1),
		seen: make([]atomic.Int64, n),
	}
	if h.client, err = sys.Kafka.NewClient(service.OS(log),
		"bench-edge", kgo.ConsumeTopics(names.Requests(heldLane))); err != nil {
		return nil, err
	}
	if h.sockets, err = openRaw(ctx, gateway, n, h.heard); err != nil {
		h.client.Close()
		return nil, err
	}
	if err := h.begin(ctx); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *heldJobs) close() {
	h.sockets.close()
	h.client.Close()
}

var (
	statusFrame = []byte(`{"type":"status"`)
	current     = []byte(`"current":`)
)

// heard handles a frame that socket i has received.
func (h *heldJobs) heard(i int, text []byte) {
	if !bytes.HasPrefix(text, statusFrame) {
		if !bytes.HasPrefix(text, []byte(`{"type":"welcome"`)) {
			h.answers <- string(text)
		}
		return
	}
	h.seen[i].Add(1)
	h.length.Store(int64(len(text)))
	turn := h.turn.Load()
	_, after, ok := bytes.Cut(text, current)
	if turn == nil || !ok {
		return
	}
	var seq int64
	for _, c := range after {
		if c < '0' || c > '9' {
			break
		}
		seq = 10*seq + int64(c-'0')
	}
	if at := seq - turn.first; at >= 0 && at < int64(len(turn.at)) {
		turn.at[at].seen.Store(time.Now().UnixNano())
	}
}

// frameBytes returns the size of a status with its frame header.
func (h *heldJobs) frameBytes() int { return int(h.length.Load()) + 4 }

// ask sends a frame on socket i and returns the answer.
func (h *heldJobs) ask(ctx context.Context, i int, text, want string) (string, error) {
	return h.sockets.all[i].ask(ctx, h.answers, text, want)
}

func (h *heldJobs) begin(ctx context.Context) error {
	submit := func(i int, more string) (string, error) {
		answer, err := h.ask(ctx, i, `{"type":"submit","id":"1","job":"`+heldType+`","payload":1`+more+`}`, "ack")
		if err != nil {
			return "", fmt.Errorf("submit: %w", err)
		}
		var ack struct {
			JobID string `json:"jobId"`
		}
		err = json.Unmarshal([]byte(answer), &ack)
		return ack.JobID, err
	}
	var err error
	if h.shared, err = submit(0, `,"watch":false`); err != nil {
		return err
	}
	for i := range h.ids {
		if h.ids[i], err = submit(i, ""); err != nil {
			return err
		}
		if _, err := h.ask(ctx, i, `{"type":"subscribe","id":"2","jobs":[{"jobId":"`+h.shared+`"}]}`,
			"subscribed"); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
	}
	return h.claim(ctx)
}

// claim begins a run of each job, as a worker does that has read its request.
func (h *heldJobs) claim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heldWait)
	defer cancel()
	for left := len(h.ids) + 1; left > 0; {
		fetches := h.client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d requests did not come: %w", left, err)
		}
		for r := range fetches.RecordsAll() {
			headers := make([]topic.Header, len(r.Headers))
			for i, x := range r.Headers {
				headers[i] = topic.Header(x)
			}
			q, err := topic.ParseRequest(string(r.Key), headers)
			if err != nil {
				return err
			}
			if err := h.append(ctx, &event.Event{
				Type: event.Claimed, JobID: q.JobID, Job: q.Job, Lane: q.Lane, Tenant: q.Tenant, PayloadHash: q.PayloadHash,
				Policy:   &q.Policy,
				Request:  &event.Position{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset},
				Dispatch: 1, Run: heldRun, Worker: "bench", NoGrant: true,
			}, nil); err != nil {
				return err
			}
			left--
		}
	}
	return nil
}

// append writes an event. If done is not nil, it does not wait for the outcome.
func (h *heldJobs) append(ctx context.Context, e *event.Event, done func(error)) error {
	value, err := event.Encode(e)
	if err != nil {
		return err
	}
	r := &kgo.Record{Topic: h.status, Key: []byte(e.JobID), Value: value}
	if done == nil {
		return kafka.ProduceSync(ctx, h.client, r)
	}
	kafka.Produce(ctx, h.client, r, func(_ *kgo.Record, err error) { done(err) })
	return nil
}

// progress changes a job.
func (h *heldJobs) progress(ctx context.Context, jobID string, seq int64, done func(error)) error {
	return h.append(ctx, &event.Event{Type: event.Progress, JobID: jobID, Dispatch: 1, Run: heldRun, Worker: "bench",
		Progress: &job.Progress{Percent: 40, Message: "rendering the pages of the report", Current: seq}}, done)
}

// change changes one job after the other for a time, and returns how many statuses were seen.
func (h *heldJobs) change(ctx context.Context, rate float64, d time.Duration, into *measure.Latencies) (int64, error) {
	turn := &turnOfChanges{first: h.seq + 1, at: make([]changeTimes, int(rate*d.Seconds()))}
	h.turn.Store(turn)
	seen, err := h.changes(ctx, rate, d, 1, func(i int) string { return h.ids[i%len(h.ids)] },
		func(i int) { turn.at[i].durable.Store(time.Now().UnixNano()) })
	for i := range turn.at {
		// A status may be seen before the producer learns that its event is durable.
		if at := &turn.at[i]; err == nil && at.seen.Load() > 0 {
			into.Record(max(time.Duration(at.seen.Load()-at.durable.Load()), 0), nil)
		}
	}
	return seen, err
}

// changeShared changes the shared job for a time, and returns how many statuses were seen.
func (h *heldJobs) changeShared(ctx context.Context, rate float64, d time.Duration) (int64, error) {
	return h.changes(ctx, rate, d, len(h.seen), func(int) string { return h.shared }, func(int) {})
}

// changes writes changes of jobs, waits until they are seen and returns how many statuses were seen. durable is called
// when a change is durable.
func (h *heldJobs) changes(
	ctx context.Context, rate float64, d time.Duration, watchers int, jobID func(i int) string, durable func(i int),
) (int64, error) {
	first, before, written := h.seq+1, h.count(), measure.NewLatencies()
	pace.OpenLoop(ctx, rate, d, written, func(ctx context.Context, i int) error {
		done := make(chan error, 1)
		if err := h.progress(ctx, jobID(i), first+int64(i), func(err error) {
			durable(i)
			done <- err
		}); err != nil {
			return err
		}
		return <-done
	})
	n, failed := written.Counts()
	h.seq += n + int64(failed)
	if failed > 0 {
		return 0, fmt.Errorf("%d events were not written", failed)
	}
	err := h.wait(ctx, before+n*int64(watchers))
	return h.count() - before, err
}

func (h *heldJobs) count() (n int64) {
	for i := range h.seen {
		n += h.seen[i].Load()
	}
	return n
}

// wait returns when that many statuses were seen, or when no more come: on an overloaded machine some are conflated.
func (h *heldJobs) wait(ctx context.Context, want int64) error {
	for last, quiet := int64(-1), 0; quiet < 10; quiet++ {
		n := h.count()
		if n >= want {
			return nil
		}
		if n != last {
			last, quiet = n, 0
		}
		if !pause.For(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// watchAll opens one more socket that watches all jobs, and reads or stalls.
func (h *heldJobs) watchAll(ctx context.Context, gateway string, reads bool) (leave func(), err error) {
	s, err := handshake(ctx, gateway, "")
	if err != nil {
		return nil, err
	}
	var ended sync.WaitGroup
	leave = func() { _ = s.conn.Close(); ended.Wait() }
	ids := h.ids[:min(len(h.ids), frame.MaxSubscriptions)]
	refs := make([]string, len(ids))
	for i, id := range ids {
		refs[i] = `{"jobId":` + strconv.Quote(id) + `}`
	}
	err = s.send(`{"type":"subscribe","id":"3","jobs":[` + strings.Join(refs, ",") + `]}`)
	for range len(ids) + 2 { // welcome, subscribed, and a status of each
		if err == nil {
			_, err = s.next(nil)
		}
	}
	if err != nil {
		leave()
		return nil, fmt.Errorf("watch all: %w", err)
	}
	if reads {
		ended.Go(func() {
			for buf := []byte(nil); ; {
				text, err := s.next(buf)
				if err != nil {
					return
				}
				buf = text
			}
		})
	}
	return leave, nil
}
