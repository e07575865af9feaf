package bulkjob

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of a run.
const (
	page      = 256                    // jobs between two reports
	inFlight  = 32                     // orders at the same time
	again     = 200 * time.Millisecond // the first wait before an order is tried again
	mostAgain = 5 * time.Second        // the longest
	poll      = 50 * time.Millisecond  // between two looks for a report in the job's document
	askWithin = 5 * time.Second        // bounds one question to a tracker
	repeat    = 5 * time.Second        // a report that does not show is made again after so long
	historyOf = 1000                   // events of one question for the history
)

// run is one run of a bulk action's job.
type run struct {
	*Worker
	job    *processor.Job
	order  *Order
	id     auth.Identity
	life   string // of the job
	ledger *ledger
	pace   *pace
	stored int  // ledgers that were stored as blobs
	doubt  bool // the jobs behind the ledger may have been ordered by an earlier run
}

// run is the handler of the jobs.
func (w *Worker) run(ctx context.Context, j *processor.Job, payload []byte) (json.RawMessage, error) {
	o, err := decodeOrder(payload)
	if err != nil {
		return nil, processor.Permanent(err)
	}
	if o.By.Tenant != j.Tenant || o.By.Subject != j.Subject {
		return nil, processor.Permanent(errors.New("the bulk action is another client's"))
	}
	r := &run{Worker: w, job: j, order: o, ledger: &ledger{}, pace: newPace(w.cfg.Rate)}
	if r.id, err = o.By.identity(); err != nil {
		return nil, processor.Permanent(err)
	}
	w.cfg.Metrics.running.Inc()
	defer w.cfg.Metrics.running.Dec()
	if err := r.resume(ctx); err != nil {
		return nil, err
	}
	for len(r.ledger.of) < o.Plan.Len() {
		if err := r.page(ctx); err != nil {
			return nil, err
		}
	}
	return plainjson.Marshal(r.result())
}

// resume learns what the run needs to know of its job, and how far earlier runs have come.
func (r *run) resume(ctx context.Context) error {
	r.doubt = r.job.Dispatch > 1
	for wait := again; ; wait = min(2*wait, mostAgain) {
		err := r.learnLife(ctx)
		if err == nil && r.doubt {
			err = r.restoreLast(ctx)
		}
		switch {
		case err == nil:
			return r.name(0)
		case errors.Is(err, errLedger):
			return processor.Permanent(err)
		}
		r.job.Log.Warn("progress of a bulk action not read, trying again", "err", err)
		if !pause.For(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// restoreLast takes over the ledger of the last report of earlier runs, if there is one.
func (r *run) restoreLast(ctx context.Context) error {
	last, err := r.lastReport(ctx)
	if err != nil || last == nil {
		return err
	}
	if err := r.restore(ctx, last); err != nil {
		return err
	}
	r.job.Log.Info("goes on with a bulk action", "at", len(r.ledger.of), "of", r.order.Plan.Len())
	return nil
}

// learnLife asks for the life of the job's ID, which is part of the keys of its blobs.
func (r *run) learnLife(ctx context.Context) error {
	if r.cfg.Blobs == nil {
		return nil
	}
	got, err := r.get(ctx)
	if err != nil {
		return err
	}
	r.life = got.Life
	return nil
}

// get asks for the bulk action's own job.
func (r *run) get(ctx context.Context) (*trackerpb.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return r.cfg.Trackers.Get(ctx, auth.TenantScope(r.job.Tenant).GetRequest(r.job.ID))
}

// lastReport returns the last report that counts of all earlier runs; nil if there is none.
func (r *run) lastReport(ctx context.Context) (last *report, err error) {
	scope := auth.TenantScope(r.job.Tenant)
	req := &trackerpb.HistoryRequest{JobId: r.job.ID, Tenant: scope.Tenant, Scope: scope.Proto(), Limit: historyOf}
	for {
		asked, cancel := context.WithTimeout(ctx, askWithin)
		h, err := r.cfg.Trackers.History(asked, req)
		cancel()
		if err != nil {
			return nil, err
		}
		for _, e := range h.Events {
			if e.Verdict == trackerpb.HistoryEvent_REFUSED || len(e.Progress) == 0 {
				continue
			}
			if rep := readReport(e.Progress); rep != nil {
				last = rep
			}
		}
		if h.Next == 0 {
			return last, nil
		}
		req.From, req.Life = h.Next, h.Life
	}
}

// readReport returns the report in a progress; nil if it has none.
func readReport(progress []byte) *report {
	var p struct {
		Stage string  `json:"stage"`
		Data  *report `json:"data"`
	}
	if json.Unmarshal(progress, &p) != nil || p.Stage != stageWork {
		return nil
	}
	return p.Data
}

// restore takes over the ledger of a report.
func (r *run) restore(ctx context.Context, rep *report) error {
	var packed []byte
	var err error
	if rep.Blob != "" {
		if r.cfg.Blobs == nil {
			return errors.New("the report is in a blob store, and this gateway has none")
		}
		packed, err = r.cfg.Blobs.Get(ctx, rep.Blob, frame.MaxBulk)
	} else if packed, err = decodeLedger(rep.Ledger); err != nil {
		return errLedger
	}
	if err != nil {
		return err
	}
	r.ledger, err = unpack(packed, r.order.Plan.Len())
	return err
}

// page does the next jobs of the plan, and returns when that is reported for good. When ctx ends it reports how far it
// has come, and returns why.
func (r *run) page(ctx context.Context) error {
	from := len(r.ledger.of)
	to := min(from+page, r.order.Plan.Len())
	r.ledger.add(r.touchAll(ctx, from, to)...)
	if len(r.ledger.of) == to {
		r.doubt = false
	}
	err := r.name(from)
	if ctx.Err() != nil {
		return r.stopped(ctx)
	}
	if err != nil {
		return err
	}
	return r.confirm(ctx)
}

// stopped reports how far the run has come when ctx has ended, and returns the error of the run.
func (r *run) stopped(ctx context.Context) error {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
	defer cancel()
	rep, err := r.report(within)
	if err == nil {
		err = r.advance(rep)
	}
	if err != nil {
		r.job.Log.Warn("progress of a bulk action not reported", "err", err)
	}
	return fmt.Errorf("stopped after %d of %d jobs: %w", len(r.ledger.of), r.order.Plan.Len(), context.Cause(ctx))
}

// touchAll orders the jobs of the plan from one index to another. When ctx ends it begins no further order, and returns
// the outcomes of the first jobs: those up to which all are known.
func (r *run) touchAll(ctx context.Context, from, to int) []Outcome {
	all, known := make([]Outcome, to-from), make([]bool, to-from)
	var working sync.WaitGroup
	next := make(chan int)
	for range min(inFlight, to-from) {
		working.Go(func() {
			for i := range next {
				all[i], known[i] = r.touch(ctx, from+i)
			}
		})
	}
	for i := range to - from {
		if r.pace.wait(ctx) != nil {
			break
		}
		next <- i
	}
	close(next)
	working.Wait()
	for i, ok := range known {
		if !ok {
			return all[:i]
		}
	}
	return all
}

// touch orders one job of the plan, again and again until its outcome is known or ctx ends. An order that has begun
// goes on when ctx ends.
func (r *run) touch(ctx context.Context, i int) (o Outcome, known bool) {
	id, round := r.order.Plan.Job(i)
	t := Touch{Action: r.order.Action, JobID: id, Round: round, States: r.order.States, Bulk: r.job.ID,
		Doubt: r.doubt}
	for wait := again; ; wait = min(2*wait, mostAgain) {
		began := time.Now()
		o, err := r.cfg.Orders.Touch(context.WithoutCancel(ctx), r.id, t)
		if err == nil {
			r.pace.ordered(time.Since(began))
			r.cfg.Metrics.jobs[o].Inc()
			return o, true
		}
		t.Doubt = true
		r.pace.refused()
		r.cfg.Metrics.again.Inc()
		r.job.Log.Debug("order of a bulk action is given again", "of", id, "err", err)
		if !pause.For(ctx, wait) {
			return 0, false
		}
	}
}

// name writes the skipped jobs to the stream, from an index of the plan on.
func (r *run) name(from int) error {
	s := r.job.Stream(frame.BulkStream)
	for i := from; i < len(r.ledger.of); i++ {
		if reason := r.ledger.of[i].reason(); reason != "" {
			id, _ := r.order.Plan.Job(i)
			if err := s.Send(frame.BulkSkipped{JobID: id, Reason: reason}); err != nil {
				return err
			}
		}
	}
	return nil
}

// report returns the report of the ledger. A ledger that is too large for it is stored as a blob. A run has two keys
// for these, so that the blob of the report that counts is not overwritten.
func (r *run) report(ctx context.Context) (report, error) {
	rep, packed := r.ledger.report(), r.ledger.pack()
	rep.Run = r.job.Run
	if len(packed) <= maxLedger {
		rep.Ledger = encodeLedger(packed)
		return rep, nil
	}
	if r.cfg.Blobs == nil {
		return rep, errors.New("this gateway has no blob store")
	}
	rep.Blob = fmt.Sprintf("%s%s-%d", event.ResultFolder(r.job.ID, r.life), r.job.Run, r.stored%2)
	err := r.cfg.Blobs.Put(ctx, rep.Blob, "application/octet-stream", "", bytes.NewReader(packed))
	return rep, err
}

func (r *run) advance(rep report) error {
	return r.job.Advance(processor.Progress{
		Current: int64(rep.At), Total: int64(r.order.Plan.Len()), Stage: stageWork, Data: rep,
		Message: fmt.Sprintf("%d done, %d skipped", rep.Done, rep.Skipped),
	})
}

// confirm reports the ledger, and returns when the report counts: when the tracker has it in the job's document.
func (r *run) confirm(ctx context.Context) error {
	var rep report
	for wait := again; ; wait = min(2*wait, mostAgain) {
		var err error
		if rep, err = r.report(ctx); err == nil {
			break
		}
		r.job.Log.Warn("progress of a bulk action not stored, trying again", "err", err)
		if !pause.For(ctx, wait) {
			return context.Cause(ctx)
		}
	}
	if rep.Blob != "" {
		r.stored++
	}
	var said time.Time
	for {
		if time.Since(said) > repeat {
			if err := r.advance(rep); err != nil {
				return err
			}
			said = time.Now()
		}
		if !pause.For(ctx, poll) {
			return context.Cause(ctx)
		}
		if got, err := r.get(ctx); err == nil && r.shows(got, rep) {
			return nil
		}
	}
}

// shows reports whether a report is in the job's document.
func (r *run) shows(got *trackerpb.GetResponse, rep report) bool {
	doc, err := upstream.Document(got.Job)
	if err != nil || doc.Progress == nil || doc.Progress.Stage != stageWork {
		return false
	}
	var shown report
	return json.Unmarshal(doc.Progress.Data, &shown) == nil && shown == rep
}

func (r *run) result() frame.BulkResult {
	told := frame.BulkResult{
		Action: r.order.Action, Matched: int64(r.order.Plan.Len()), Done: r.ledger.counts[Done],
		Skipped: map[frame.BulkReason]int64{}, Jobs: []frame.BulkSkipped{},
	}
	for o := Gone; o < outcomes; o++ {
		told.Skipped[o.reason()] = r.ledger.counts[o]
	}
	for i, o := range r.ledger.of {
		if len(told.Jobs) == frame.MaxBulkSkipped {
			break
		}
		if o != Done {
			id, _ := r.order.Plan.Job(i)
			told.Jobs = append(told.Jobs, frame.BulkSkipped{JobID: id, Reason: o.reason()})
		}
	}
	return told
}
