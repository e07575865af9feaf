package sim

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// logged is one event of a job and where it lies.
type logged struct {
	event.Event
	offset int64
}

// records reads a topic from its beginning.
func (w *World) records(topicName string) []*kgo.Record {
	w.T.Helper()
	cl, err := w.kafka().NewClient(w.env("reader", prometheus.NewRegistry()), "reader",
		kgo.ConsumeTopics(topicName), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		w.T.Fatal(err)
	}
	defer cl.Close()
	var all []*kgo.Record
	for {
		ctx, cancel := context.WithTimeout(w.ctx(), 2*time.Second)
		fetches := cl.PollFetches(ctx)
		cancel()
		if fetches.NumRecords() == 0 {
			return all
		}
		all = append(all, fetches.Records()...)
	}
}

// log is a job's history.
func (w *World) log(jobID string) []logged {
	w.T.Helper()
	var all []logged
	for _, r := range w.records(w.Names.Status()) {
		if string(r.Key) == jobID {
			e, err := event.Decode(r.Value)
			if err != nil {
				w.T.Fatal(err)
			}
			all = append(all, logged{e, r.Offset})
		}
	}
	return all
}

// last is the job's last event of a type.
func (w *World) last(jobID string, t event.Type) logged {
	w.T.Helper()
	for _, e := range slices.Backward(w.log(jobID)) {
		if e.Type == t {
			return e
		}
	}
	w.T.Fatalf("job %s has no event %s", jobID, t)
	return logged{}
}

func (w *World) refused(reason string) float64 {
	return w.tracker.Count("ackwire_tracker_events_refused_total", reason)
}

// drop makes the broker ignore requests of a kind that match, until the returned function
// is called.
func (w *World) drop(key kmsg.Key, match func(kmsg.Request) bool) (stop func()) {
	dropping := true
	w.Cluster.ControlKey(key.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.Cluster.KeepControl()
		if dropping && match(r) {
			return nil, nil, true
		}
		return nil, nil, false
	})
	return func() { dropping = false }
}

// forgetCommits makes the broker forget a group's offsets at once, as it may when it crashes
// before they are replicated.
func (w *World) forgetCommits(group string) {
	w.Cluster.ControlKey(kmsg.OffsetCommit.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.Cluster.KeepControl()
		commit := r.(*kmsg.OffsetCommitRequest)
		if commit.Group != group {
			return nil, nil, false
		}
		response := commit.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, t := range commit.Topics {
			taken := kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
			for _, p := range t.Partitions {
				taken.Partitions = append(taken.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition})
			}
			response.Topics = append(response.Topics, taken)
		}
		return response, nil, true
	})
}

// duringRebalances is for tests whose clients commit while their group settles. Without the
// build tag franz-go then waits for a sync.Mutex, which stops a bubble's clock.
func duringRebalances(t *testing.T) {
	if !synctests {
		t.Skip("run with -tags synctests, as make test does")
	}
}

func TestARequestIsRedeliveredAfterARebalance(t *testing.T) {
	duringRebalances(t)
	Run(t, func(w *World) {
		var first, second Counter
		w.StartWorker(echoes(&first, time.Minute))
		w.forgetCommits(w.Names.ProcessorGroup("default"))
		c := w.Dial()
		var ids []string
		// Each partition has a job, so that whichever of them moves is delivered again.
		for used := map[int32]bool{}; len(used) < partitions; {
			id := w.Submit(c, "demo.echo", `1`).ID
			used[kafka.Partition(id, partitions)] = true
			ids = append(ids, id)
		}
		w.eventually("the first worker runs all", func() bool { return first.Load() == int64(len(ids)) })
		w.StartWorker(echoes(&second, time.Minute))
		for _, id := range ids {
			w.WantEnd("a redelivered request", c, id, job.Completed, 1)
		}
		if n := first.Load() + second.Load(); n != int64(len(ids)) {
			t.Errorf("%d jobs were run %d times (%d and %d)", len(ids), n, first.Load(), second.Load())
		}
		if !slices.ContainsFunc(ids, func(id string) bool { return len(w.claimants(id)) == 2 }) {
			t.Error("no job was claimed by both workers: the test proves nothing")
		}
	})
}

// claimants are the workers that claimed a job.
func (w *World) claimants(id string) map[string]bool {
	w.T.Helper()
	all := map[string]bool{}
	for _, e := range w.log(id) {
		if e.Type == event.Claimed {
			all[e.Worker] = true
		}
	}
	return all
}

func TestTheTrackerCrashesBeforeTheNextRequestIsDurable(t *testing.T) {
	Run(t, func(w *World) {
		c := w.Dial()
		h := w.handWrite()
		request := h.request()
		// The next attempt's request does not become durable, and the tracker dies.
		requests := w.Cluster.TopicInfo(request.Topic).TopicID
		stop := w.drop(kmsg.Produce, func(r kmsg.Request) bool {
			return slices.ContainsFunc(r.(*kmsg.ProduceRequest).Topics, func(t kmsg.ProduceRequestTopic) bool {
				return t.Topic == request.Topic || t.TopicID == requests
			})
		})
		h.claimedAndFailed(request)
		time.Sleep(2 * time.Second)
		if n := len(w.log(h.id)); n != 3 {
			t.Errorf("%d events: requeued was said of a request that is not durable", n)
		}
		w.CrashTracker()
		stop()
		w.StartTracker()
		w.StartWorker(nil)
		w.WantEnd("the next attempt is made after all", c, h.id, job.Completed, 2)
	})
}

// claimedAndFailed makes it a job whose first attempt has failed, retryably.
func (h handWritten) claimedAndFailed(request event.Position) {
	h.w.T.Helper()
	h.accepted(request)
	h.w.Event(&event.Event{Type: event.Claimed, JobID: h.id, Job: "demo.echo", Lane: "default", Tenant: Tenant,
		PayloadHash: "sha256:00", Policy: &policy, Request: &request, Dispatch: 1, Run: "gone", Worker: "gone"})
	h.w.Event(&event.Event{Type: event.Failed, JobID: h.id, Dispatch: 1, Run: "gone", Worker: "gone",
		Error: &event.Failure{Error: job.Error{Code: "x", Retryable: true}}})
}

func TestTheTrackerCrashesBetweenTheNextRequestAndRequeued(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		c := w.Dial()
		// The predecessor's request of dispatch 2 is durable; its requeued is not.
		h := w.handWrite()
		first := h.request()
		h.claimedAndFailed(first)
		h.dispatched(2)
		w.CrashTracker()
		w.StartTracker()
		w.eventually("the next tracker makes another one", func() bool {
			return len(w.records(w.Names.Requests("default"))) == 3
		})
		w.StartWorker(echoes(&runs, time.Second))
		w.WantEnd("one of the two is run", c, h.id, job.Completed, 2)
		time.Sleep(time.Minute)
		if runs.Load() != 1 {
			t.Errorf("%d runs, want 1", runs.Load())
		}
	})
}

func TestAnExpiryAfterARenewalChangesNothing(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		j := w.Submit(c, "demo.sleep", `{"seconds":60,"steps":30}`)
		time.Sleep(5 * time.Second)
		claimed := w.last(j.ID, event.Claimed)
		if w.last(j.ID, event.Progress).offset <= claimed.offset {
			t.Fatal("there was no renewal")
		}
		w.Event(&event.Event{Type: event.LeaseExpired, JobID: j.ID, Dispatch: 1, Run: claimed.Run, Renewal: &claimed.offset})
		w.WantEnd("a stale timer's expiry", c, j.ID, job.Completed, 1)
		if w.refused("stale_renewal") == 0 {
			t.Error("the expiry was not counted as refused")
		}
	})
}

func TestAClaimFromAnotherRequestIsRefused(t *testing.T) {
	Run(t, func(w *World) {
		c := w.Dial()
		h := w.handWrite()
		request := h.request()
		h.accepted(request)
		other := request
		other.Offset += 7
		w.Event(&event.Event{Type: event.Claimed, JobID: h.id, Job: "demo.echo", Lane: "default", Tenant: Tenant,
			PayloadHash: "sha256:00", Policy: &policy, Request: &other, Dispatch: 1, Run: "ghost", Worker: "ghost"})
		w.eventually("it is refused and counted", func() bool { return w.refused("wrong_request") == 1 })
		w.StartWorker(nil)
		w.WantEnd("the job's own request is run", c, h.id, job.Completed, 1)
	})
}

func TestAClaimSaidTwiceIsTaken(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		w.StartWorker(echoes(&runs, 10*time.Second))
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `1`)
		w.eventually("the job runs", func() bool { return runs.Load() == 1 })
		claimed := w.last(j.ID, event.Claimed)
		w.Event(&claimed.Event)
		w.WantEnd("the same run says it again", c, j.ID, job.Completed, 1)
		if n := w.tracker.Count("ackwire_tracker_events_refused_total"); n != 0 || runs.Load() != 1 {
			t.Errorf("%v events were refused, %d runs", n, runs.Load())
		}
	})
}

// TestGarbageInEveryTopic: records that cannot be read are copied to dead with the reason, and
// everything goes on.
func TestGarbageInEveryTopic(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		garbage := [][]byte{nil, {}, {0}, {0xff, 0xfe}, []byte("hello"), []byte("[]"), []byte("7"), []byte(`{"v":1}`),
			[]byte(`{"v":99,"type":"accepted","jobId":"x"}`),
			[]byte(`{"v":1,"type":"exploded","jobId":"x"}`), []byte(`{"v":1,"type":"completed","jobId":"x"}`), []byte(
				`{"v":"1","type":7,"jobId":{}}`)}
		h := w.handWrite()
		r := topic.Request{
			JobID: h.id, Job: "demo.echo", Lane: "default", Dispatch: 1, Attempt: 1, Tenant: Tenant,
			PayloadHash: "sha256:00", Policy: policy, Time: time.Now(),
		}
		good, err := r.Headers()
		if err != nil {
			t.Fatal(err)
		}
		garbageRequests := 0
		for p := range int32(partitions) {
			for _, value := range garbage {
				for _, name := range []string{w.Names.Status(), w.Names.Control(), w.Names.Requests("default"), w.Names.Deferred(),
					w.Names.Dead()} {
					if name == w.Names.Dead() && p > 0 {
						continue
					}
					w.Produce(&kgo.Record{Topic: name, Partition: p, Key: []byte("x"), Value: value})
				}
				garbageRequests++
			}
		}
		// A request that lacks one header, and one whose version is not known.
		for i := range good {
			var headers []kgo.RecordHeader
			for k, header := range good {
				switch {
				case k == i && header.Key == topic.HeaderVersion:
					headers = append(headers, kgo.RecordHeader{Key: header.Key, Value: []byte("99")})
				case k != i:
					headers = append(headers, kgo.RecordHeader(header))
				}
			}
			w.Produce(&kgo.Record{
				Topic: w.Names.Requests("default"), Partition: int32(i % partitions), Key: []byte(h.id),
				Value: []byte(`1`), Headers: headers,
			})
		}
		for i := range 20 {
			j := w.Submit(c, "demo.echo", fmt.Sprint(i))
			w.WantEnd("a job behind the garbage", c, j.ID, job.Completed, 1)
		}
		reasons := map[string]int{}
		for _, r := range w.records(w.Names.Dead()) {
			for _, header := range r.Headers {
				if header.Key == topic.HeaderDeadReason {
					reasons[string(header.Value)]++
				}
			}
		}
		if n := reasons["no_value"] + reasons["undecodable"] + reasons["unknown_version"]; n < len(garbage)*partitions {
			t.Errorf("%d dead letters for %d garbage events: %v", n, len(garbage)*partitions, reasons)
		}
		if reasons["bad_request"] < garbageRequests {
			t.Errorf("of %d garbage requests the dead letters are %v", garbageRequests, reasons)
		}
	})
}
