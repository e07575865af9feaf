package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/history"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
)

// stream follows jobs as a browser's EventSource does (WHATWG HTML §9.2): after the end of each 200 it reconnects with
// the last event ID that it has, and it stops for good at any other status. It records everything in the history. All
// fields are owned by its goroutine.
type stream struct {
	r      *run
	id     int
	client int // whose token it shows
	path   string
	jobs   []string

	conn    int
	lastID  string
	retry   time.Duration
	after   int             // connections since it has received all ends
	seen    map[string]told // of each job
	covered map[string]told // the part of seen that lastID covers
}

// told is what a stream has received of a job.
type told struct {
	version int64
	state   job.State
	refused code.Code // it cannot be followed
}

// over reports whether the stream has received the job's end, or that it cannot be followed.
func (t told) over() bool {
	return t.state.Terminal() || t.refused != "" && !t.refused.Info().Retryable
}

// stream starts an event stream for a job that a client has submitted; every second one also follows the job before,
// which may have ended.
func (r *run) stream(c *client, jobID string) {
	if r.streams.Add(1) > maxStreams {
		r.streams.Add(-1)
		r.rec.Error("events: left out, as too many streams were open")
		return
	}
	s := &stream{
		r: r, id: int(r.streamed.Add(1)), client: c.id, retry: streamRetry,
		jobs: []string{jobID}, path: "/v1/jobs/" + jobID + "/events",
		seen: map[string]told{}, covered: map[string]told{},
	}
	c.mu.Lock()
	before := c.streamed
	c.streamed = jobID
	if before != "" {
		c.streamed = ""
	}
	c.mu.Unlock()
	if before != "" {
		s.jobs = []string{jobID, before}
		s.path = "/v1/events?" + url.Values{"job": s.jobs}.Encode()
	}
	r.wg.Go(func() {
		defer r.streams.Add(-1)
		for s.connect() && s.after < maxComebacks && pause.For(r.ctx, s.retry) {
		}
	})
}

func (s *stream) add(r history.Record) {
	r.Client, r.Stream, r.Conn = s.client, s.id, s.conn
	s.r.hist.Add(r)
}

// connect reads one connection to its end. It reports whether the stream is to reconnect.
func (s *stream) connect() (back bool) {
	ctx, cancel := context.WithCancel(s.r.ctx)
	defer cancel()
	req, err := s.request(ctx)
	if err != nil {
		s.r.rec.Error("events: no token")
		return false
	}
	s.conn++
	all := true
	for _, id := range s.jobs {
		has := s.covered[id]
		s.add(history.Record{Kind: history.Watch, Job: id, Version: has.version, State: has.state, Text: string(has.refused)})
		all = all && s.seen[id].over()
	}
	if all {
		s.after++
	}
	resp, err := s.r.getter.Do(req)
	if err != nil {
		if s.r.ctx.Err() == nil {
			s.add(history.Record{Kind: history.Answered})
			s.r.rec.Error("events: no answer")
			s.r.fault("event stream %d: %v", s.id, err)
		}
		return true
	}
	if f := s.r.cfg.faults; f != nil {
		f.answered(s, resp)
	}
	defer resp.Body.Close()
	s.add(history.Record{Kind: history.Answered, Code: resp.StatusCode})
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode != http.StatusOK ||
		kind != "text/event-stream" {
		if resp.StatusCode != http.StatusNoContent {
			s.r.rec.Error(fmt.Sprintf("events: HTTP %d", resp.StatusCode))
		}
		if resp.StatusCode >= http.StatusInternalServerError {
			s.r.fault("event stream %d was answered HTTP %d", s.id, resp.StatusCode)
		}
		return false
	}
	for _, id := range s.jobs {
		s.add(history.Record{Kind: history.Watched, Job: id})
	}
	quiet := time.AfterFunc(streamQuiet, cancel)
	defer quiet.Stop()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxFrameBytes)
	s.read(lines, func() { quiet.Reset(streamQuiet) })
	if err := lines.Err(); err != nil && s.r.ctx.Err() == nil {
		s.add(history.Record{Kind: history.Close, Text: "connection lost"})
		s.r.fault("event stream %d was lost: %v", s.id, err)
		return true
	}
	s.add(history.Record{Kind: history.Close})
	return true
}

func (s *stream) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.r.gateway(s.id+s.conn)+s.path, nil)
	if err != nil {
		return nil, err
	}
	token, err := s.r.token(s.client)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Accept", "text/event-stream")
	if s.lastID != "" {
		req.Header.Set("Last-Event-ID", s.lastID)
	}
	return req, nil
}

// read handles events up to the end of the connection. An incomplete last event is ignored.
func (s *stream) read(lines *bufio.Scanner, alive func()) {
	id := s.lastID
	covers := false
	name := ""
	data := ""
	for lines.Scan() {
		alive()
		line := lines.Text()
		if line == "" {
			s.event(name, data, id, covers)
			s.lastID = id
			if covers {
				s.covered = maps.Clone(s.seen)
			}
			covers, name, data = false, "", ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			data += value // of JSON: a line's end between is nothing
		case "id":
			id, covers = value, true
		case "retry":
			if ms, err := strconv.Atoi(value); err == nil {
				s.retry = min(time.Duration(ms)*time.Millisecond, time.Minute)
			}
		}
	}
}

// event handles one event: a status, or an error that a job cannot be followed. On a stream of one job the event's ID
// is the status's version; on others the version is not known.
func (s *stream) event(name, data, id string, has bool) {
	switch name {
	case "status":
		var f serverFrame
		if err := json.Unmarshal([]byte(data), &f.Job); err != nil {
			s.r.rec.Error("an event that cannot be read")
			return
		}
		if has && len(s.jobs) == 1 {
			f.Version, _ = strconv.ParseInt(id, 10, 64) // 0, which is none, if it is no number
		}
		s.add(f.seen())
		s.r.heard(time.Now())
		s.seen[f.Job.JobID] = told{version: f.Version, state: f.Job.State}
		if f.Job.State.Terminal() {
			s.r.ended(f.Job.JobID, f.Job.State)
		}
	case "refused":
		var a struct {
			JobID string    `json:"jobId"`
			Error code.Code `json:"error"`
		}
		if err := json.Unmarshal([]byte(data), &a); err != nil {
			s.r.rec.Error("an event that cannot be read")
			return
		}
		s.add(history.Record{Kind: history.Watched, Job: a.JobID, Text: string(a.Error)})
		s.seen[a.JobID] = told{refused: a.Error}
	}
}
