package load

import (
	"context"
	"errors"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/loadtest/history"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/processor/demo"
)

// output is what a client has of what a job writes: of the job's stream demo.WriteStream. Text is not kept; its
// checksum is.
type output struct {
	words   int   // that the job writes; 0: not known
	version int64 // of the job, the last one seen
	cursor
	sum uint64
}

// cursor is a position in an output: all before at in run run.
type cursor struct {
	run int
	at  int64
}

// fresh returns the same output for a client that has nothing of it; nil for nil.
func (o *output) fresh() *output {
	if o == nil {
		return nil
	}
	return &output{words: o.words}
}

// asked returns the record of a client that asks for the output from where it is on; acked says by an acked submit.
func (o *output) asked(client, conn int, jobID string, acked bool) history.Record {
	return history.Record{
		Kind: history.Follow, Client: client, Conn: conn, Job: jobID, Watch: acked,
		Output: &history.Output{Name: demo.WriteStream, Run: o.run, At: o.at, Words: o.words},
	}
}

// take moves the cursor behind what a frame brings, and returns what the history says of it.
func (o *output) take(f *serverFrame) *history.Output {
	if f.Reset || f.Run != o.run {
		o.cursor, o.sum = cursor{run: f.Run}, 0
	}
	o.sum = history.Sum(o.sum, f.Text)
	for _, item := range f.Items {
		o.sum = history.Sum(history.Sum(o.sum, string(item)), "\n")
	}
	length := int64(len(f.Text) + len(f.Items))
	o.at = f.From + length
	return &history.Output{
		Name: f.Stream, Run: f.Run, At: f.From, Length: length, Sum: o.sum, Reset: f.Reset, End: f.End, Total: f.Total,
	}
}

// resume completes a subscription: with the last version that the client has of the job, and its place in the output.
// It adds the records of both. c.mu is held.
func (c *client) resume(r *ref) {
	w, o := c.watches[r.jobID], c.outputs[r.jobID]
	r.output = nil
	switch {
	case w != nil:
		r.after = w.after
	case o != nil:
		r.after = o.version
	}
	c.r.hist.Add(history.Record{Kind: history.Watch, Client: c.id, Conn: c.conn, Job: r.jobID, Version: r.after})
	if o != nil {
		r.output = &o.cursor
		c.r.hist.Add(o.asked(c.id, c.conn, r.jobID, false))
	}
}

// onChunk handles a part of an output, or that it is followed no longer. It asks again after a retryable error.
func (c *client) onChunk(f *serverFrame, now time.Time) {
	r := history.Record{Kind: history.Part, Client: c.id, Job: f.JobID}
	c.mu.Lock()
	o := c.outputs[f.JobID]
	if o == nil {
		o = &output{} // the checker notices that nobody asked for it
	}
	r.Conn = c.conn
	again := false
	if f.Error != "" {
		r.Text = string(f.Error)
		r.Output = &history.Output{Name: f.Stream}
		again = f.Error.Info().Retryable && c.outputs[f.JobID] != nil
	} else {
		r.Output = o.take(f)
	}
	if f.End || f.Error != "" && !again {
		delete(c.outputs, f.JobID)
	}
	conn := c.conn
	c.mu.Unlock()
	c.r.hist.Add(r)
	c.r.heard(now)
	c.r.rec.Count(func(n *measure.Counts) { n.Parts++ })
	if f.Error != "" {
		c.r.rec.Error("stream: " + string(f.Error))
	}
	if again {
		c.askLater(conn, []ref{{jobID: f.JobID}})
	}
}

// readLate reads the whole output of a job over HTTP, as somebody does who comes when the job has ended.
func (r *run) readLate(ctx context.Context, asked history.Record) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	api, err := r.api(asked.Client)
	if err != nil {
		r.rec.Error("stream: no token")
		return
	}
	reader := int(r.streamed.Add(1))
	add := func(rec history.Record) {
		rec.Stream = reader
		r.hist.Add(rec)
	}
	o := &output{words: asked.Output.Words}
	add(o.asked(asked.Client, 1, asked.Job, true))
	part := func(f *serverFrame) history.Record {
		f.Stream = asked.Output.Name
		return history.Record{Kind: history.Part, Client: asked.Client, Conn: 1, Job: asked.Job, Output: o.take(f)}
	}
	for c, err := range api.Job(asked.Job).Stream(ctx, asked.Output.Name) {
		if err != nil {
			rec := part(&serverFrame{Run: o.run, From: o.at})
			e, answered := errors.AsType[*ackwire.Error](err)
			if !answered || e.Code == "" {
				r.rec.Error("stream: no answer")
				return
			}
			rec.Text = string(e.Code)
			add(rec)
			r.rec.Error("stream: " + rec.Text)
			return
		}
		add(part(&serverFrame{Run: c.Run, From: c.From, Text: c.Text, Items: c.Items, Reset: c.Reset}))
	}
	add(part(&serverFrame{Run: o.run, From: o.at, End: true, Total: o.at}))
}
