package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// fakeStreams are the streams of jobs at a tracker that a test plays.
type fakeStreams struct {
	mu        sync.Mutex // guards the fields below
	byJob     map[string]*fakeRun
	reads     int                            // questions that were answered
	follows   int                            // follows that were asked for
	following int                            // follows that are open
	outcome   trackerpb.FollowedPart_Outcome // if set, with it the next follow is refused
	breaks    chan struct{}                  // closed to break the connections; nil for none
	gone      int64                          // positions below are not kept
}

// fakeLife is the life of each job's ID.
const fakeLife = "a"

// fakeRun is the run of a job that counts.
type fakeRun struct {
	life     string // empty stands for fakeLife
	dispatch int
	streams  map[string]*fakeText
	ended    bool
}

// fakeText is a stream: a text, or values.
type fakeText struct {
	kind  job.StreamKind
	text  []byte
	items []json.RawMessage
}

func (s *fakeText) total() int64 { return int64(len(s.text) + len(s.items)) }

// run returns the job's run; f.mu is held.
func (f *fakeStreams) run(jobID string) *fakeRun {
	if f.byJob == nil {
		f.byJob = map[string]*fakeRun{}
	}
	r := f.byJob[jobID]
	if r == nil {
		r = &fakeRun{streams: map[string]*fakeText{}}
		f.byJob[jobID] = r
	}
	return r
}

func (f *fakeStreams) stream(jobID, name string, kind job.StreamKind) *fakeText {
	r := f.run(jobID)
	r.dispatch = max(r.dispatch, 1)
	if r.streams[name] == nil {
		r.streams[name] = &fakeText{kind: kind}
	}
	return r.streams[name]
}

// write appends text.
func (f *fakeStreams) write(jobID, name, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stream(jobID, name, job.StreamText)
	s.text = append(s.text, text...)
}

// send appends values.
func (f *fakeStreams) send(jobID, name string, items ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stream(jobID, name, job.StreamJSON)
	for _, item := range items {
		s.items = append(s.items, json.RawMessage(item))
	}
}

// again begins another run.
func (f *fakeStreams) again(jobID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.run(jobID)
	f.byJob[jobID] = &fakeRun{life: was.life, dispatch: was.dispatch + 1, streams: map[string]*fakeText{}}
}

// born begins another life of the job's ID.
func (f *fakeStreams) born(jobID, life string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byJob[jobID] = &fakeRun{life: life, streams: map[string]*fakeText{}}
}

// end ends all streams of a job.
func (f *fakeStreams) end(jobID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.run(jobID).ended = true
}

// part returns what follows a cursor. f.mu is held.
func (f *fakeStreams) part(jobID, name string, after *trackerpb.StreamCursor, limit int) *trackerpb.StreamPart {
	r := f.run(jobID)
	s := r.streams[name]
	if s == nil {
		s = &fakeText{}
	}
	p := &trackerpb.StreamPart{Kind: string(s.kind), Total: s.total()}
	at := after.GetAt()
	life := stream.LifeOf(cmp.Or(r.life, fakeLife))
	if after.GetDispatch() != 0 && int(after.GetDispatch()) != r.dispatch || after.GetLife() != 0 && after.Life != life {
		p.Reset_, at = true, 0
	}
	if at < 0 {
		at = s.total() + 1 + at
	}
	if r.ended && at > s.total() { // as a tracker does
		p.Reset_, at = true, 0
	}
	for s.kind == job.StreamText && at < s.total() && !utf8.RuneStart(s.text[at]) {
		at--
	}
	p.From = &trackerpb.StreamCursor{Dispatch: int32(r.dispatch), At: at, Life: life}
	p.NextAt = at
	switch {
	case at < f.gone:
		p.Gone = true
		return p
	case at >= s.total():
	case s.kind == job.StreamJSON:
		n, size := 0, 0
		for _, item := range s.items[at:] {
			if n > 0 && size+len(item) > limit {
				break
			}
			n, size = n+1, size+len(item)
		}
		piece, err := plainjson.Marshal(s.items[at : at+int64(n)])
		if err != nil {
			panic(err)
		}
		p.Pieces, p.NextAt = [][]byte{piece}, at+int64(n)
	default:
		n := min(len(s.text)-int(at), limit)
		for at+int64(n) < s.total() && !utf8.RuneStart(s.text[at+int64(n)]) {
			n--
		}
		p.Pieces, p.NextAt = [][]byte{slices.Clone(s.text[at : at+int64(n)])}, at+int64(n)
	}
	p.UpToDate = p.NextAt >= s.total()
	p.Ended = r.ended && p.UpToDate
	return p
}

var errNoJob = connect.NewError(connect.CodeNotFound, errors.New("no such job"))

// Streams implements trackerpbconnect.TrackerHandler.
func (f *fakeTracker) Streams(
	_ context.Context, r *connect.Request[trackerpb.StreamsRequest],
) (*connect.Response[trackerpb.StreamsResponse], error) {
	if !f.sees(r.Msg.JobId, r.Msg.Tenant, r.Msg.Scope) {
		return nil, errNoJob
	}
	f.said.mu.Lock()
	defer f.said.mu.Unlock()
	run := f.said.run(r.Msg.JobId)
	all := &trackerpb.StreamsResponse{Dispatch: int32(run.dispatch)}
	for name, s := range run.streams {
		all.Streams = append(all.Streams, &trackerpb.StreamState{
			Name: name, Kind: string(s.kind), Total: s.total(), Ended: run.ended,
		})
	}
	slices.SortFunc(all.Streams, func(a, b *trackerpb.StreamState) int {
		return slices.Compare([]byte(a.Name), []byte(b.Name))
	})
	return connect.NewResponse(all), nil
}

func (f *fakeTracker) sees(jobID, tenant string, scope *trackerpb.Scope) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.jobs[jobID].in(tenant, scope)
}

// ReadStream implements trackerpbconnect.TrackerHandler.
func (f *fakeTracker) ReadStream(
	ctx context.Context, r *connect.Request[trackerpb.ReadStreamRequest],
) (*connect.Response[trackerpb.ReadStreamResponse], error) {
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	if !f.sees(r.Msg.JobId, r.Msg.Tenant, r.Msg.Scope) {
		return nil, errNoJob
	}
	f.said.mu.Lock()
	defer f.said.mu.Unlock()
	f.said.reads++
	part := f.said.part(r.Msg.JobId, r.Msg.Stream, r.Msg.After, int(r.Msg.MaxBytes))
	return connect.NewResponse(&trackerpb.ReadStreamResponse{Part: part}), nil
}

// FollowStreams implements trackerpbconnect.TrackerHandler.
func (f *fakeTracker) FollowStreams(
	ctx context.Context, bidi *connect.BidiStream[trackerpb.FollowStreamsRequest, trackerpb.FollowStreamsResponse],
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	open := map[uint32]*trackerpb.StreamFollow{}
	refused := map[uint32]trackerpb.FollowedPart_Outcome{}
	f.said.mu.Lock()
	if f.said.breaks == nil {
		f.said.breaks = make(chan struct{})
	}
	breaks := f.said.breaks
	f.said.mu.Unlock()
	go func() {
		defer cancel()
		for {
			m, err := bidi.Receive()
			if err != nil {
				return
			}
			mu.Lock()
			f.said.mu.Lock()
			for _, h := range m.Remove {
				delete(open, h)
			}
			for _, add := range m.Add {
				f.said.follows++
				if f.said.outcome != 0 {
					refused[add.Handle] = f.said.outcome
					f.said.outcome = 0
					continue
				}
				open[add.Handle] = add
			}
			f.said.mu.Unlock()
			mu.Unlock()
		}
	}()
	for pause.For(ctx, 5*time.Millisecond) {
		select {
		case <-breaks:
			return connect.NewError(connect.CodeUnavailable, errors.New("broken"))
		default:
		}
		m := &trackerpb.FollowStreamsResponse{}
		mu.Lock()
		for h, outcome := range refused {
			m.Parts = append(m.Parts, &trackerpb.FollowedPart{Handle: h, Outcome: outcome})
		}
		clear(refused)
		for h, add := range open {
			if !f.sees(add.JobId, add.Tenant, add.Scope) {
				m.Parts = append(m.Parts, &trackerpb.FollowedPart{Handle: h, Outcome: trackerpb.FollowedPart_NOT_FOUND})
				delete(open, h)
				continue
			}
			f.said.mu.Lock()
			part := f.said.part(add.JobId, add.Stream, add.After, 128<<10)
			f.said.mu.Unlock()
			if len(part.Pieces) == 0 && !part.Reset_ && !part.Ended && !part.Gone {
				continue
			}
			add.After = &trackerpb.StreamCursor{Dispatch: part.From.Dispatch, At: part.NextAt, Life: part.From.Life}
			m.Parts = append(m.Parts, &trackerpb.FollowedPart{Handle: h, Part: part, Outcome: trackerpb.FollowedPart_FOLLOWING})
			if part.Ended || part.Gone {
				delete(open, h)
			}
		}
		f.said.mu.Lock()
		f.said.following = len(open)
		f.said.mu.Unlock()
		mu.Unlock()
		if len(m.Parts) > 0 && bidi.Send(m) != nil {
			return nil
		}
	}
	return nil
}
