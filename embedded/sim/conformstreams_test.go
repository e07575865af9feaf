package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// TestTheServerOfTestsStreamsLikeTheRealOne: what a page sees of jobs' streams and of their progress is the same with
// ackwiretest and with the services: by the Durable Streams protocol, and by frames.
func TestTheServerOfTestsStreamsLikeTheRealOne(t *testing.T) {
	var actual, memory string
	Run(t, func(w *World) {
		w.StartWorker(func(p *processor.Processor) {
			processor.HandleRaw(p, demo.Echo, func(ctx context.Context, j *processor.Job, b []byte) (json.RawMessage, error) {
				return nil, perform(ctx, b, j.Attempt, func(name string) sink { return j.Stream(name) },
					func(p job.Progress) error {
						return j.Advance(processor.Progress{Percent: p.Percent, Message: p.Message, Stage: p.Stage, Data: p.Data})
					})
			})
		})
		time.Sleep(10 * time.Second) // the worker has joined its lanes
		actual = newPage(t, GatewayURL(0), w.Net.Host("page").Dial).streamed(w.ctx())
	})
	bubble.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		srv.JobTypes(jobtypes.Default())
		srv.Handle(demo.Echo, func(ctx context.Context, j *ackwiretest.Job) (any, error) {
			return nil, perform(ctx, j.Payload, j.Attempt, func(name string) sink { return j.Stream(name) }, j.Advance)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		memory = newPage(t, srv.URL(), srv.DialContext).streamed(ctx)
	})
	compare(t, actual, memory, 70)
}

// sink is a stream, as a worker has it.
type sink interface {
	io.Writer
	Send(v any) error
}

// deed is one step of a job of perform.
type deed struct {
	Text, Rows string // appended to the stream tokens, and JSON to rows
	Wait       float64
	FailsIn    int // the attempt in which the job ends here
	In         int // the only attempt that does it; 0 is each
	Progress   *job.Progress
}

// perform works on a job whose payload says what it does. It fails with what differs from that.
func perform(ctx context.Context, payload []byte, attempt int, open func(string) sink, advance func(job.Progress) error,
) error {
	var all []deed
	if err := json.Unmarshal(payload, &all); err != nil {
		return err
	}
	for _, d := range all {
		var err error
		switch {
		case d.In != 0 && d.In != attempt:
		case d.Text != "":
			_, err = io.WriteString(open("tokens"), d.Text)
		case d.Rows != "":
			err = open("rows").Send(json.RawMessage(d.Rows))
		case d.Progress != nil:
			err = advance(*d.Progress)
		case d.FailsIn == attempt:
			err = errors.New("as it was told")
		case !pause.For(ctx, time.Duration(d.Wait*float64(time.Second))):
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	// twice writes, fails, and writes something else.
	twice = `[{"Text":"lost wörds","In":1},{"Rows":"0","In":1},{"Wait":20},{"FailsIn":1},{"Wait":10},` +
		`{"Text":"häh "},{"Rows":"{\"a\":\"<\"}"},{"Rows":"null"},{"Wait":20},{"Text":"zwei\r\ndrei"},{"Wait":20}]`
	// staged reports its progress.
	staged = `[{"Progress":{"percent":40,"message":"m","stage":"collect","data":{"sum":9007199254740993}}},{"Wait":20},` +
		`{"Progress":{"percent":10,"stage":"render"}},{"Wait":20}]`
)

// streamed is the script.
func (p *page) streamed(ctx context.Context) string {
	p.durable(ctx)
	p.chunks(ctx)
	p.stages(ctx)
	return p.String()
}

// life is what an offset says of the life of the job's ID.
var life = regexp.MustCompile(`(\d{10}_\d{13})_[0-9a-f]{8}`)

var someCursor = regexp.MustCompile(`"streamCursor":"\d+"`)

// read writes down all that an answer of the protocol says, and returns where to read on and the entity's tag. A live
// answer is left when it is silent for a while.
func (p *page) read(ctx context.Context, what, method, path string, h http.Header) (offset, tag string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, p.base+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header = h.Clone()
	began := time.Now()
	resp, err := p.http.Do(r)
	if err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
	body := strings.TrimSuffix(string(b), "\n") // which a list may end with
	if resp.Header.Get("Content-Type") == "application/problem+json" {
		var problem frame.Problem
		if err := json.Unmarshal(b, &problem); err != nil && method != http.MethodHead {
			p.t.Fatal(err)
		}
		body = fmt.Sprintf("%s %t", problem.Code, problem.Retryable)
	}
	h = resp.Header
	offset, tag = h.Get("Stream-Next-Offset"), h.Get("ETag")
	body = strings.ReplaceAll(body, ": still here\n\n", "")
	body = life.ReplaceAllString(someCursor.ReplaceAllString(body, `"streamCursor":""`), "$1")
	p.note("%s: %d %q after %s, %s, next %s, up to date %s, closed %s, cursor %t, cache %s, tag %t", what, resp.StatusCode,
		body, time.Since(began).Round(time.Second), h.Get("Content-Type"),
		life.ReplaceAllString(offset, "$1"), h.Get("Stream-Up-To-Date"), h.Get("Stream-Closed"), h.Get("Stream-Cursor") != "",
		h.Get("Cache-Control"), tag != "")
	return offset, tag
}

func (p *page) durable(ctx context.Context) {
	id := p.submit(ctx, "twice", demo.Echo, twice)
	of := "/v1/jobs/" + id + "/streams"
	get := func(what, path string) (offset, tag string) {
		p.t.Helper()
		return p.read(ctx, what, http.MethodGet, of+path, nil)
	}
	time.Sleep(10 * time.Second)
	get("the list", "")
	get("a parameter of the list", "?x=1")
	former, tag := get("tokens", "/tokens?offset=-1")
	p.read(ctx, "as it was", http.MethodGet, of+"/tokens?offset=-1", http.Header{"If-None-Match": {tag}})
	p.read(ctx, "the head", http.MethodHead, of+"/tokens", nil)
	get("rows", "/rows")
	get("from now on", "/tokens?offset=now")
	get("nobody writes it", "/other?offset=-1")
	get("the log", "/log")
	one, _, _ := strings.Cut(life.ReplaceAllString(former, "$1"), "_")
	get("within", "/tokens?offset="+one+"_0000000000002")
	get("within a character", "/tokens?offset="+one+"_0000000000007")
	get("behind what there is", "/tokens?offset="+one+"_0000000000099")
	for _, query := range []string{
		"offset=", "offset=x", "offset=-2", "offset=a&offset=b", "live=sse", "live=long-poll", "offset=-1&live=x",
		"offset=0000000000_0000000000000", "offset=" + one + "_1", "cursor=x",
	} {
		get(query, "/tokens?"+query)
	}
	get("a name that is none", "/Tokens")
	p.read(ctx, "a job that there is not", http.MethodGet, "/v1/jobs/"+goneJob+"/streams/tokens", nil)
	p.read(ctx, "its list", http.MethodGet, "/v1/jobs/"+goneJob+"/streams", nil)
	p.read(ctx, "an ID that is none", http.MethodGet, "/v1/jobs/nonsense/streams/tokens", nil)
	get("a long poll finds something", "/tokens?offset=-1&live=long-poll")
	get("a long poll is reset", "/tokens?live=long-poll&offset="+former)
	time.Sleep(15 * time.Second)
	for _, live := range []string{"", "&live=long-poll", "&live=sse"} {
		get("of a former run"+live, "/tokens?offset="+former+live)
	}
	get("nothing was read of the former run", "/tokens?offset="+one+"_0000000000000")
	next, _ := get("the new run", "/tokens?offset=-1")
	get("a long poll", "/tokens?live=long-poll&offset="+next)
	get("events to the end", "/tokens?live=sse&offset=-1")
	get("values as events to the end", "/rows?live=sse&offset=-1")
	last, tag := get("all", "/tokens")
	get("a long poll at the end", "/tokens?live=long-poll&offset="+last)
	get("events at the end", "/tokens?live=sse&offset="+last)
	p.read(ctx, "an EventSource that has all", http.MethodGet, of+"/tokens?live=sse&offset=-1",
		http.Header{"Last-Event-ID": {last}})
	p.read(ctx, "an EventSource that has some", http.MethodGet, of+"/tokens?live=sse&offset=-1",
		http.Header{"Last-Event-ID": {next}})
	p.read(ctx, "the end as it was", http.MethodGet, of+"/tokens", http.Header{"If-None-Match": {tag}})
	p.read(ctx, "the head of the end", http.MethodHead, of+"/tokens", nil)
	two, _, _ := strings.Cut(last, "_")
	get("behind the end", "/tokens?offset="+two+"_0000000000099")
	get("now at the end", "/tokens?offset=now")
	get("nobody has written it", "/other?offset=-1")
	get("the list at the end", "")
}

// stages writes down what documents say of a handler's progress.
func (p *page) stages(ctx context.Context) {
	id := p.submit(ctx, "staged", demo.Echo, staged)
	for _, what := range []string{"the first stage", "the second one", "in the end"} {
		time.Sleep(15 * time.Second)
		resp := p.send(ctx, http.MethodGet, "/v1/jobs/"+id, "", "")
		var doc struct{ Progress json.RawMessage }
		err := json.NewDecoder(resp.Body).Decode(&doc)
		p.note("%s: %s %v", what, doc.Progress, err)
		_ = resp.Body.Close()
	}
}

// socket is a page's socket, of whose frames only chunks and answers are looked at.
type socket struct {
	p      *page
	ws     *websocket.Conn
	frames chan []byte
	chunks [][]byte // that came before the answer to a frame
}

func (p *page) open(ctx context.Context) *socket {
	p.t.Helper()
	ws, _, err := websocket.Dial(ctx, p.base+"/v1/ws", &websocket.DialOptions{
		HTTPClient: p.http, Subprotocols: []string{frame.Protocol},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	s := &socket{p: p, ws: ws, frames: make(chan []byte, 1000)}
	go func() {
		defer close(s.frames)
		for {
			_, b, err := ws.Read(ctx)
			if err != nil {
				return
			}
			s.frames <- b
		}
	}()
	return s
}

// say sends a frame, and writes down the answer.
func (s *socket) say(ctx context.Context, what, text string) (jobID string) {
	s.p.t.Helper()
	if err := s.ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		s.p.t.Fatal(err)
	}
	for {
		var f struct {
			Type, JobID, ID string
			Code            string
			Jobs            []json.RawMessage
		}
		b := s.next()
		if err := json.Unmarshal(b, &f); err != nil {
			s.p.t.Fatal(err)
		}
		if f.ID == "" {
			s.chunks = append(s.chunks, b)
			continue
		}
		s.p.note("%s: %s %s, %d jobs", what, f.Type, f.Code, len(f.Jobs))
		return f.JobID
	}
}

func (s *socket) next() []byte {
	s.p.t.Helper()
	select {
	case b, ok := <-s.frames:
		if ok {
			return b
		}
		s.p.t.Fatal("the socket has ended")
	case <-time.After(5 * time.Minute):
		s.p.t.Fatal("nothing comes:\n" + s.p.String())
	}
	return nil
}

// hear reads chunks until so many streams have ended, and writes each stream down: pieces that follow each other are
// one.
func (s *socket) hear(what string, ends int) {
	s.p.t.Helper()
	type heard struct {
		text string
		next int64
		run  int
	}
	all := map[string]*heard{}
	for ends > 0 {
		var b []byte
		if len(s.chunks) > 0 {
			b, s.chunks = s.chunks[0], s.chunks[1:]
		} else {
			b = s.next()
		}
		var f frame.ChunkFrame
		if json.Unmarshal(b, &f) != nil || f.Type != frame.Chunk {
			continue
		}
		h := all[f.Stream]
		switch {
		case h == nil:
			h = &heard{text: fmt.Sprintf("%s of run %d from %d", f.Kind, f.Run, f.From)}
			all[f.Stream] = h
		case f.Reset && f.From == 0:
			h.text += fmt.Sprintf(", run %d from 0", f.Run)
		case f.From != h.next || f.Run != h.run:
			h.text += fmt.Sprintf(", and then run %d from %d", f.Run, f.From)
		}
		if f.Reset {
			h.text += " reset"
		}
		if f.Text != "" {
			h.text += fmt.Sprintf(" %q", f.Text)
		}
		for _, item := range f.Items {
			h.text += " " + string(item)
		}
		if f.Error != "" {
			h.text += " " + string(f.Error)
		}
		if f.End {
			h.text += fmt.Sprintf(" ended, which says total %t", strings.Contains(string(b), `"total":`))
			if f.Total != nil {
				h.text += fmt.Sprint(" ", *f.Total)
			}
		}
		h.run, h.next = f.Run, f.From+int64(len(f.Text)+len(f.Items))
		if f.End || f.Error != "" {
			ends--
		}
	}
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s.p.note("%s: %s is %s", what, name, all[name].text)
	}
}

func (p *page) chunks(ctx context.Context) {
	s := p.open(ctx)
	defer func() { _ = s.ws.CloseNow() }()
	for _, streams := range []string{
		`["Tokens"]`, `["a","a"]`, `"tokens"`, `[1]`, `[{"stream":"a","at":1}]`, `[{"stream":"a","run":-1}]`,
		`["a","b","c","d","e","f","g","h","i"]`,
	} {
		s.say(ctx, "a submit of "+streams, `{"type":"submit","id":"1","job":"demo.echo","payload":[],"streams":`+streams+`}`)
	}
	submit := `{"type":"submit","id":"1","job":"demo.echo","payload":` + twice + `,"streams":["tokens","rows","other"]}`
	id := s.say(ctx, "a submit with streams", submit)
	late := p.open(ctx)
	defer func() { _ = late.ws.CloseNow() }()
	subscribe := func(k *socket, what, streams string) {
		p.t.Helper()
		k.say(ctx, what, `{"type":"subscribe","id":"2","jobs":[{"jobId":"`+id+`","streams":`+streams+`}]}`)
	}
	time.Sleep(40 * time.Second) // the second run writes
	subscribe(late, "one that joins late, with a position", `[{"stream":"tokens","run":1,"at":4},"rows"]`)
	subscribe(late, "other streams replace them", `["rows",{"stream":"log"}]`)
	subscribe(late, "and other ones", `[{"stream":"rows","run":2,"at":1}]`)
	s.hear("the submitter", 3)
	late.hear("who joined late", 1)
	for _, c := range []struct {
		streams string
		ends    int
	}{
		{`["tokens","rows","log","other"]`, 4}, {`[{"stream":"tokens","run":2,"at":5}]`, 1},
		{`[{"stream":"tokens","run":2,"at":15}]`, 1}, {`[{"stream":"tokens","run":1,"at":3}]`, 1},
		{`[{"stream":"tokens","run":1}]`, 1}, {`[{"stream":"tokens","run":2,"at":2}]`, 1},
		{`[{"stream":"tokens","run":2,"at":99}]`, 1},
	} {
		subscribe(late, "after the end "+c.streams, c.streams)
		late.hear("after the end "+c.streams, c.ends)
	}
}
