package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/sse"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// postEvents handles POST /v1/events, for clients that cannot open a socket. The body says which jobs to follow, and
// the answer is an event stream with the frames of a socket: welcome, subscribed, statuses. With Prefer: wait=N it is
// a long poll: the answer ends after the first news, or after N seconds.
func (f *follows) postEvents(w http.ResponseWriter, r *http.Request) {
	id, ok := f.identify(w, r, 0)
	if !ok {
		return
	}
	wait, err := preferWait(r)
	if err != nil {
		f.problem(w, err)
		return
	}
	request, err := f.readWatch(w, r)
	if err != nil {
		f.problem(w, err)
		return
	}
	watches := len(request.Jobs)
	if request.Subject {
		watches++
	}
	if watches > 0 && !id.May(auth.Read) {
		f.problem(w, forbidden(auth.Read))
		return
	}
	if request.Subject && !id.MayFollowAll() {
		f.problem(w, errGrantSubject)
		return
	}
	of := following{watches: watches, frames: true, wait: wait}
	f.serveEvents(w, r, id, of, func(room sse.Room, _ string) *sse.Stream {
		return sse.NewFrames(f.cfg.Hub, f.cfg.Subjects, room, id, request)
	})
}

// readWatch reads the body of postEvents.
func (f *follows) readWatch(w http.ResponseWriter, r *http.Request) (request sse.Request, err error) {
	body, err := f.readJSON(w, r, int64(f.cfg.FrameBytes))
	if err != nil {
		return request, err
	}
	// Clear the deadline for the body, which would end the stream.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	asked, err := wire.DecodeWatch(body)
	if err != nil {
		return request, err
	}
	request.Subject, request.After = asked.Mine, asked.After
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
	followed := 0
	for _, ref := range refs {
		of, err := wire.DecodeStreams(ref.Streams)
		if err != nil {
			return request, err
		}
		if !named[ref.JobID] {
			named[ref.JobID] = true
			request.Jobs, request.Streams = append(request.Jobs, ref), append(request.Streams, of)
			followed += len(of)
		}
	}
	if followed > frame.MaxFollowedStreams {
		return request, errTooManyStreams
	}
	if len(request.Jobs) > f.cfg.Subscriptions {
		return request, frame.NewProblem(code.LimitExceeded, fmt.Sprintf("a stream may follow %d jobs", f.cfg.Subscriptions))
	}
	return request, nil
}
