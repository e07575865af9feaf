package sim

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestStreamsOfAFormerPrefixAreReadOn moves a system to another topic prefix while a job writes: who follows it goes on
// where it was, by socket and over HTTP; who comes after the move has all from the beginning, or from a position read
// before it; and streams under the new prefix are followed beside them.
func TestStreamsOfAFormerPrefixAreReadOn(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		w.StartWorker(teller(&runs))
		c := w.Dial()
		ended := w.Submit(c, "demo.echo", `1`)
		w.WantEnd("before the move", c, ended.ID, job.Completed, 1)

		var all sync.WaitGroup
		var listeners []*listener
		var from []int64 // where each begins
		listen := func(name string, at ackwire.Chunk, j *ackwire.Job) {
			l := &listener{name: name}
			if at.Run > 0 {
				l.text.WriteString(told("2")[:at.Cursor().At])
			}
			listeners, from = append(listeners, l), append(from, at.Cursor().At)
			all.Go(func() { l.listen(w.ctx(), j, ackwire.FromCursor(at.Cursor())) })
		}
		j := w.Submit(c, "demo.echo", `1`, ackwire.WithStreams("tokens"))
		listen("the submitter", ackwire.Chunk{}, j)
		listen("HTTP", ackwire.Chunk{}, w.NewHTTP().Job(j.ID))
		time.Sleep(8 * time.Second)
		var read ackwire.Chunk
		for chunk, err := range w.NewHTTP().Job(j.ID).Stream(w.ctx(), "tokens") {
			if err != nil {
				t.Fatal(err)
			}
			read = chunk
			break
		}
		if read.Text == "" {
			t.Fatal("nothing was written before the move")
		}

		w.startMoved()
		w.ConfigureGateway = func(cfg *gateway.Config) {
			cfg.TopicPrefix, cfg.FormerPrefix, cfg.Partitions = movedTo, w.Names.Prefix, movedPartitions
		}
		w.Stop(w.gateway)
		w.StartGateway()
		w.closeFormer()
		time.Sleep(5 * time.Second) // the gateway has found out
		if st := w.get(c, j.ID); st.State != job.Processing {
			t.Fatalf("after the move the job is %s: the test proves nothing", st.State)
		}
		listen("one that joins after the move", ackwire.Chunk{}, w.Dial().Job(j.ID))
		listen("one that joins after the move, over HTTP", ackwire.Chunk{}, w.NewHTTP().Job(j.ID))
		listen("one that goes on after the move", read, w.Dial().Job(j.ID))
		listen("one that goes on after the move, over HTTP", read, w.NewHTTP().Job(j.ID))
		present := w.Submit(c, "demo.write", `{"words":60,"rate":20}`, ackwire.WithStreams("tokens"))
		words := &listener{name: "a stream of the new prefix"}
		words.listen(w.ctx(), present)
		if got := len(strings.Fields(words.text.String())); words.err != nil || got != 60 {
			t.Errorf("%s: %d words, %v", words.name, got, words.err)
		}
		listen("one that joins before a crash of the former tracker", ackwire.Chunk{}, w.Dial().Job(j.ID))
		w.CrashTracker()
		w.StartTracker()
		all.Wait()
		last, err := j.Wait(w.ctx())
		if err != nil || last.State != job.Completed || string(last.Result) != "2" {
			t.Fatalf("%s %s %+v, %v", last.State, last.Result, last.Error, err)
		}
		want := told("2")
		for i, l := range listeners {
			if got := l.text.String(); l.err != nil || got != want || l.resets > 0 {
				t.Errorf("%s, from %d: %v after %d resets, %d bytes of %d", l.name, from[i], l.err, l.resets, len(got), len(want))
			}
		}
		for what, of := range map[string]*ackwire.Job{
			"socket": w.Dial().Job(ended.ID), "HTTP": w.NewHTTP().Job(ended.ID),
		} {
			l := &listener{}
			l.listen(w.ctx(), of)
			if got := l.text.String(); l.err != nil || got != told("1") {
				t.Errorf("a job that had ended, by %s: %d bytes, %v", what, len(got), l.err)
			}
		}
		list, err := w.NewHTTP().Job(ended.ID).Streams(w.ctx())
		if err != nil || len(list.Streams) != 1 || !list.Streams[0].Ended || list.Streams[0].Total != int64(len(told("1"))) {
			t.Errorf("the list of its streams: %+v, %v", list, err)
		}
	})
}

// TestAnOffsetOfAFormerLife: when a job has expired, another one may have its ID, and counts its runs from 1 again. Who
// comes with a position of the former job is told that it is void.
func TestAnOffsetOfAFormerLife(t *testing.T) {
	Run(t, func(w *World) {
		w.jobTypes("defaults: {lane: default, lease: 30s, retention: 5s}\ntypes:\n  demo.echo: {}\n")
		var runs Counter
		w.StartWorker(teller(&runs))
		c, api := w.Dial(), w.NewHTTP()
		_, id := w.submitKeyed("k", `1`)
		time.Sleep(10 * time.Second)
		status, h, _ := w.HTTP("GET", "/v1/jobs/"+id+"/streams/tokens", nil, nil)
		former := h.Get("Stream-Next-Offset")
		var read ackwire.Chunk
		for chunk, err := range api.Job(id).Stream(w.ctx(), "tokens") {
			if err != nil {
				t.Fatal(err)
			}
			read = chunk
			break
		}
		if status != 200 || read.Text == "" {
			t.Fatalf("nothing was read of the former job: %d", status)
		}
		w.WantEnd("the former job", c, id, job.Completed, 1)
		w.expire(c, id)
		if _, again := w.submitKeyed("k", `1`); again != id {
			t.Fatalf("the job that follows is %s, not %s", again, id)
		}
		time.Sleep(20 * time.Second) // in which it writes more than what was read
		for _, live := range []string{"", "&live=long-poll", "&live=sse"} {
			status, _, body := w.HTTP("GET", "/v1/jobs/"+id+"/streams/tokens?offset="+former+live, nil, nil)
			if status != 410 || !strings.Contains(string(body), `"stream_reset"`) {
				t.Errorf("the former offset%s: %d %.100s", live, status, body)
			}
		}
		l := &listener{}
		l.text.WriteString(read.Text)
		l.listen(w.ctx(), api.Job(id), ackwire.FromCursor(read.Cursor()))
		if got := l.text.String(); l.err != nil || l.resets != 1 || got != told("2") {
			t.Errorf("who goes on: %v after %d resets, %.40q", l.err, l.resets, got)
		}
	})
}
