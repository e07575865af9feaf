package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestACursorBringsWhatWasMissed: over a socket and an event stream that follow all jobs of their
// subject, and were away.
func TestACursorBringsWhatWasMissed(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		transport := &http.Transport{DialContext: w.Net.Host("browser").Dial}
		defer transport.CloseIdleConnections()
		hc := &http.Client{Transport: transport}
		other := w.Dial()
		run := func(n int) (ids []string) {
			for range n {
				ids = append(ids, w.Submit(other, "demo.echo", "1", ackwire.NoWatch()).ID)
			}
			time.Sleep(5 * time.Second)
			return ids
		}
		// follow reads until each of these jobs was told to have ended, and a cursor came after.
		follow := func(after string, ids []string, meanwhile func()) (cursor string, reset bool) {
			ws, _, err := websocket.Dial(w.ctx(), fmt.Sprintf("http://localhost:%d/v1/ws", gatewayPort),
				&websocket.DialOptions{Subprotocols: []string{frame.Protocol}, HTTPClient: hc})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ws.CloseNow() }()
			ask := fmt.Sprintf(`{"type":"subscribe","id":"1","mine":true,"after":%q}`, after)
			if err := ws.Write(w.ctx(), websocket.MessageText, []byte(ask)); err != nil {
				t.Fatal(err)
			}
			missing := map[string]bool{}
			for _, id := range ids {
				missing[id] = true
			}
			versions := map[string]int64{}
			for cursor == "" || len(missing) > 0 {
				ctx, cancel := context.WithTimeout(w.ctx(), time.Minute)
				_, b, err := ws.Read(ctx)
				cancel()
				if err != nil {
					t.Fatalf("%d of %d are missing: %v", len(missing), len(ids), err)
				}
				var f struct {
					Type, Cursor string
					Reset        bool
					Version      int64
					Job          job.Document
				}
				if err := json.Unmarshal(b, &f); err != nil {
					t.Fatal(err)
				}
				switch f.Type {
				case "subscribed":
					reset = f.Reset
					if meanwhile != nil {
						meanwhile()
					}
				case "cursor":
					cursor = f.Cursor
				case "status":
					cursor = ""
					if f.Version <= versions[f.Job.JobID] {
						t.Errorf("%s: version %d after %d", f.Job.JobID, f.Version, versions[f.Job.JobID])
					}
					versions[f.Job.JobID] = f.Version
					if f.Job.State.Terminal() {
						delete(missing, f.Job.JobID)
					}
				}
			}
			return cursor, reset
		}
		var live []string
		cursor, reset := follow("", nil, func() { live = run(5) })
		if reset {
			t.Error("no cursor is no wrong one")
		}
		time.Sleep(10 * time.Minute)
		missed := run(450)
		if cursor, reset = follow(cursor, missed, nil); reset {
			t.Error("its cursor was not taken")
		}
		if _, reset = follow("nonsense", nil, nil); !reset {
			t.Error("nonsense was taken as a cursor")
		}

		time.Sleep(10 * time.Minute)
		missed = run(20)
		r, err := http.NewRequestWithContext(w.ctx(), "GET", fmt.Sprintf("http://localhost:%d/v1/events?mine=true",
			gatewayPort), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Last-Event-ID", cursor)
		resp, err := hc.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		told, id := map[string]bool{}, ""
		for lines := bufio.NewScanner(resp.Body); (len(told) < len(missed) || id == "") && lines.Scan(); {
			line := lines.Text()
			if strings.HasPrefix(line, "id: ") {
				id = line
			}
			for _, job := range missed {
				if strings.HasPrefix(line, "data: ") && strings.Contains(line, job) {
					told[job] = true
				}
			}
			for _, job := range live {
				if strings.Contains(line, job) {
					t.Errorf("told what it knew: %s", line)
				}
			}
		}
		if len(told) != len(missed) || id == "" {
			t.Errorf("%d of %d, ID %q", len(told), len(missed), id)
		}
	})
}
