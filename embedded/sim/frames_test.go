package sim

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

// TestMineByLongPolls follows all jobs of a subject by POST /v1/events with Prefer: wait, one poll after the other: no
// job is missed between two of them, and a poll without news lasts as long as was asked for.
func TestMineByLongPolls(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		transport := &http.Transport{DialContext: w.Net.Host("browser").Dial}
		defer transport.CloseIdleConnections()
		ended, cursor := map[string]bool{}, ""
		poll := func() (statuses int) {
			body := fmt.Sprintf(`{"mine":true,"after":%q,"jobs":[]}`, cursor)
			r, err := http.NewRequestWithContext(w.ctx(), "POST", fmt.Sprintf("http://localhost:%d/v1/events", gatewayPort),
				strings.NewReader(body))
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
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				text, ok := strings.CutPrefix(lines.Text(), "data: ")
				if !ok {
					continue
				}
				var f struct {
					Type   frame.Type `json:"type"`
					Mine   bool       `json:"mine"`
					Reset  bool       `json:"reset"`
					Cursor string     `json:"cursor"`
					Job    struct {
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
					statuses++
					if !f.Mine {
						t.Errorf("%s", text)
					}
					ended[f.Job.JobID] = ended[f.Job.JobID] || f.Job.State == "completed"
				}
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
		time.Sleep(5 * time.Minute)
		poll() // from the old cursor on: what it overlaps comes again
		began := time.Now()
		if n := poll(); n != 0 || time.Since(began) < 20*time.Second {
			t.Errorf("a poll without news: %d statuses after %s", n, time.Since(began))
		}
	})
}
