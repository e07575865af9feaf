package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/fleet"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of the answer of GET /v1/workers.
const (
	maxWorkers     = 1000
	maxWorkerLanes = 100
	maxWorkerBytes = listBytes / 2 // of workers as the trackers tell them
)

// workers are the routes of workers and of the webhooks that they deliver, which need the permission operate.
type workers struct {
	*lists
}

// operator returns who asks, which must be permitted to operate, with the query, which may have these parameters, and
// counts the question as one for a list. done must be called once the answer is written. If ok is false it has answered
// the request.
func (ws *workers) operator(
	w http.ResponseWriter, r *http.Request, parameters ...string,
) (id auth.Identity, q url.Values, done func(), ok bool) {
	if id, ok = ws.identify(w, r, auth.Operate); !ok {
		return id, nil, nil, false
	}
	done, err := ws.beginList(id)
	if err != nil {
		ws.problem(w, err)
		return id, nil, nil, false
	}
	if q, err = readQuery(r, parameters...); err != nil {
		done()
		ws.problem(w, err)
		return id, nil, nil, false
	}
	return id, q, done, true
}

// getWorkers handles GET /v1/workers.
func (ws *workers) getWorkers(w http.ResponseWriter, r *http.Request) {
	_, _, done, ok := ws.operator(w, r)
	if !ok {
		return
	}
	defer done()
	ctx, cancel := context.WithTimeout(r.Context(), ws.cfg.ReadTimeout)
	defer cancel()
	told, err := ws.cfg.Fleet.Workers(ctx)
	if err != nil {
		ws.problem(w, fleetProblem(err))
		return
	}
	answer := frame.Workers{Workers: []frame.Worker{}, AsOf: unixTime(told.AsOf), Truncated: told.Truncated}
	for _, t := range busiest(told) {
		answer.Workers = append(answer.Workers, shownWorker(t))
	}
	answer.Truncated = answer.Truncated || len(answer.Workers) < len(told.Workers)
	var more bool
	if answer.Lanes, more, err = ws.workerLanes(ctx, &answer, told.Lanes); err != nil {
		ws.problem(w, err)
		return
	}
	answer.Truncated = answer.Truncated || more
	ws.answer(w, answer)
}

// fleetProblem returns the error for clients of an error of the upstream.
func fleetProblem(err error) error {
	if connect.CodeOf(err) == connect.CodeUnimplemented {
		return problem.Unavailable("the trackers are of an earlier release")
	}
	return queryProblem(err)
}

// busiest returns the workers sorted by name, and if they are too many those that hold most jobs.
func busiest(told *trackerpb.WorkersResponse) []*trackerpb.Worker {
	all := slices.SortedFunc(slices.Values(told.Workers), func(a, b *trackerpb.Worker) int {
		return cmp.Or(cmp.Compare(b.Running, a.Running), strings.Compare(a.Name, b.Name))
	})
	const heldBytes = 256 // about as many as a held job takes
	bytes := 0
	for i, w := range all {
		bytes += len(w.Name) + len(w.Announced) + heldBytes*len(w.Oldest)
		if i == maxWorkers || i > 0 && bytes > maxWorkerBytes {
			all = all[:i]
			break
		}
	}
	slices.SortFunc(all, func(a, b *trackerpb.Worker) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// shownWorker returns a worker for clients.
func shownWorker(t *trackerpb.Worker) frame.Worker {
	w := frame.Worker{Worker: t.Name, Lanes: []frame.WorkerSlot{}, Running: t.Running, Holds: []frame.HeldJob{}}
	seen := t.AnnouncedAt
	for _, h := range t.Oldest {
		seen = max(seen, h.LastSign)
		w.Holds = append(w.Holds, heldJob(h))
	}
	w.SeenAt = unixTime(seen)
	if len(t.Announced) == 0 {
		return w
	}
	a, err := fleet.Decode(t.Announced)
	if err != nil { // of a release with other bounds
		return w
	}
	started := a.StartedAt.UTC()
	w.Announced, w.Draining = true, a.Draining
	w.Version, w.StartedAt = a.Version, &started
	for _, l := range a.Lanes {
		w.Lanes = append(w.Lanes, frame.WorkerSlot(l))
	}
	w.PausedEndpoints, w.PausedMore = pausedOf(&a)
	return w
}

func pausedOf(a *fleet.Announcement) (all []frame.PausedEndpoint, more bool) {
	for _, p := range a.Paused {
		p.Until = p.Until.UTC()
		all = append(all, frame.PausedEndpoint(p))
	}
	return all, a.PausedMore
}

func heldJob(h *trackerpb.HeldJob) frame.HeldJob {
	held := frame.HeldJob{JobID: h.JobId, Tenant: h.Tenant, Type: h.Type, Lane: h.Lane, Attempt: int(h.Attempt),
		Since: unixTime(h.Since), LastSign: unixTime(h.LastSign)}
	if h.Progressed > 0 {
		at := unixTime(h.Progressed)
		held.ProgressAt, held.Percent, held.Stage = &at, &h.Percent, h.Stage
	}
	return held
}

// workerLanes returns the lanes of the job types, of running jobs and of workers, in this order if they are too many.
func (ws *workers) workerLanes(
	ctx context.Context, told *frame.Workers, work []*trackerpb.LaneWork,
) (all []frame.WorkerLane, more bool, err error) {
	lanes := map[string]*frame.WorkerLane{}
	lane := func(name string) *frame.WorkerLane {
		if lanes[name] == nil && len(lanes) == maxWorkerLanes {
			more = true
			return &frame.WorkerLane{}
		}
		if lanes[name] == nil {
			lanes[name] = &frame.WorkerLane{Lane: name}
		}
		return lanes[name]
	}
	for _, name := range ws.cfg.Types.Lanes() {
		lane(name)
	}
	for _, l := range work {
		at := lane(l.Lane)
		at.Running += l.Running
		if l.Measured {
			wait := (time.Duration(l.OldestWait) * time.Millisecond).Seconds()
			at.OldestWait = &wait
		}
	}
	for _, w := range told.Workers {
		for _, l := range w.Lanes {
			if at := lane(l.Lane); !w.Draining && !l.Yielded {
				at.Slots += l.Slots
			}
		}
	}
	backlog, err := ws.backlogs.sum(ctx, slices.Collect(maps.Keys(lanes))...)
	if err != nil {
		return nil, false, err
	}
	all = []frame.WorkerLane{}
	for _, name := range slices.Sorted(maps.Keys(lanes)) {
		l := lanes[name]
		l.Workers, l.Waiting = backlog[name].workers, backlog[name].waiting
		all = append(all, *l)
	}
	return all, more, nil
}
