package shard

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/webhook"
)

func callback(states ...job.State) mod {
	return func(e *event.Event) { e.CallbackURL, e.CallbackEvents = "https://example.com/hook?a=1&b=<2>", states }
}

func (w *world) webhooks() []*kgo.Record { return w.log(names.Requests(topic.WebhookLane)) }

func TestTheEndOfAJobBecomesAWebhook(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.append(id, event.Accepted, of(tenant, "ann"), callback())
		w.append(id, event.Claimed)
		synctest.Wait()
		if n := len(w.webhooks()); n != 0 {
			t.Fatalf("%d webhooks before the end", n)
		}
		ended := w.append(id, event.Completed)
		synctest.Wait()
		requests := w.webhooks()
		if len(requests) != 1 {
			t.Fatalf("%d webhooks", len(requests))
		}
		r := parse(t, requests[0])
		if r.Job != topic.WebhookType || r.Lane != topic.WebhookLane || r.Tenant != tenant || r.Subject != "ann" ||
			r.Policy.Validate() != nil || r.Policy.Retention.Duration() != retention {
			t.Fatalf("the request is %+v", r)
		}
		var sent webhook.Request
		var m webhook.Message
		if err := errors.Join(json.Unmarshal(requests[0].Value, &sent), json.Unmarshal(sent.Body, &m)); err != nil {
			t.Fatal(err)
		}
		snap, err := w.get(Query{JobID: id, Scope: Scope{Tenant: tenant}})
		if err != nil {
			t.Fatal(err)
		}
		if sent.URL != "https://example.com/hook?a=1&b=<2>" || m.Type != "job.completed" || m.Data.Version != ended ||
			string(m.Data.Job) != string(snap.Job.Document) {
			t.Fatalf("it carries %s", requests[0].Value)
		}
		queued := w.wantAppended("after its job is durable", event.CallbackQueued, 1)[0]
		if queued.Delivery.JobID != r.JobID || queued.Delivery.Version != ended || queued.Delivery.State != job.Completed {
			t.Fatalf("said %+v", queued.Delivery)
		}
		if e := w.wantAppended("the webhook is a job of the same user", event.Accepted, 2)[1]; e.Subject != "ann" {
			t.Fatalf("it is a job of %q", e.Subject)
		}
		if len(snap.Deliveries) != 1 || snap.Deliveries[0] != *queued.Delivery {
			t.Fatalf("the job remembers %+v", snap.Deliveries)
		}
		w.pass(time.Minute)
		if n := len(w.webhooks()); n != 1 {
			t.Fatalf("%d webhooks a minute later", n)
		}
	})
}

// TestAWebhookSurvivesACrash takes Kafka away when a job ends, and then the tracker's power,
// wherever the checkpoint stood: the webhook is made once Kafka is back, with one ID however
// often it is produced.
func TestAWebhookSurvivesACrash(t *testing.T) {
	for _, tc := range []struct {
		what    string
		lost    event.Type // the event whose produce fails; "" is the request itself
		landed  bool       // though it failed, it is there
		elapsed time.Duration
	}{
		{"before the checkpoint", "", false, 0},
		{"after the checkpoint", "", false, time.Minute},
		{"the request landed", "", true, time.Minute},
		{"accepted was lost", event.Accepted, false, time.Minute},
		{"callbackQueued was lost", event.CallbackQueued, false, time.Minute},
	} {
		t.Run(tc.what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				defer func() { w.end() }()
				id := jobIDs(1)[0]
				w.append(id, event.Accepted, callback())
				w.append(id, event.Claimed)
				away := errors.New("no broker")
				w.set(func() {
					w.fault = func(rec *kgo.Record) (bool, error) {
						e, err := event.Decode(rec.Value)
						if rec.Topic == names.Requests(topic.WebhookLane) && tc.lost == "" || err == nil && tc.lost != "" &&
							e.Type == tc.lost {
							return !tc.landed, away
						}
						return false, nil
					}
				})
				w.append(id, event.Completed)
				w.pass(tc.elapsed)
				w.wantAppended("it is not durable", event.CallbackQueued, 0)
				w.crash(50, rand.New(rand.NewPCG(1, 1)))
				w.pass(time.Minute)
				w.wantAppended("it is not durable yet", event.CallbackQueued, 0)
				w.set(func() { w.fault = nil })
				w.pass(time.Minute)
				w.wantAppended("Kafka is back", event.CallbackQueued, 1)
				ids := map[string]bool{}
				for _, rec := range w.webhooks() {
					ids[string(rec.Key)] = true
				}
				if len(ids) != 1 {
					t.Fatalf("webhooks have %d IDs", len(ids))
				}
				w.pass(2 * retention)
				w.wantAppended("and then it expires", event.Expired, 1)
			})
		})
	}
}

func TestManyWebhooksTakeTurns(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(3 * maxCallbacks)
		for _, id := range ids {
			w.append(id, event.Claimed, callback(job.Processing, job.Completed))
			w.append(id, event.Completed)
		}
		w.pass(time.Minute)
		last := map[string]int64{}
		for _, e := range w.appended(event.CallbackQueued) {
			last[e.JobID] = e.Delivery.Version
		}
		for _, id := range ids {
			snap, err := w.get(Query{JobID: id, Scope: Scope{Tenant: tenant}})
			if err != nil || last[id] == 0 || snap.Deliveries[len(snap.Deliveries)-1].State != job.Completed {
				t.Fatalf("%s: %v, told %+v", id, err, snap.Deliveries)
			}
		}
	})
}
