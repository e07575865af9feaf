package gateway

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/conns"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/sse"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// postEvents handles POST /v1/events, for clients that cannot open a socket. The body says which jobs to follow, and
// the answer is an event stream with the frames of a socket: welcome, subscribed, statuses. With Prefer: wait=N it is
// a long poll: the answer ends after the first news, or after N seconds.
func (g *Gateway) postEvents(w http.ResponseWriter, r *http.Request) {
	id, ok := g.identify(w, r, 0)
	if !ok {
		return
	}
	wait, err := preferWait(r)
	if err != nil {
		g.problem(w, err)
		return
	}
	request, err := g.readWatch(w, r)
	if err != nil {
		g.problem(w, err)
		return
	}
	watches := len(request.Jobs)
	if request.Mine {
		watches++
	}
	if watches > 0 && !id.May(auth.Read) {
		g.problem(w, forbidden(auth.Read))
		return
	}
	if request.Mine && !id.MayFollowAll() {
		g.problem(w, errGrantMine)
		return
	}
	of := following{watches: watches, frames: true, wait: wait}
	g.serveEvents(w, r, id, of, func(room sse.Room, _ string) *sse.Stream {
		return sse.NewFrames(g.hub, g.mine, room, id, request)
	})
}

// readWatch reads the body of postEvents.
func (g *Gateway) readWatch(w http.ResponseWriter, r *http.Request) (request sse.Request, err error) {
	body, err := g.readJSON(w, r, int64(g.cfg.FrameBytes))
	if err != nil {
		return request, err
	}
	// Clear the deadline for the body, which would end the stream.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	asked, err := wire.DecodeWatch(body)
	if err != nil {
		return request, err
	}
	request.Mine, request.After = asked.Mine, asked.After
	if len(asked.Known) > 0 {
		if request.Known, err = wire.DecodeRefs("known", asked.Known); err != nil {
			return request, err
		}
	}
	if len(asked.Jobs) == 0 {
		return request, nil
	}
	refs, err := wire.DecodeRefs("jobs", asked.Jobs)
	if err != nil {
		return request, err
	}
	named := make(map[string]bool, len(refs))
	for _, ref := range refs {
		if !named[ref.JobID] {
			named[ref.JobID] = true
			request.Jobs = append(request.Jobs, ref)
		}
	}
	if len(request.Jobs) > g.cfg.Subscriptions {
		return request, frame.NewProblem(code.LimitExceeded, fmt.Sprintf("a stream may follow %d jobs", g.cfg.Subscriptions))
	}
	return request, nil
}

// readJSON reads a body of JSON, up to a limit in bytes.
func (g *Gateway) readJSON(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, frame.NewProblem(code.UnsupportedMediaType, "the body must be application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		g.metrics.TooSlowToSend()
		return nil, frame.NewProblem(code.InvalidFrame, fmt.Sprintf("the body did not come within %s", conns.BodyTimeout))
	case err != nil:
		return nil, frame.NewProblem(code.InvalidFrame, "the body could not be read")
	case int64(len(body)) > limit:
		return nil, tooLarge(w, r, limit)
	}
	return body, nil
}

// welcome returns the first frame of a stream of frames. The connection's name is the ID of the request.
func (g *Gateway) welcome(w http.ResponseWriter) frame.WelcomeFrame {
	return frame.WelcomeFrame{
		Type: frame.Welcome, Connection: w.Header().Get(problem.RequestIDHeader), Protocol: frame.Protocol,
		PingInterval: g.cfg.PingInterval.Seconds(),
		Limits: frame.Limits{FrameBytes: g.cfg.FrameBytes, Subscriptions: g.cfg.Subscriptions,
			InFlightSubmits: g.cfg.InFlightSubmits},
	}
}
