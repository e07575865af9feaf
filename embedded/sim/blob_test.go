package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// jobTypes writes a file of job types for the gateway and restarts it.
func (w *World) jobTypes(yaml string) {
	w.T.Helper()
	w.JobTypes = filepath.Join(w.T.TempDir(), "jobtypes.yaml")
	if err := os.WriteFile(w.JobTypes, []byte(yaml), 0o600); err != nil {
		w.T.Fatal(err)
	}
	w.Stop(w.gateway)
	w.StartGateway()
}

// TestLargePayloadsAndResults: they go through the blob store, and clients and workers see no difference.
func TestLargePayloadsAndResults(t *testing.T) {
	Run(t, func(w *World) {
		w.jobTypes("defaults: {lane: default, lease: 30s, retention: 1h}\ntypes:\n  demo.echo: {maxPayload: 3000000}\n")
		w.StartWorker(nil)
		c := w.Dial()
		large := fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("ä", 1_000_000))
		status, _, b := w.HTTP("POST", "/v1/jobs", http.Header{"Content-Type": {"application/json"}},
			fmt.Appendf(nil, `{"job":"demo.echo","payload":%s}`, large))
		var ack frame.AckFrame
		if err := json.Unmarshal(b, &ack); err != nil || status != http.StatusAccepted {
			t.Fatalf("submit: %d %s", status, b)
		}
		doc := w.WantEnd("a payload of 2 MB comes back", c, ack.JobID, job.Completed, 1)
		if doc.Result != nil || doc.ResultURL != "/v1/jobs/"+ack.JobID+"/result" {
			t.Fatalf("result %.50s at %q", doc.Result, doc.ResultURL)
		}
		for _, r := range w.records(w.Names.Requests("default")) {
			if len(r.Value) != 0 {
				t.Errorf("%d bytes are in Kafka", len(r.Value))
			}
		}
		status, header, b := w.HTTP("GET", doc.ResultURL, nil, nil)
		if status != http.StatusOK || !bytes.Equal(b, large) || header.Get("Content-Type") != "application/json" {
			t.Errorf("result: %d, %d bytes of %s", status, len(b), header.Get("Content-Type"))
		}
		status, header, b = w.HTTP("GET", doc.ResultURL, http.Header{"Range": {"bytes=10-13"}}, nil)
		if status != http.StatusPartialContent || !bytes.Equal(b, large[10:14]) {
			t.Errorf("a range: %d %q %v", status, b, header)
		}
		if status, _, _ := w.HTTP("HEAD", doc.ResultURL, nil, nil); status != http.StatusOK {
			t.Errorf("HEAD: %d", status)
		}
		w.order("retry", ack.JobID, "retrying")
		if again := w.WantEnd("the payload is kept", c, ack.JobID, job.Completed, 2); again.ResultURL == "" {
			t.Errorf("again: %+v", again)
		}
		if status, _, b := w.HTTP("POST", "/v1/jobs", http.Header{"Content-Type": {"application/json"}},
			fmt.Appendf(nil, `{"job":"demo.echo","payload":%q}`,
				strings.Repeat("x", 3_000_000))); status != http.StatusRequestEntityTooLarge {
			t.Errorf("above the type's limit: %d %.100s", status, b)
		}
	})
}

func TestAReportIsAFile(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		j := w.Submit(c, "report.generate", `{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"}`)
		doc := w.WantEnd("a report", c, j.ID, job.Completed, 1)
		if string(doc.Result) != `{"rows":31}` {
			t.Errorf("result %s", doc.Result)
		}
		status, header, b := w.HTTP("GET", doc.ResultURL, nil, nil)
		if status != 200 || bytes.Count(b, []byte("\n")) != 32 || !strings.Contains(header.Get("Content-Disposition"),
			"sales-2026-01-01-2026-01-31.csv") {
			t.Errorf("%d %v %.100s", status, header, b)
		}
		small := w.Submit(c, "demo.echo", `{"n":1}`)
		w.WantEnd("a small one", c, small.ID, job.Completed, 1)
		if status, _, b := w.HTTP("GET", "/v1/jobs/"+small.ID+"/result", nil, nil); status != 200 || string(b) != `{"n":1}` {
			t.Errorf("an inline result: %d %s", status, b)
		}
		failed := w.Submit(c, "demo.fail", `{}`)
		w.WantEnd("a failure", c, failed.ID, job.Failed, 1)
		if status, _, b := w.HTTP("GET", "/v1/jobs/"+failed.ID+"/result", nil, nil); status != 409 {
			t.Errorf("the result of a failed job: %d %s", status, b)
		}
		if status, _, _ := w.HTTP("GET", "/v1/jobs/0198c0de-0000-7000-8000-000000000001/result", nil, nil); status != 404 {
			t.Errorf("the result of no job: %d", status)
		}
	})
}
