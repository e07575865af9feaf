package ackwiretest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// text reads a stream to its end, and counts the resets.
func text(ctx context.Context, j *ackwire.Job, name string, opts ...ackwire.StreamOption) (
	all string, resets int, err error,
) {
	for c, err := range j.Stream(ctx, name, opts...) {
		if err != nil {
			return all, resets, err
		}
		if c.Reset {
			all = ""
			resets++
		}
		all += c.Text
		for _, item := range c.Items {
			all += string(item) + "\n"
		}
	}
	return all, resets, nil
}

// TestStreamsSurviveCuts: a worker writes, is lost and runs again, while connections break all the time; both clients
// read exactly what the last run has written.
func TestStreamsSurviveCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := ackwiretest.New(t)
		long := strings.Repeat("wörter ", 20_000)
		s.Handle("write", func(_ context.Context, j *ackwiretest.Job) (any, error) {
			out := j.Stream("tokens")
			for i := 0; i < len(long); i += 797 {
				if _, err := io.WriteString(out, fmt.Sprint(j.Attempt, ":", i, " ")); err != nil {
					return nil, err
				}
				if err := j.Stream("rows").Send(i); err != nil {
					return nil, err
				}
				time.Sleep(20 * time.Millisecond)
				if j.Attempt == 1 && i > len(long)/2 {
					return nil, errors.New("lost")
				}
			}
			_, err := io.WriteString(out, long)
			return "done", errors.Join(err, j.Log(slog.LevelInfo, "written", "words", 20_000))
		})
		stop := make(chan struct{})
		cuts := make(chan struct{})
		go func() {
			defer close(cuts)
			for {
				select {
				case <-time.After(130 * time.Millisecond):
					s.Cut()
				case <-stop:
					return
				}
			}
		}()
		c, h := s.Dial(t), s.NewHTTP(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		j, err := c.Submit(ctx, "write", 1, ackwire.WithStreams("tokens"))
		if err != nil {
			t.Fatal(err)
		}
		type result struct {
			text   string
			resets int
			err    error
		}
		results := map[string]chan result{}
		for name, of := range map[string]*ackwire.Job{"submitted": j, "joined": c.Job(j.ID), "HTTP": h.Job(j.ID)} {
			results[name] = make(chan result, 1)
			go func() {
				got, resets, err := text(ctx, of, "tokens")
				results[name] <- result{got, resets, err}
			}()
		}
		for name, of := range results {
			r := <-of
			if r.err != nil || r.resets != 1 || !strings.HasPrefix(r.text, "2:0 2:797 ") || !strings.HasSuffix(r.text, long) ||
				strings.Contains(r.text, "1:0") {
				t.Errorf("%s: %d bytes that begin %.40q, %d resets, %v", name, len(r.text), r.text, r.resets, r.err)
			}
		}
		close(stop)
		<-cuts
		st, err := j.Wait(ctx)
		rows := job.StreamTotal{Kind: job.StreamJSON, Total: int64((len(long) + 796) / 797)}
		if err != nil || st.Streams["rows"] != rows {
			t.Errorf("%+v, %v", st.Streams, err)
		}
		list, err := h.Job(j.ID).Streams(ctx)
		if err != nil || list.Run != 2 || len(list.Streams) != 3 || list.Streams[0].Name != "log" || !list.Streams[2].Ended {
			t.Errorf("%+v, %v", list, err)
		}
		log, _, err := text(ctx, h.Job(j.ID), "log")
		var line struct {
			Level, Message string
			Words          int
			Time           time.Time
		}
		if e := json.Unmarshal([]byte(log), &line); e != nil || err != nil || line.Level != "info" ||
			line.Message != "written" || line.Words != 20_000 || line.Time.IsZero() {
			t.Errorf("%q, %v, %v", log, e, err)
		}
	})
}

func TestStreamsFromACursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := ackwiretest.New(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		c, h := s.Dial(t), s.NewHTTP(t)
		j, err := c.Submit(ctx, "write", 1)
		if err != nil {
			t.Fatal(err)
		}
		first := s.Next(t)
		_, _ = first.Stream("tokens").WriteString("first")
		first.FailAttempt("lost", "")
		second := s.Next(t)
		_, _ = second.Stream("tokens").WriteString("second")
		if _, err := first.Stream("tokens").WriteString("more"); err == nil {
			t.Error("the lost attempt goes on writing")
		}
		if err := second.Stream("tokens").Send(1); err == nil {
			t.Error("a text takes a value")
		}
		if err := second.Stream("Tokens").Send(1); err == nil {
			t.Error("a name in capitals is taken")
		}
		second.Complete(nil)
		for name, of := range map[string]*ackwire.Job{"socket": c.Job(j.ID), "HTTP": h.Job(j.ID)} {
			for _, c := range []struct {
				at     stream.Cursor
				want   string
				resets int
			}{
				{stream.Cursor{}, "second", 0},
				{stream.Cursor{Dispatch: 2, At: 3}, "ond", 0},
				{stream.Cursor{Dispatch: 2, At: 6}, "", 0},
				{stream.Cursor{Dispatch: 1, At: 0}, "second", 0},
				{stream.Cursor{Dispatch: 1, At: 2}, "second", 1},
			} {
				got, resets, err := text(ctx, of, "tokens", ackwire.FromCursor(c.at))
				if got != c.want || resets != c.resets || err != nil {
					t.Errorf("%s from %+v: %q, %d resets, %v", name, c.at, got, resets, err)
				}
			}
			if got, resets, err := text(ctx, of, "nobody-writes"); got != "" || resets != 0 || err != nil {
				t.Errorf("%s: %q, %d, %v", name, got, resets, err)
			}
		}
		for _, of := range []*ackwire.Job{c.Job("none"), h.Job("none")} {
			if _, _, err := text(ctx, of, "tokens"); !errors.Is(err, ackwire.ErrNotFound) {
				t.Errorf("%v", err)
			}
		}
		_, err = c.Submit(ctx, "write", 1, ackwire.WithStreams("Tokens"))
		if e, ok := errors.AsType[*ackwire.Error](err); !ok || e.Code != code.InvalidFrame {
			t.Errorf("%v", err)
		}
	})
}

// TestTheReadSide pins the answers of the Durable Streams protocol.
func TestTheReadSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := ackwiretest.New(t)
		transport := &http.Transport{DialContext: s.DialContext}
		defer transport.CloseIdleConnections()
		c := s.NewHTTP(t)
		j, err := c.Submit(t.Context(), "write", 1)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(method, query string) string {
			req, _ := http.NewRequestWithContext(t.Context(), method, s.URL()+"/v1/jobs/"+j.ID+"/streams/"+query, nil)
			resp, err := (&http.Client{Transport: transport}).Do(req)
			if err != nil {
				return err.Error()
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			h := resp.Header
			return fmt.Sprintf("%d %s next=%s up=%s closed=%s %s", resp.StatusCode, h.Get("Content-Type"),
				h.Get("Stream-Next-Offset"), h.Get("Stream-Up-To-Date"), h.Get("Stream-Closed"), b)
		}
		began := time.Now()
		const text, one = "text/plain; charset=utf-8", "0000000001_0000000000005"
		want := func(method, query, want string) {
			t.Helper()
			if got := ask(method, query); got != want {
				t.Errorf("%s %s:\n%s\nwant\n%s", method, query, got, want)
			}
		}
		want("GET", "tokens?offset=-1&live=long-poll", "204  next=0000000001_0000000000000 up=true closed= ")
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("it took %s", took)
		}
		w := s.Next(t)
		_, _ = w.Stream("tokens").WriteString("a\nbcd")
		_ = w.Stream("rows").Send("x")
		want("GET", "tokens", "200 "+text+" next="+one+" up=true closed= a\nbcd")
		want("HEAD", "tokens", "200 "+text+" next="+one+" up=true closed= ")
		want("GET", "tokens?offset=0000000001_0000000000002", "200 "+text+" next="+one+" up=true closed= bcd")
		want("GET", "tokens?offset=now", "200 "+text+" next="+one+" up=true closed= ")
		want("GET", "rows", `200 application/json next=0000000001_0000000000001 up=true closed= ["x"]`)
		want("GET", "rows?offset=now", `200 application/json next=0000000001_0000000000001 up=true closed= []`)
		want("GET", "Rows", `404 application/problem+json next= up= closed= `+
			`{"code":"not_found","title":"Not found","status":404,"retryable":false}`+"\n")
		want("GET", "rows?live=sse", `400 application/problem+json next= up= closed= `+
			`{"code":"invalid_offset","title":"Invalid offset","status":400,"detail":"live needs an offset","retryable":false}`+"\n")
		w.Complete(nil)
		want("GET", "tokens?offset="+one+"&live=long-poll", "204  next="+one+" up=true closed=true ")
		want("GET", "tokens?offset=-1&live=sse", "200 text/event-stream next= up= closed= "+
			"id: "+one+"\nevent: data\ndata:a\ndata:bcd\n\nid: "+one+"\nevent: control\n"+
			`data:{"streamNextOffset":"`+one+`","upToDate":true,"streamClosed":true}`+"\n\n")
		want("GET", "tokens?offset=0000000007_0000000000000", "200 "+text+" next="+one+" up=true closed=true a\nbcd")
		want("GET", "tokens?offset=0000000007_0000000000002", "200 "+text+" next=0000000007_0000000000002 up= closed= ")
		if got := ask("GET", "tokens?offset=0000000001_0000000000006"); !strings.Contains(got, `"invalid_offset"`) {
			t.Errorf("behind the end: %s", got)
		}
	})
}
