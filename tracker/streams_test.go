package tracker

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// write does what a worker does with what its handler has written.
func (w *world) write(c stream.Chunk) int64 {
	w.t.Helper()
	rec := &kgo.Record{Topic: w.names.Streams(), Key: []byte(c.JobID), Value: c.Value}
	for _, h := range c.Headers() {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	w.produce(rec)
	n, err := stream.Length(c.Kind, c.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.From + n
}

// text writes texts to the stream tokens of a run, the first at a position, and returns where the last one ends.
func (w *world) text(id, run string, dispatch int, at int64, texts ...string) int64 {
	w.t.Helper()
	for _, text := range texts {
		at = w.write(stream.Chunk{JobID: id, Stream: "tokens", Kind: job.StreamText, Dispatch: dispatch, Run: run, From: at,
			Value: []byte(text)})
	}
	return at
}

// begin submits a job and has a run claim it.
func (w *world) begin(id, run string) {
	w.t.Helper()
	pos, _ := w.submit(id)
	w.append(&event.Event{Type: event.Claimed, JobID: id, Request: &pos, Dispatch: 1, Run: run})
}

func totals(total int64) job.Streams {
	return job.Streams{"tokens": {Kind: job.StreamText, Total: total}}
}

// read reads the stream tokens behind a cursor, as soon as the partition's streams are restored.
func (i *instance) read(id string, dispatch int32, at int64, wait bool) (*trackerpb.StreamPart, error) {
	began := time.Now()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		r, err := i.api.ReadStream(ctx, connect.NewRequest(&trackerpb.ReadStreamRequest{JobId: id, Tenant: tenant,
			Stream: "tokens", After: &trackerpb.StreamCursor{Dispatch: dispatch, At: at}, Wait: wait}))
		cancel()
		switch {
		case err == nil:
			return r.Msg.Part, nil
		case connect.CodeOf(err) != connect.CodeUnavailable || time.Since(began) > settled:
			return nil, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// show writes a part in one line.
func show(p *trackerpb.StreamPart) string {
	s := fmt.Sprintf("%d@%d %q", p.From.GetDispatch(), p.From.GetAt(), bytes.Join(p.Pieces, nil))
	for _, f := range []struct {
		is   bool
		name string
	}{{p.UpToDate, "up-to-date"}, {p.Ended, "ended"}, {p.Reset_, "reset"}, {p.Gone, "gone"}} {
		if f.is {
			s += " " + f.name
		}
	}
	return s
}

func (i *instance) wantPart(why, id string, dispatch int32, at int64, wait bool, want string) {
	i.w.t.Helper()
	p, err := i.read(id, dispatch, at, wait)
	if err != nil {
		i.w.t.Fatalf("%s: %v", why, err)
	}
	if got := show(p); got != want {
		i.w.t.Fatalf("%s: %s\nwant %s", why, got, want)
	}
}

func (i *instance) wantStreams(why, id, want string) {
	i.w.t.Helper()
	r, err := i.api.Streams(context.Background(), connect.NewRequest(&trackerpb.StreamsRequest{JobId: id, Tenant: tenant}))
	if err != nil {
		i.w.t.Fatalf("%s: %v", why, err)
	}
	got := fmt.Sprint(r.Msg.Dispatch)
	for _, s := range r.Msg.Streams {
		got += fmt.Sprintf(" %s:%s:%d:%t", s.Name, s.Kind, s.Total, s.Ended)
	}
	if got != want {
		i.w.t.Fatalf("%s: %s, want %s", why, got, want)
	}
}

// removeStreams removes all records of streams, as retention does.
func (w *world) removeStreams() {
	w.t.Helper()
	adm := kadm.NewClient(w.client)
	ends, err := adm.ListEndOffsets(w.t.Context(), w.names.Streams())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := adm.DeleteRecords(w.t.Context(), ends.Offsets()); err != nil {
		w.t.Fatal(err)
	}
}

func TestAStreamIsReadWhileItsJobRuns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.makeRequests()
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		_, version := w.submit("waits")
		i.doc("waits", version)
		i.wantPart("no run has begun", "waits", 0, 0, false, `0@0 "" up-to-date`)
		i.wantStreams("no run has begun", "waits", "0")

		w.begin("a", "r1")
		next := w.text("a", "r1", 1, 0, "Hä", "user ", "am See")
		time.Sleep(time.Second)
		i.wantPart("from the beginning", "a", 0, 0, false, `1@0 "Häuser am See" up-to-date`)
		i.wantPart("from within", "a", 1, 3, false, `1@3 "user am See" up-to-date`)
		i.wantPart("from within a character", "a", 1, 2, false, `1@1 "äuser am See" up-to-date`)
		i.wantPart("the end", "a", 0, -1, false, `1@14 "" up-to-date`)
		i.wantPart("the last three", "a", 0, -4, false, `1@11 "See" up-to-date`)
		i.wantPart("a run that is not known yet", "a", 2, 5, false, `2@5 ""`)
		i.wantPart("nothing comes", "a", 1, next, true, `1@14 "" up-to-date`)
		i.wantStreams("it runs", "a", "1 tokens:text:14:false")

		go func() {
			time.Sleep(time.Second)
			w.text("a", "r1", 1, next, "!")
		}()
		i.wantPart("it waits for more", "a", 1, next, true, `1@14 "!" up-to-date`)
		next++
		go func() {
			time.Sleep(time.Second)
			w.append(&event.Event{Type: event.Completed, JobID: "a", Dispatch: 1, Run: "r1", Streams: totals(next)})
		}()
		i.wantPart("it waits for the end", "a", 1, next, true, `1@15 "" up-to-date ended`)
		i.wantPart("all", "a", 0, 0, true, `1@0 "Häuser am See!" up-to-date ended`)
		i.wantPart("a position that never was", "a", 1, 99, true, `1@0 "Häuser am See!" up-to-date ended reset`)
		i.wantStreams("it has ended", "a", "1 tokens:text:15:true")

		time.Sleep(time.Second)
		w.removeStreams()
		i.wantPart("it is kept", "a", 0, 0, true, `1@0 "Häuser am See!" up-to-date ended`)
	})
}

func TestStreamsOfStrangersAreNotFound(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.makeRequests()
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.begin("a", "r1")
		w.text("a", "r1", 1, 0, "secret")
		ask := func(id, of string, scope *trackerpb.Scope, name string) error {
			_, err := i.api.ReadStream(t.Context(), connect.NewRequest(&trackerpb.ReadStreamRequest{JobId: id, Tenant: of,
				Scope: scope, Stream: name}))
			return err
		}
		wantCode(t, "another tenant", ask("a", "evil", nil, "tokens"), connect.CodeNotFound)
		wantCode(t, "another subject", ask("a", tenant, &trackerpb.Scope{Own: true, Subject: "bob"}, "tokens"),
			connect.CodeNotFound)
		wantCode(t, "no such job", ask("b", tenant, nil, "tokens"), connect.CodeNotFound)
		wantCode(t, "no name of a stream", ask("a", tenant, nil, "To"), connect.CodeInvalidArgument)
		_, err := i.api.Streams(t.Context(), connect.NewRequest(&trackerpb.StreamsRequest{JobId: "a", Tenant: "evil"}))
		wantCode(t, "another tenant lists", err, connect.CodeNotFound)
	})
}

// A run that is lost takes with it what it has said: whoever has read that is told to begin again.
func TestANewRunBeginsItsStreamsAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.makeRequests()
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.begin("a", "r1")
		end := w.text("a", "r1", 1, 0, "lost words")
		w.text("a", "zombie", 1, 0, "of another run")
		time.Sleep(time.Second)
		i.wantPart("the first run", "a", 0, 0, false, `1@0 "lost words" up-to-date`)
		// Nobody renews the lease: the tracker hands the job out again.
		time.Sleep(20 * time.Second)
		request := w.requestOf(t, i, "a")
		w.text("a", "r2", 2, 0, "new ")
		time.Sleep(time.Second)
		i.wantPart("the new run's claim is not folded", "a", 1, end, false, `1@10 "" up-to-date`)
		w.append(&event.Event{Type: event.Claimed, JobID: "a", Request: request, Dispatch: 2, Run: "r2"})
		w.text("a", "r1", 1, end, "from the grave")
		w.text("a", "r2", 2, 4, "words")
		time.Sleep(time.Second)
		i.wantPart("the new run", "a", 1, end, true, `2@0 "new words" up-to-date reset`)
		w.append(&event.Event{Type: event.Failed, JobID: "a", Dispatch: 2, Run: "r2",
			Error: &event.Failure{Error: job.Error{Code: "x", Message: "y"}}})
		i.wantPart("its end, without totals", "a", 2, 9, true, `2@9 "" up-to-date ended`)
	})
}

// requestOf returns the request record of a job that was handed out again.
func (w *world) requestOf(t *testing.T, i *instance, id string) *event.Position {
	t.Helper()
	r, err := i.get(&trackerpb.GetRequest{JobId: id})
	if err != nil || r.Request == nil {
		t.Fatalf("%s was not handed out again: %v, %v", id, r, err)
	}
	return &event.Position{Topic: r.Request.Topic, Partition: r.Request.Partition, Offset: r.Request.Offset}
}

// A tracker that starts again, and one that takes over without a store, give the same answers.
func TestStreamsSurviveTheirTracker(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.makeRequests()
		disk := vfs.NewMem()
		i := w.start(8090, disk)
		w.begin("runs", "r1")
		w.begin("ended", "r2")
		words := strings.Repeat("many words ", 1000)
		next := w.text("runs", "r1", 1, 0, "a", words)
		end := w.text("ended", "r2", 1, 0, words, words)
		w.append(&event.Event{Type: event.Completed, JobID: "ended", Dispatch: 1, Run: "r2", Streams: totals(end)})
		for n, fs := range []vfs.FS{disk, disk, vfs.NewMem()} {
			if n > 0 {
				i = w.start(8090, fs)
			}
			next = w.text("runs", "r1", 1, next, "b")
			i.wantReady()
			i.wantPart("the job that runs", "runs", 1, next-1, true, fmt.Sprintf(`1@%d "b" up-to-date`, next-1))
			i.wantPart("its beginning", "runs", 0, 0, false, fmt.Sprintf(`1@0 %q up-to-date`,
				"a"+words+strings.Repeat("b", n+1)))
			i.wantPart("the job that has ended", "ended", 1, 11_000, true, fmt.Sprintf(`1@11000 %q up-to-date ended`, words))
			i.stop()
		}
	})
}

// follow opens a connection that follows streams. What it is sent is written to the returned channel.
func (i *instance) follow(add ...*trackerpb.StreamFollow) (
	*connect.BidiStreamForClient[trackerpb.FollowStreamsRequest, trackerpb.FollowStreamsResponse], <-chan string, func(),
) {
	i.w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	bidi := i.api.FollowStreams(ctx)
	if err := bidi.Send(&trackerpb.FollowStreamsRequest{Add: add}); err != nil {
		i.w.t.Fatal(err)
	}
	got := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := bidi.Receive()
			if err != nil {
				return
			}
			for _, p := range m.Parts {
				s := fmt.Sprintf("%d %s", p.Handle, p.Outcome)
				if p.Part != nil {
					s += " " + show(p.Part)
				}
				got <- s
			}
		}
	}()
	return bidi, got, func() {
		_ = bidi.CloseRequest()
		cancel()
		<-done
	}
}

func TestStreamsAreFollowed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.makeRequests()
		i := w.start(8090, vfs.NewMem())
		w.begin("a", "r1")
		w.text("a", "r1", 1, 0, "one ")
		time.Sleep(time.Second)
		tokens := func(handle uint32, id string, dispatch int32, at int64) *trackerpb.StreamFollow {
			return &trackerpb.StreamFollow{Handle: handle, JobId: id, Tenant: tenant, Stream: "tokens",
				After: &trackerpb.StreamCursor{Dispatch: dispatch, At: at}}
		}
		bidi, got, end := i.follow(tokens(1, "a", 0, 0), tokens(2, "none", 0, 0))
		defer end()
		want := func(why string, all ...string) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			have := map[string]bool{}
			for len(got) > 0 {
				have[<-got] = true
			}
			for _, s := range all {
				if !have[s] {
					t.Fatalf("%s: %v, want %v", why, have, all)
				}
			}
			if len(have) != len(all) {
				t.Fatalf("%s: %v, want %v", why, have, all)
			}
		}
		want("at first", `1 FOLLOWING 1@0 "one " up-to-date`, "2 NOT_FOUND")
		w.text("a", "r1", 1, 4, "two ")
		want("more is written", `1 FOLLOWING 1@4 "two " up-to-date`)
		err := bidi.Send(&trackerpb.FollowStreamsRequest{Add: []*trackerpb.StreamFollow{tokens(3, "a", 1, -1)}})
		if err != nil {
			t.Fatal(err)
		}
		want("another one from the end", `3 FOLLOWING 1@8 "" up-to-date`)
		if err := bidi.Send(&trackerpb.FollowStreamsRequest{Remove: []uint32{1}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.text("a", "r1", 1, 8, "three")
		want("the first was removed", `3 FOLLOWING 1@8 "three" up-to-date`)
		w.append(&event.Event{Type: event.Completed, JobID: "a", Dispatch: 1, Run: "r1", Streams: totals(13)})
		want("the job has ended", `3 FOLLOWING 1@13 "" up-to-date ended`)

		w.begin("b", "r1")
		time.Sleep(time.Second)
		err = bidi.Send(&trackerpb.FollowStreamsRequest{Add: []*trackerpb.StreamFollow{tokens(4, "b", 0, 0)}})
		if err != nil {
			t.Fatal(err)
		}
		want("nothing is written yet", `4 FOLLOWING 1@0 "" up-to-date`)
		i.stop()
		want("the tracker stops", "4 NOT_OWNER")
	})
}
