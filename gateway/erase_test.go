package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestErase removes a job and its blobs, once; a job that has not ended stays.
func TestErase(t *testing.T) {
	url, err := blobs.Dir(t.TempDir() + "/blobs")
	if err != nil {
		t.Fatal(err)
	}
	inWorld(t, func(c *Config) { tokensOnly(c); c.Blobs.URL = url }, func(t *testing.T, w *world) {
		store, err := blobs.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = store.Close() }()
		mine, others := event.ResultPrefix(jobA)+"1", event.ResultPrefix(jobB)+"1"
		for _, key := range []string{mine, others} {
			if err := store.Put(t.Context(), key, "text/plain", "", strings.NewReader("x")); err != nil {
				t.Fatal(err)
			}
		}
		w.tracker.set("acme", jobA, 7, job.Processing)
		w.orders("acme")
		path, who := "/v1/jobs/"+jobA, w.header("acme", testSubject, "read", "erase")
		if a := w.http("DELETE", path, w.header("acme", testSubject), nil); a.code != "forbidden" {
			t.Errorf("without the permission: %d %s", a.status, a.body)
		}
		if a := w.http("DELETE", path, w.header("acme", "bob", "read", "erase"), nil); a.code != "not_found" {
			t.Errorf("by another user: %d %s", a.status, a.body)
		}
		if a := w.http("DELETE", path, who, nil); a.code != "invalid_state" {
			t.Errorf("a job that runs: %d %s", a.status, a.body)
		}
		w.tracker.set("acme", jobA, 8, job.Completed)
		if a := w.http("DELETE", path, who, nil); a.status != 204 || a.body != "" {
			t.Errorf("%d %s", a.status, a.body)
		}
		for _, method := range []string{"GET", "DELETE"} {
			if a := w.http(method, path, who, nil); a.code != "not_found" {
				t.Errorf("%s afterwards: %d %s", method, a.status, a.body)
			}
		}
		if _, err := store.Get(t.Context(), mine, 10); err == nil {
			t.Error("its result is there")
		}
		if _, err := store.Get(t.Context(), others, 10); err != nil {
			t.Errorf("another job's result: %v", err)
		}
	})
}

// TestEraseWhileKafkaIsAway: the order is refused, and may be sent again.
func TestEraseWhileKafkaIsAway(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Completed)
		w.cluster.Close()
		began := time.Now()
		a := w.http("DELETE", "/v1/jobs/"+jobA, w.header("local", testSubject, "read", "erase"), nil)
		if a.code != "unavailable" && a.code != "indeterminate" || a.header.Get("Retry-After") == "" {
			t.Errorf("%d %s after %s", a.status, a.body, time.Since(began))
		}
		if got := w.http("GET", "/v1/jobs/"+jobA, w.header("local", testSubject), nil); got.status != 200 {
			t.Errorf("the job is gone: %d %s", got.status, got.body)
		}
	})
}
