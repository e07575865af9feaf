package ackwiretest_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// page returns an HTTP client, as a web page would use one. Its connections end with the test.
func page(t *testing.T, srv *ackwiretest.Server) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: srv.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// A server with a file of job types refuses the same submits as a real server with that file.
func TestJobTypes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobtypes.yaml")
	err := os.WriteFile(file, []byte(`
types:
  order:
    attempts: 2
    maxPayload: 64
    schema: {type: object, properties: {n: {type: integer}}, required: [n]}
    resultSchema: {type: string}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	types, err := jobtypes.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	clients(t, func(t *testing.T, srv *ackwiretest.Server, client ackwire.Submitter) {
		srv.JobTypes(types)
		ctx := within(t, time.Minute)
		for _, c := range []struct {
			what, jobType string
			payload       any
			code          code.Code
			pointer       string
		}{
			{"an unfit payload", "order", map[string]string{"n": "one"}, code.ValidationFailed, "/n"},
			{"a large one", "order", map[string]string{"text": strings.Repeat("x", 64)}, code.PayloadTooLarge, ""},
			{"another type", "other", 1, code.UnknownJobType, ""},
		} {
			_, err := client.Submit(ctx, c.jobType, c.payload)
			e, ok := errors.AsType[*ackwire.Error](err)
			if !ok || e.Code != c.code || c.pointer != "" && (len(e.Errors) != 1 || e.Errors[0].Pointer != c.pointer) {
				t.Errorf("%s: %#v", c.what, err)
			}
		}
		for _, c := range []struct {
			result any
			state  job.State
			code   string
		}{{"shipped", job.Completed, ""}, {7, job.Failed, job.CodeInvalidResult}, {nil, job.Failed, job.CodeInvalidResult}} {
			j, err := client.Submit(ctx, "order", map[string]int{"n": 1})
			if err != nil {
				t.Fatal(err)
			}
			at := srv.Next(t)
			at.FailAttempt("busy", "busy")
			synctest.Wait()
			srv.Next(t).Complete(c.result)
			st, err := j.Wait(ctx)
			if err != nil || st.State != c.state || st.MaxAttempts != 2 || c.code != "" && st.Error.Code != c.code {
				t.Errorf("the result %v: %+v, %v", c.result, st.Document, err)
			}
		}
	})
}

// events reads the events of a stream until it ends.
func events(t *testing.T, resp *http.Response, err error) []string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var told []string
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var doc struct{ Type, State string }
		if err := json.Unmarshal([]byte(data), &doc); err != nil {
			t.Fatal(err)
		}
		told = append(told, doc.Type+" "+doc.State)
	}
	if err := lines.Err(); err != nil {
		told = append(told, err.Error())
	}
	return told
}

// A job that was retried is followed only by a new stream. A stream that is cut ends without its last event.
func TestEventStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		client, web, ctx := srv.NewHTTP(t), page(t, srv), within(t, time.Hour)
		ids := make([]string, 2)
		for i, name := range []string{"a", "b"} {
			j, err := client.Submit(ctx, name, i)
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = j.ID
		}
		url := srv.URL() + "/v1/events?job=" + ids[0] + "&job=" + ids[1]
		told := make(chan []string, 1)
		go func() {
			resp, err := web.Get(url)
			told <- events(t, resp, err)
		}()
		synctest.Wait()
		a, b := srv.Next(t, "a"), srv.Next(t, "b")
		synctest.Wait()
		a.Fail("no", "no")
		synctest.Wait()
		if _, err := client.Job(ids[0]).Retry(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		srv.Next(t, "a").Complete(nil)
		synctest.Wait()
		b.Complete(nil)
		got := strings.Join(<-told, ", ")
		if want := "a pending, b pending, a processing, b processing, a failed, b completed"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		j, err := client.Submit(ctx, "c", 1)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			resp, err := web.Get(srv.URL() + "/v1/jobs/" + j.ID + "/events")
			told <- events(t, resp, err)
		}()
		synctest.Wait()
		srv.Cut()
		if got := strings.Join(<-told, ", "); got != "c pending, unexpected EOF" {
			t.Errorf("cut: %s", got)
		}
	})
}

// A page, which cannot send its token in a header of the handshake, uses a ticket, or a subprotocol with the token.
func TestSocketsOfPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		srv.RequireToken("good")
		web, ctx := page(t, srv), within(t, time.Hour)
		ticketFor := func(token string) (int, frame.Ticket) {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL()+"/v1/ws-tickets", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			resp, err := web.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var ticket frame.Ticket
			if err := json.NewDecoder(resp.Body).Decode(&ticket); err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, ticket
		}
		open := func(path string, protocols ...string) int {
			ws, resp, err := websocket.Dial(ctx, srv.URL()+path, &websocket.DialOptions{
				HTTPClient: web, Subprotocols: append([]string{frame.Protocol}, protocols...),
			})
			if err == nil {
				_ = ws.CloseNow()
			}
			return resp.StatusCode
		}
		if status, _ := ticketFor("bad"); status != http.StatusUnauthorized {
			t.Errorf("a ticket for a bad token: %d", status)
		}
		status, ticket := ticketFor("good")
		if status != http.StatusCreated {
			t.Fatalf("a ticket: %d", status)
		}
		_, late := ticketFor("good")
		_, elsewhere := ticketFor("good")
		resp, err := web.Get(srv.URL() + "/v1/jobs?ticket=" + elsewhere.Ticket)
		if err != nil {
			t.Fatal(err)
		}
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("a ticket is good for sockets only: %d", resp.StatusCode)
		}
		for _, c := range []struct {
			what, path, token string
			want              int
		}{
			{"a ticket", ticket.URL, "", http.StatusSwitchingProtocols},
			{"the same once more", ticket.URL, "", http.StatusUnauthorized},
			{"a used ticket, with a token", ticket.URL, "good", http.StatusUnauthorized},
			{"nothing", "/v1/ws", "", http.StatusUnauthorized},
			{"a token", "/v1/ws", "good", http.StatusSwitchingProtocols},
			{"a bad token", "/v1/ws", "bad", http.StatusUnauthorized},
		} {
			var protocols []string
			if c.token != "" {
				protocols = []string{frame.BearerProtocolPrefix + c.token}
			}
			if got := open(c.path, protocols...); got != c.want {
				t.Errorf("a socket with %s: %d, want %d", c.what, got, c.want)
			}
		}
		time.Sleep(30 * time.Second)
		if got := open(late.URL); got != http.StatusUnauthorized {
			t.Errorf("a ticket after its time: %d", got)
		}
	})
}
