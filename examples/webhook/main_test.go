package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/processortest"
	sender "github.com/ackwire/ackwire/processor/webhook"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tenant = "local"

var key, oldKey, otherKey = []byte(strings.Repeat("k", 32)), []byte(strings.Repeat("o", 32)),
	[]byte(strings.Repeat("x", 32))

// deliver delivers a webhook with Ackwire's own worker, and returns the error code if that failed.
func deliver(t *testing.T, url, id string, key []byte, state job.State) (failed string) {
	t.Helper()
	doc, err := json.Marshal(job.Document{JobID: "job-1", Type: "demo.echo", State: state})
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(webhook.Message{
		Type: webhook.EventType(state), Timestamp: time.Now(), Data: webhook.Data{Version: 3, Job: doc},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := processortest.Run(t.Context(), func(w *processor.Processor) {
		err := sender.Register(w, sender.Config{
			Keys: [][]byte{key}, Schemes: []string{"http"}, Ports: []uint16{0},
			Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		})
		if err != nil {
			t.Fatal(err)
		}
	}, processortest.Job{Type: topic.WebhookType, ID: id, Tenant: tenant, Payload: webhook.Request{URL: url, Body: body}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Event != event.Completed {
		return got.Failure.Code
	}
	return ""
}

// start starts the program; it stops with the test.
func start(t *testing.T, file string, secrets ...string) (url string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, l, file, secrets) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String() + "/hook"
}

// wantNotices checks on which deliveries the program has acted.
func wantNotices(t *testing.T, file, want string) {
	t.Helper()
	e, err := open(t.Context(), file, []string{webhook.Secret(key, tenant)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.db.Close()
	var got string
	err = e.db.QueryRowContext(t.Context(),
		`SELECT coalesce(group_concat(job_id || ' ' || state, ', '), '') FROM notices`).Scan(&got)
	if err != nil || got != want {
		t.Errorf("it acted on %q, %v, want %q", got, err, want)
	}
}

func TestWebhooks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hooks.db")
	url := start(t, file, webhook.Secret(key, tenant), webhook.Secret(oldKey, tenant))
	for _, d := range []struct {
		name, id string
		key      []byte
		state    job.State
		failed   string
	}{
		{"the first one", "hook-1", key, job.Processing, ""},
		{"the same again: its answer was lost", "hook-1", key, job.Processing, ""},
		{"one that is signed with the former key", "hook-2", oldKey, job.Completed, ""},
		{"the same again, with the new key", "hook-2", key, job.Completed, ""},
		{"one of a stranger", "hook-3", otherKey, job.Failed, sender.CodeRejected},
	} {
		if failed := deliver(t, url, d.id, d.key, d.state); failed != d.failed {
			t.Errorf("%s: the delivery failed with %q", d.name, failed)
		}
	}
	wantNotices(t, file, "job-1 processing, job-1 completed")
}

func TestWithoutSignature(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hooks.db")
	url := start(t, file, webhook.Secret(key, tenant))
	for body, status := range map[string]int{`{}`: http.StatusUnauthorized,
		strings.Repeat(" ", maxBody+1): http.StatusBadRequest} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != status {
			t.Errorf("%d bytes: %s, %v", len(body), resp.Status, err)
		}
	}
	wantNotices(t, file, "")
}

// A delivery that could not be processed is delivered again, and processed then.
func TestTheDatabaseIsAway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hooks.db")
	url := start(t, file, webhook.Secret(key, tenant))
	if failed := deliver(t, url, "hook-1", key, job.Completed); failed != "" {
		t.Fatal(failed)
	}
	e, err := open(t.Context(), file, []string{webhook.Secret(key, tenant)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.db.Close()
	rename := func(from, to string) {
		if _, err := e.db.ExecContext(t.Context(), `ALTER TABLE `+from+` RENAME TO `+to); err != nil {
			t.Fatal(err)
		}
	}
	rename("notices", "away")
	if failed := deliver(t, url, "hook-2", key, job.Failed); failed != sender.CodeRejected {
		t.Errorf("the delivery failed with %q", failed)
	}
	rename("away", "notices")
	if failed := deliver(t, url, "hook-2", key, job.Failed); failed != "" {
		t.Errorf("the next try failed with %q", failed)
	}
	wantNotices(t, file, "job-1 completed, job-1 failed")
}

func TestNoSecret(t *testing.T) {
	for _, secrets := range [][]string{nil, {"whsec_%"}} {
		if _, err := open(t.Context(), filepath.Join(t.TempDir(), "hooks.db"), secrets); err == nil {
			t.Errorf("it opens with the secrets %q", secrets)
		}
	}
}
