package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// heard is what a client has of one stream.
type heard struct {
	run    int
	at     int64
	text   string
	items  []string
	resets int
	end    bool
	err    string
}

// hear takes one frame, and checks that it continues what was heard.
func (h *heard) hear(t *testing.T, f frame.ChunkFrame) {
	t.Helper()
	switch {
	case f.Error != "":
		h.err = string(f.Error)
		return
	case f.Reset:
		*h = heard{run: f.Run, resets: h.resets + 1}
	case h.run == 0:
		h.run, h.at = f.Run, f.From
	}
	if f.Run != h.run || f.From != h.at {
		t.Fatalf("a part from %d of run %d after %d of run %d", f.From, f.Run, h.at, h.run)
	}
	if len(f.Text) > 32<<10 {
		t.Errorf("%d bytes in one frame", len(f.Text))
	}
	h.text += f.Text
	h.at += int64(len(f.Text) + len(f.Items))
	for _, item := range f.Items {
		h.items = append(h.items, string(item))
	}
	h.end = f.End
	if f.End != (f.Total != nil) || f.End && *f.Total != h.at {
		t.Errorf("the end says a total other than %d: %+v", h.at, f)
	}
}

// hear reads frames until a stream's state is as wanted. It passes over statuses.
func (c *client) hear(what string, h *heard, until func() bool) {
	c.w.t.Helper()
	for !until() {
		g, err := c.read(settled)
		if err != nil {
			c.w.t.Fatalf("%s: %v, heard %d of run %d, %.40q", what, err, h.at, h.run, h.text)
		}
		switch g.Type {
		case frame.Status, frame.Pong:
		case frame.Chunk:
			var f frame.ChunkFrame
			if err := json.Unmarshal([]byte(g.raw), &f); err != nil {
				c.w.t.Fatal(err)
			}
			h.hear(c.w.t, f)
		default:
			c.w.t.Fatalf("%s: %s", what, g.raw)
		}
	}
}

// TestAStreamOnASocket: from the submit to the end, with a lost run between, on a socket that comes back with its
// cursor, and on one that joins late.
func TestAStreamOnASocket(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		said := &w.tracker.said
		c := w.dial("")
		c.send(`{"type":"submit","id":"s","job":"demo.echo","payload":1,"streams":["tokens","rows"]}`)
		id := c.want("the ack comes first", frame.Ack).JobID
		var tokens heard
		said.write(id, "tokens", "Hëllo ")
		c.hear("what comes", &tokens, func() bool { return tokens.text == "Hëllo " })
		said.write(id, "tokens", "world")
		c.hear("what follows", &tokens, func() bool { return tokens.text == "Hëllo world" })
		_ = c.ws.CloseNow()
		said.write(id, "tokens", ", again")

		c = w.dial("")
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q,"streams":[{"stream":"tokens","run":%d,"at":%d}]}]}`,
			id, tokens.run, tokens.at)
		c.want("the answer comes first", frame.Subscribed)
		c.hear("it goes on where it was", &tokens, func() bool { return tokens.text == "Hëllo world, again" })

		late := w.dial("")
		var joined heard
		late.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q,"streams":["tokens"]}]}`, id)
		late.want("the answer comes first", frame.Subscribed)
		late.hear("one that joins late gets all", &joined, func() bool { return joined.text == tokens.text })

		said.again(id)
		said.write(id, "tokens", "Second")
		for _, h := range []struct {
			c *client
			h *heard
		}{{c, &tokens}, {late, &joined}} {
			h.c.hear("a lost run vanishes", h.h, func() bool { return h.h.text == "Second" })
			if h.h.resets != 1 {
				t.Errorf("%d resets", h.h.resets)
			}
		}
		said.end(id)
		c.hear("the end", &tokens, func() bool { return tokens.end })
		c.wantAlive("nothing follows")

		after := w.dial("")
		var all heard
		after.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q,"streams":[{"stream":"tokens","run":1,"at":3},"nothing"]}]}`,
			id)
		after.want("the answer comes first", frame.Subscribed)
		ended := 0
		for ended < 2 {
			g, err := after.read(settled)
			if err != nil {
				t.Fatal(err)
			}
			var f frame.ChunkFrame
			if err := json.Unmarshal([]byte(g.raw), &f); err != nil {
				t.Fatal(err)
			}
			if f.Type == frame.Chunk && f.Stream == "tokens" {
				all.hear(t, f)
			}
			if f.End {
				ended++
			}
		}
		if all.text != "Second" || all.resets != 1 {
			t.Errorf("after the end: %+v", all)
		}
	})
}

// TestItemsOnASocket: values stay whole and in order, however large.
func TestItemsOnASocket(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 5, job.Processing)
		w.tracker.jobs[jobA].subject = ""
		c := w.dial("")
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q,"streams":["rows"]}]}`, jobA)
		c.want("the answer", frame.Subscribed)
		var want []string
		for i := range 100 {
			item := fmt.Sprintf(`{"n":%d,"x":"<&>%s"}`, i, strings.Repeat("y", i*300))
			want = append(want, item)
			w.tracker.said.send(jobA, "rows", item)
		}
		w.tracker.said.end(jobA)
		var rows heard
		c.hear("the rows", &rows, func() bool { return rows.end })
		if strings.Join(rows.items, "\n") != strings.Join(want, "\n") {
			t.Errorf("%d items, want %d", len(rows.items), len(want))
		}
	})
}

// TestASocketThatStalls: a client that reads nothing for a minute gets every byte then, its other frames too, and the
// gateway holds nothing for it meanwhile.
func TestASocketThatStalls(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 5, job.Processing)
		w.tracker.jobs[jobA].subject = ""
		c := w.dial("")
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q,"streams":["tokens"]}]}`, jobA)
		c.want("the answer", frame.Subscribed)
		var text strings.Builder
		for i := range 400 {
			piece := strings.Repeat(fmt.Sprintf("%05d€", i), 400)
			text.WriteString(piece)
			w.tracker.said.write(jobA, "tokens", piece)
			time.Sleep(20 * time.Millisecond)
		}
		if waits := w.gauge("ackwire_gateway_waiting_bytes"); waits > 64<<10 {
			t.Errorf("%v bytes wait", waits)
		}
		w.tracker.said.end(jobA)
		var tokens heard
		c.hear("it reads on", &tokens, func() bool { return tokens.end })
		if tokens.text != text.String() {
			t.Errorf("%d bytes, want %d", len(tokens.text), text.Len())
		}
	})
}

// TestWhatEndsAStream: unsubscribe, a job that may not be seen, and a token that permits less.
func TestWhatEndsAStream(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 5, job.Processing)
		said := &w.tracker.said
		said.write(jobA, "tokens", "a")
		c := w.dial(w.token("acme", "alice", time.Hour))
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q,"streams":["tokens"]}]}`, jobA)
		c.want("the answer", frame.Subscribed)
		var tokens heard
		c.hear("the beginning", &tokens, func() bool { return tokens.text == "a" })
		c.send(`{"type":"unsubscribe","id":"2","jobs":[%q]}`, jobA)
		for g, err := c.read(settled); g.Type != frame.Unsubscribed; g, err = c.read(settled) {
			if err != nil {
				t.Fatal(err)
			}
		}
		said.write(jobA, "tokens", "b")
		time.Sleep(time.Second)
		c.wantAlive("after unsubscribe nothing comes")
		w.eventually("nobody follows any more", func() bool { return w.gauge("ackwire_gateway_followed_streams") == 0 })

		bob := w.dial(w.token("acme", "bob", time.Hour))
		bob.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q,"streams":["tokens"]}]}`, jobA)
		if g := bob.want("the answer", frame.Subscribed); !strings.Contains(g.raw, "not_found") {
			t.Errorf("a job of another: %s", g.raw)
		}
		bob.wantAlive("nothing of its streams")

		c.send(`{"type":"subscribe","id":"3","jobs":[{"jobId":%q,"streams":["tokens"]}]}`, jobA)
		c.want("the answer", frame.Subscribed)
		tokens = heard{}
		c.hear("the beginning", &tokens, func() bool { return tokens.text == "ab" })
		submits := strings.TrimPrefix(w.header("acme", "alice", "submit").Get("Authorization"), "Bearer ")
		c.send(`{"type":"auth","id":"4","token":%q}`, submits)
		for tokens.err == "" {
			g, err := c.read(settled)
			if err != nil {
				t.Fatal(err)
			}
			var f frame.ChunkFrame
			if json.Unmarshal([]byte(g.raw), &f) == nil && f.Type == frame.Chunk {
				tokens.hear(t, f)
			}
		}
		if tokens.err != "forbidden" {
			t.Errorf("a token that may not read: %s", tokens.err)
		}
		c.send(`{"type":"submit","id":"5","job":"demo.echo","payload":1,"streams":["tokens"]}`)
		for g, err := c.read(settled); g.Type != frame.Error; g, err = c.read(settled) {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestStreamsThatAreRefused: what is not well-formed is an error with a code, and the socket lives on.
func TestStreamsThatAreRefused(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		nine := `["a","b","c","d","e","f","g","h","i"]`
		for _, streams := range []string{
			`"tokens"`, `{}`, `[1]`, `[null]`, `[""]`, `["Tokens"]`, `["` + strings.Repeat("a", 33) + `"]`, nine, `["a","a"]`,
			`[{"stream":"a","at":5}]`, `[{"stream":"a","run":-1}]`, `[{"stream":"a","run":1,"at":-1}]`,
			`[{"stream":"a","run":1,"at":10000000000000}]`, `[{"stream":"a","run":2147483648}]`, `[{"run":1}]`, `[["a"]]`,
			`[{"stream":"a","run":1.5}]`,
		} {
			c := w.dial("")
			c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q,"streams":%s}]}`, jobA, streams)
			c.wantError("subscribe with "+streams, "invalid_frame")
			c.send(`{"type":"submit","id":"2","job":"demo.echo","payload":1,"streams":%s}`, streams)
			c.wantError("submit with "+streams, "invalid_frame")
			c.wantAlive("it lives on")
			_ = c.ws.CloseNow()
			a := w.http("POST", "/v1/events", http.Header{"Content-Type": {"application/json"}, "Prefer": {"wait=1"}},
				strings.NewReader(fmt.Sprintf(`{"jobs":[{"jobId":%q,"streams":%s}]}`, jobA, streams)))
			if a.code != "invalid_frame" {
				t.Errorf("events with %s: %d %s", streams, a.status, a.body)
			}
		}
		c := w.dial("")
		c.send(`{"type":"submit","id":"2","job":"demo.echo","payload":1,"watch":false,"streams":["a"]}`)
		c.wantError("streams without a watch", "invalid_frame")
	})
}

// TestAStreamSurvivesItsTracker: a tracker that does not own the partition any more, is not ready, breaks the
// connection or is silent costs time, and nothing else.
func TestAStreamSurvivesItsTracker(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 5, job.Processing)
		w.tracker.jobs[jobA].subject = ""
		said := &w.tracker.said
		c := w.dial("")
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q,"streams":["tokens"]}]}`, jobA)
		c.want("the answer", frame.Subscribed)
		said.write(jobA, "tokens", "a")
		var tokens heard
		want := "a"
		c.hear("the beginning", &tokens, func() bool { return tokens.text == want })
		breaking := func() {
			said.mu.Lock()
			defer said.mu.Unlock()
			if said.breaks != nil {
				close(said.breaks)
			}
			said.breaks = make(chan struct{})
		}
		for i, trouble := range []func(){
			breaking,
			func() {
				said.mu.Lock()
				said.outcome = trackerpb.FollowedPart_NOT_OWNER
				said.mu.Unlock()
				breaking()
			},
			func() {
				said.mu.Lock()
				said.outcome = trackerpb.FollowedPart_NOT_READY
				said.mu.Unlock()
				breaking()
			},
			func() {
				w.tracker.hush()
				time.Sleep(10 * time.Second)
				w.tracker.speak()
			},
			func() { breaking(); said.again(jobA); want = "" },
		} {
			trouble()
			piece := fmt.Sprintf("piece %d;", i)
			said.write(jobA, "tokens", piece)
			want += piece
			c.hear("after the trouble", &tokens, func() bool { return tokens.text == want })
		}
		said.mu.Lock()
		defer said.mu.Unlock()
		if said.follows < 4 {
			t.Errorf("it was followed %d times", said.follows)
		}
	})
}
