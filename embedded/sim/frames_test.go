package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

// TestMineByLongPolls follows all jobs of a subject, and each of them, by POST /v1/events with Prefer: wait, one poll
// after the other: no job is missed between two of them, a poll with news ends at once, and one without news lasts as
// long as was asked for, also right after a change that the client has.
func TestMineByLongPolls(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		transport := &http.Transport{DialContext: w.Net.Host("browser").Dial}
		defer transport.CloseIdleConnections()
		ended, cursor := map[string]bool{}, ""
		known := map[string]int64{}
		poll := func() (statuses int) {
			refs := []frame.JobRef{}
			for id, version := range known {
				refs = append(refs, frame.JobRef{JobID: id, After: &version})
			}
			body, err := json.Marshal(map[string]any{"mine": true, "after": cursor, "jobs": refs, "known": refs})
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.NewRequestWithContext(w.ctx(), "POST", fmt.Sprintf("http://localhost:%d/v1/events", gatewayPort),
				bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Prefer", "wait=20")
			resp, err := (&http.Client{Transport: transport}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			lines := bufio.NewScanner(resp.Body)
			for lines.Scan() {
				text, ok := strings.CutPrefix(lines.Text(), "data: ")
				if !ok {
					continue
				}
				var f struct {
					Type    frame.Type `json:"type"`
					Mine    bool       `json:"mine"`
					Reset   bool       `json:"reset"`
					Cursor  string     `json:"cursor"`
					Version int64      `json:"version"`
					Job     struct {
						JobID string `json:"jobId"`
						State string `json:"state"`
					} `json:"job"`
				}
				if err := json.Unmarshal([]byte(text), &f); err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				switch f.Type {
				case frame.Subscribed:
					if !f.Mine || f.Reset {
						t.Errorf("%s", text)
					}
				case frame.Cursor:
					cursor = f.Cursor
				case frame.Status:
					if f.Version > known[f.Job.JobID] {
						statuses++
					}
					if f.Version < known[f.Job.JobID] {
						t.Errorf("%s, which is told after %d", text, known[f.Job.JobID])
					}
					known[f.Job.JobID] = f.Version
					ended[f.Job.JobID] = ended[f.Job.JobID] || f.Job.State == "completed"
				}
			}
			if err := lines.Err(); err != nil {
				t.Errorf("the answer is not whole: %v", err)
			}
			return statuses
		}
		c := w.Dial()
		var jobs []string
		for round := range 4 {
			if round > 0 {
				jobs = append(jobs, w.Submit(c, "demo.echo", "1").ID)
			}
			poll()
			jobs = append(jobs, w.Submit(c, "demo.echo", "1").ID) // between two polls
		}
		missing := func() (n int) {
			for _, id := range jobs {
				if !ended[id] {
					n++
				}
			}
			return n
		}
		for range 5 {
			if missing() > 0 {
				poll()
			}
		}
		if n := missing(); n > 0 || cursor == "" {
			t.Errorf("%d of %d jobs were not told, cursor %q", n, len(jobs), cursor)
		}
		for n := 1; n > 0; {
			began := time.Now()
			n = poll()
			took := time.Since(began)
			if n > 0 && took > 500*time.Millisecond || n == 0 && took != 20*time.Second {
				t.Errorf("%d statuses after %s", n, took)
			}
		}
	})
}
