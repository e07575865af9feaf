package ackwiretest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/stream"
)

const pingInterval = 25 * time.Second

// socket is one client's WebSocket.
type socket struct {
	s  *Server
	ws *websocket.Conn

	// Guarded by Server.mu.
	who  identity
	ends *time.Timer     // warns that who's grant ends, then closes the socket; nil for a token
	subs map[string]bool // IDs of the jobs that are watched one by one
	mine bool            // all jobs are watched

	lists map[string]*watchedList // by the client's names; nil before the first

	told map[string]int64 // the last version that was sent, by job ID
	// follows are the streams that are followed, by job ID and name: where the next chunk begins.
	follows map[string]map[string]stream.Cursor

	out outbox
}

// outbox holds the frames that are still to be written to a socket.
type outbox struct {
	mu     sync.Mutex
	frames [][]byte
	end    code.Close    // the socket is closed with it behind the frames, unless it is 0
	wake   chan struct{} // capacity 1
}

func (o *outbox) put(b []byte) {
	o.mu.Lock()
	o.frames = append(o.frames, b)
	o.mu.Unlock()
	o.woken()
}

// close has the socket closed with a code once everything was written.
func (o *outbox) close(c code.Close) {
	o.mu.Lock()
	o.end = c
	o.mu.Unlock()
	o.woken()
}

func (o *outbox) woken() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) take() ([][]byte, code.Close) {
	o.mu.Lock()
	defer o.mu.Unlock()
	frames := o.frames
	o.frames = nil
	return frames, o.end
}

// serveSocket handles GET /v1/ws. Its goroutine reads frames and answers them in order; submits run in goroutines of
// their own, since a test may delay them. Two more goroutines write the outbox and ping.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{frame.Protocol}})
	if err != nil {
		return // Accept has answered
	}
	ws.SetReadLimit(frame.MaxFrameBytes)
	k := &socket{s: s, ws: ws, who: whoOf(r), subs: map[string]bool{}, told: map[string]int64{},
		follows: map[string]map[string]stream.Cursor{}}
	k.out.wake = make(chan struct{}, 1)
	defer func() { _ = ws.CloseNow() }()
	k.send(welcome(""))
	s.mu.Lock()
	s.sockets[k] = struct{}{}
	k.armLocked()
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	defer func() {
		s.mu.Lock()
		delete(s.sockets, k)
		k.disarmLocked()
		s.mu.Unlock()
		cancel()
		wg.Wait()
	}()
	wg.Go(func() { k.write(ctx) })
	wg.Go(func() { k.ping(ctx) })
	for {
		typ, b, err := ws.Read(ctx)
		if err != nil {
			return
		}
		if typ != websocket.MessageText {
			k.close(code.CloseUnsupportedData)
			return
		}
		var f frame.ClientFrame
		if err := json.Unmarshal(b, &f); err != nil {
			k.refuse("", frame.NewProblem(code.InvalidFrame, "the frame cannot be read"))
			continue
		}
		switch f.Type {
		case frame.Submit:
			wg.Go(func() { k.submit(ctx, f) })
			continue
		case frame.SubmitBatch:
			wg.Go(func() { k.submitBatch(ctx, f) })
			continue
		}
		k.answer(f)
	}
}

// welcome makes the frame that opens a session or, with an id, answers an auth frame.
func welcome(id string) frame.WelcomeFrame {
	return frame.WelcomeFrame{
		Type: frame.Welcome, ID: id, Connection: "ackwiretest", Protocol: frame.Protocol,
		PingInterval: pingInterval.Seconds(),
		Limits: frame.Limits{
			FrameBytes: frame.MaxFrameBytes, Subscriptions: frame.MaxSubscriptions, InFlightSubmits: frame.MaxInFlightSubmits,
		},
	}
}

func (k *socket) write(ctx context.Context) {
	for {
		frames, end := k.out.take()
		for _, b := range frames {
			if k.ws.Write(ctx, websocket.MessageText, b) != nil {
				_ = k.ws.CloseNow()
				return
			}
		}
		if end != 0 {
			k.close(end)
			return
		}
		select {
		case <-k.out.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (k *socket) ping(ctx context.Context) {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if k.ws.Ping(ctx) != nil {
			return // the read loop ends with the socket too
		}
	}
}

// close closes the socket with a code.
func (k *socket) close(c code.Close) { _ = k.ws.Close(websocket.StatusCode(c), c.String()) }

func (k *socket) send(v any) {
	b, err := plainjson.Marshal(v)
	if err != nil {
		panic("ackwiretest: " + err.Error()) // frames always marshal
	}
	k.out.put(b)
}

// refuse answers a frame with an error.
func (k *socket) refuse(id string, err error) {
	k.send(frame.ErrorFrame{Type: frame.Error, ID: id, Problem: problemOf(err)})
}

func problemOf(err error) frame.Problem {
	if p, ok := errors.AsType[frame.Problem](err); ok {
		return p
	}
	return frame.NewProblem(code.Internal, err.Error())
}

// admit applies the faults that the test asked for to a submit: a delay, then perhaps a refusal.
func (s *Server) admit(ctx context.Context) error {
	refusal := s.refusal()
	if err := s.delay(ctx); err != nil {
		return err
	}
	return refusal
}

// delay waits as long as the test asked for.
func (s *Server) delay(ctx context.Context) error {
	s.mu.Lock()
	delay := s.faults.delay
	s.mu.Unlock()
	if delay <= 0 {
		return nil
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refusal returns the error with which the test has the next submit refused; nil if it is not.
func (s *Server) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults.refusals) == 0 {
		return nil
	}
	refusal := s.faults.refusals[0]
	s.faults.refusals = s.faults.refusals[1:]
	return frame.NewProblem(refusal, "the test refuses this submit")
}

// loseLocked reports whether the ack of a job that was just made is to be lost, and counts it.
func (s *Server) loseLocked() bool {
	if s.faults.lost == 0 {
		return false
	}
	s.faults.lost--
	return true
}

func (k *socket) submit(ctx context.Context, f frame.ClientFrame) {
	s := k.s
	s.mu.Lock()
	who := k.who
	s.mu.Unlock()
	err := who.check(maySubmit)
	var watches bool
	if err == nil {
		watches, err = who.watches(f.Watch)
	}
	if err == nil {
		err = s.admit(ctx)
	}
	if err != nil {
		k.refuse(f.ID, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ack, r, err := s.submitLocked(who, f.SubmitRequest)
	if err != nil {
		k.refuse(f.ID, err)
		return
	}
	if s.loseLocked() {
		s.announceLocked(r)
		go func() { _ = k.ws.CloseNow() }() // it may block for a moment
		return
	}
	ack.Type, ack.ID = frame.Ack, f.ID
	k.send(ack)
	if watches {
		k.watchLocked(ack.JobID)
		if refs, _ := readStreams(f.Streams); len(refs) > 0 { // they were read when the job was made
			k.followLocked(r, refs)
		}
	}
	if ack.Duplicate {
		k.tellLocked(r)
	} else {
		s.announceLocked(r)
	}
}

// answer handles every frame but a submit.
func (k *socket) answer(f frame.ClientFrame) {
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch f.Type {
	case frame.Ping:
		k.send(frame.PongFrame{Type: frame.Pong, ID: f.ID})
	case frame.Auth:
		k.authLocked(f)
	case frame.Cancel, frame.Retry:
		k.orderLocked(f)
	case frame.Subscribe:
		k.subscribeLocked(f)
	case frame.WatchList, frame.UnwatchList:
		k.listLocked(f)
	case frame.Unsubscribe:
		var ids []string
		if err := k.who.check(mayRead); err != nil {
			k.refuse(f.ID, err)
			return
		}
		if f.Mine {
			k.mine = false
		} else if json.Unmarshal(f.Jobs, &ids) != nil {
			k.refuse(f.ID, frame.NewProblem(code.InvalidFrame, "jobs is not a list of job IDs"))
			return
		}
		for _, id := range ids {
			delete(k.subs, id)
			delete(k.follows, id)
		}
		k.send(frame.UnsubscribedFrame{Type: frame.Unsubscribed, ID: f.ID, Jobs: append([]string{}, ids...), Mine: f.Mine})
	default:
		k.refuse(f.ID, frame.NewProblem(code.UnknownFrame, fmt.Sprintf("%.64q is no frame of a client", f.Type)))
	}
}

// orderLocked handles a cancel or a retry.
func (k *socket) orderLocked(f frame.ClientFrame) {
	err := k.who.checkOrder(f.Type)
	watches := false
	if err == nil && f.Type == frame.Retry {
		watches, err = k.who.watches(f.Watch)
	}
	if err != nil {
		k.refuse(f.ID, err)
		return
	}
	ack, r, err := k.s.orderLocked(k.who, f.Type, f.JobID)
	if err != nil {
		k.refuse(f.ID, err)
		return
	}
	ack.Type, ack.ID = frame.Ack, f.ID
	k.send(ack)
	if watches {
		k.watchLocked(ack.JobID)
	}
	k.s.changedLocked(r)
}

func (k *socket) subscribeLocked(f frame.ClientFrame) {
	s := k.s
	err := k.who.check(mayRead)
	if err == nil && f.Mine {
		err = k.who.checkMine()
	}
	if err != nil {
		k.refuse(f.ID, err)
		return
	}
	if f.Mine {
		k.mine = true
		k.send(frame.SubscribedFrame{Type: frame.Subscribed, ID: f.ID, Jobs: []frame.SubscribedJob{}, Mine: true})
		if after, err := strconv.ParseInt(f.After, 10, 64); err == nil {
			for _, r := range s.order {
				if r.version > after && s.records[r.doc.JobID] == r {
					k.statusLocked(r)
				}
			}
		}
		k.cursorLocked()
		return
	}
	var refs []frame.JobRef
	if json.Unmarshal(f.Jobs, &refs) != nil {
		k.refuse(f.ID, frame.NewProblem(code.InvalidFrame, "jobs is not a list of jobs"))
		return
	}
	streams := make([][]frame.StreamRef, len(refs))
	for i, ref := range refs {
		if streams[i], err = readStreams(ref.Streams); err != nil {
			k.refuse(f.ID, err)
			return
		}
	}
	answer := frame.SubscribedFrame{Type: frame.Subscribed, ID: f.ID, Jobs: make([]frame.SubscribedJob, len(refs))}
	var tell []*record
	for i, ref := range refs {
		answer.Jobs[i].JobID = ref.JobID
		r := s.findLocked(k.who, ref.JobID)
		if r == nil {
			answer.Jobs[i].Error = code.NotFound
			continue
		}
		answer.Jobs[i].Version = r.version
		k.watchLocked(r.doc.JobID)
		var after int64
		if ref.After != nil {
			after = *ref.After
		}
		answer.Jobs[i].Reset = after > r.version
		if answer.Jobs[i].Reset {
			after = 0
		}
		if after < r.version {
			if !k.mine { // a second watch may begin further back
				delete(k.told, r.doc.JobID)
			}
			tell = append(tell, r)
		}
	}
	k.send(answer)
	for _, r := range tell {
		k.tellLocked(r)
	}
	for i, ref := range refs {
		if r := s.findLocked(k.who, ref.JobID); r != nil && streams[i] != nil {
			k.followLocked(r, streams[i])
		}
	}
}

func (k *socket) statusLocked(r *record) {
	k.told[r.doc.JobID] = r.version
	k.send(frame.StatusFrame{Type: frame.Status, Version: r.version, Mine: k.mine, Job: r.raw})
}

// cursorLocked sends the cursor: the version up to which the client was sent the changes of all jobs.
func (k *socket) cursorLocked() {
	k.send(frame.CursorFrame{Type: frame.Cursor, Cursor: strconv.FormatInt(k.s.version, 10)})
}

// watchLocked begins a watch of one job. It forgets which version was sent, so that the document is sent again, unless
// the socket watches all jobs: then a version is sent only once.
func (k *socket) watchLocked(jobID string) {
	if !k.subs[jobID] && !k.mine {
		delete(k.told, jobID)
	}
	k.subs[jobID] = true
}

// tellLocked sends a job's document if the client watches the job and was not sent this version.
func (k *socket) tellLocked(r *record) {
	id := r.doc.JobID
	if !k.mine && !k.subs[id] || k.told[id] >= r.version {
		return
	}
	k.statusLocked(r)
	if k.mine {
		k.cursorLocked()
	}
	if r.doc.State.Terminal() {
		delete(k.subs, id)
	}
}
