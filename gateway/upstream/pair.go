package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kerr"
	"google.golang.org/protobuf/proto"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

const (
	closedInterval = time.Second // between two questions whether the former system is closed
	maxFinds       = 64          // jobs that are looked for at the same time
	// formerStream is set in the IDs of the former system's streams.
	formerStream = 1 << 63
	// anyTenant is the tenant of the question whether the former system is closed; its jobs do not matter.
	anyTenant = "-"
)

// Pair is a gateway's upstream. Usually it is that of one system, the trackers of one topic prefix. While jobs move to
// another prefix there is a former one, too: each job stays where it was made until it expires, so every question about
// a job is put to the former system if the present one does not have it. Lists, counts and watches of subjects ask
// both.
//
// "Not found" of both is an answer: a job never moves, and each says it only of all that its log held when it was
// asked.
type Pair struct {
	// Set by NewPair, then only read.
	now    *Upstream
	former *Upstream // nil unless jobs are moving
	log    *slog.Logger

	closed  atomic.Bool           // the former system makes no jobs of new keys any more
	missing atomic.Pointer[error] // why Run has not begun to watch; nil if it has
	slots   chan struct{}         // one for each job that is being looked for

	// Written by Run before it starts the two systems, then only read.
	partitions [2]int32 // of the present and of the former system

	mu      sync.Mutex                     // guards the fields below; the systems' locks are taken under it
	ctx     context.Context                // Run's; nil before Run
	ended   bool                           // Run's ctx has ended
	finding map[string]map[string]*finding // by job ID and who asks, as in WatchAdd.who
	follows map[uint32]struct{}            // handles of streams of jobs whose system is being looked for
	finds   sync.WaitGroup
}

// finding is a watch of a job whose system is being looked for.
type finding struct{ add *trackerpb.WatchAdd }

// NewPair returns the upstream of a gateway. former has the names of the former system's topics and groups; nil if
// there is none.
func NewPair(cfg Config, former *topic.Names) *Pair {
	if former == nil {
		return &Pair{now: New(cfg)}
	}
	p := &Pair{log: cfg.Log, slots: make(chan struct{}, maxFinds), finding: map[string]map[string]*finding{}}
	p.missing.Store(&errNotAsked)
	old := cfg
	old.Names = *former
	cfg.Watcher, old.Watcher = &half{cfg.Watcher, p, 0}, &half{cfg.Watcher, p, 1}
	p.follows = map[uint32]struct{}{}
	p.now, p.former = New(cfg), New(old)
	return p
}

// half passes on what the watch streams of one system bring, with the partitions of both numbered as if they were one
// topic's: those of the former system come last.
type half struct {
	Watcher
	pair *Pair
	side int
}

// Covered implements Watcher.
func (h *half) Covered(stream uint64, c *trackerpb.Coverage) {
	both := proto.Clone(c).(*trackerpb.Coverage)
	both.Partitions = h.pair.partitions[0] + h.pair.partitions[1]
	if h.side == 1 {
		both.Partition += h.pair.partitions[0]
	}
	h.Watcher.Covered(h.stream(stream), both)
}

// Uncovered implements Watcher.
func (h *half) Uncovered(stream uint64) { h.Watcher.Uncovered(h.stream(stream)) }

func (h *half) stream(id uint64) uint64 {
	if h.side == 1 {
		return id | formerStream
	}
	return id
}

// Names returns the names of the system's topics and groups.
func (u *Upstream) Names() topic.Names { return u.owners.names }

// Now returns the present system.
func (p *Pair) Now() *Upstream { return p.now }

// Former returns the former system, or nil if there is none.
func (p *Pair) Former() *Upstream { return p.former }

// Intake returns the system that is to have new jobs without a key: the former one until it is closed. By then all
// gateways know both systems, and none says of a new job that it does not exist.
func (p *Pair) Intake() *Upstream {
	if p.former == nil || p.closed.Load() {
		return p.now
	}
	return p.former
}

// NoteClosed records that the former system is closed.
func (p *Pair) NoteClosed() {
	if !p.closed.Swap(true) {
		p.log.Info("new jobs go to the new topic prefix", "former", p.former.Names().Prefix, "now", p.now.Names().Prefix)
	}
}

// Run keeps the watch streams to all trackers until ctx ends.
func (p *Pair) Run(ctx context.Context) error {
	if p.former == nil {
		return p.now.Run(ctx)
	}
	if !p.learnPartitions(ctx) {
		return nil
	}
	p.mu.Lock()
	p.ctx = ctx
	p.mu.Unlock()
	var running sync.WaitGroup
	errs := make([]error, 2)
	running.Go(func() { errs[0] = p.now.Run(ctx) })
	running.Go(func() { errs[1] = p.former.Run(ctx) })
	running.Go(func() { p.awaitClosed(ctx) })
	running.Wait()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.finds.Wait()
	return errors.Join(errs...)
}

// learnPartitions asks until it knows the number of partitions of both systems. It returns false when ctx has ended.
func (p *Pair) learnPartitions(ctx context.Context) bool {
	for {
		var err error
		for i, u := range []*Upstream{p.now, p.former} {
			try, cancel := context.WithTimeout(ctx, u.owners.bounds.Ask)
			p.partitions[i], err = kafka.PartitionCount(try, u.owners.client, u.owners.names.Status())
			cancel()
			if errors.Is(err, kerr.UnknownTopicOrPartition) {
				err = fmt.Errorf("there is no system with the topic prefix %s: %w", u.owners.names.Prefix, err)
			}
			if err != nil {
				break
			}
		}
		if err == nil {
			p.missing.Store(nil)
			return true
		}
		p.missing.Store(&err)
		if !pause.For(ctx, refreshInterval) {
			return false
		}
	}
}

// awaitClosed asks the former system until it is closed.
func (p *Pair) awaitClosed(ctx context.Context) {
	for !p.closed.Load() && pause.For(ctx, closedInterval) {
		try, cancel := context.WithTimeout(ctx, p.former.owners.bounds.Steps)
		stats, err := p.former.Stats(try, anyTenant, nil, nil)
		cancel()
		if err == nil && stats.Closed {
			p.NoteClosed()
		}
	}
}

// Ready returns why reads and watches do not work on this gateway, or nil.
func (p *Pair) Ready() error {
	if p.former == nil {
		return p.now.Ready()
	}
	if why := p.missing.Load(); why != nil {
		return *why
	}
	err := p.former.Ready()
	if err != nil {
		err = fmt.Errorf("former topic prefix %s: %w", p.former.Names().Prefix, err)
	}
	return errors.Join(p.now.Ready(), err)
}

// Streams returns the number of trackers to which there is a stream.
func (p *Pair) Streams() int {
	if p.former == nil {
		return p.now.Streams()
	}
	return p.now.Streams() + p.former.Streams()
}

// Get is Upstream.Get at the system that has the job.
func (p *Pair) Get(ctx context.Context, req *trackerpb.GetRequest) (*trackerpb.GetResponse, error) {
	got, _, err := p.Find(ctx, req)
	return got, err
}

// Find is Get, and returns the system that has the job.
func (p *Pair) Find(ctx context.Context, req *trackerpb.GetRequest) (*trackerpb.GetResponse, *Upstream, error) {
	at, err := p.locate(ctx, req.JobId, req.Tenant, req.Scope)
	if err != nil {
		return nil, nil, err
	}
	got, err := at.Get(ctx, req)
	return got, at, err
}

// locate returns the system that has a job. If neither has it, that is the former one, which says so when it is asked.
// The question names no version, because each system has its own.
func (p *Pair) locate(ctx context.Context, jobID, tenant string, scope *trackerpb.Scope) (*Upstream, error) {
	if p.former == nil {
		return p.now, nil
	}
	_, err := p.now.Get(ctx, &trackerpb.GetRequest{JobId: jobID, Tenant: tenant, Scope: scope})
	switch {
	case err == nil:
		return p.now, nil
	case connect.CodeOf(err) == connect.CodeNotFound:
		return p.former, nil
	}
	return nil, err
}

// KeepTicket stores a ticket at the present system.
func (p *Pair) KeepTicket(ctx context.Context, req *trackerpb.KeepTicketRequest) error {
	return p.now.KeepTicket(ctx, req)
}

// TakeTicket redeems a ticket that either system has: a gateway that knows only the former one may have made it.
func (p *Pair) TakeTicket(
	ctx context.Context, req *trackerpb.TakeTicketRequest,
) (*trackerpb.TakeTicketResponse, error) {
	taken, err := p.now.TakeTicket(ctx, req)
	if p.former != nil && connect.CodeOf(err) == connect.CodeNotFound {
		return p.former.TakeTicket(ctx, req)
	}
	return taken, err
}

// List is Upstream.List of both systems.
func (p *Pair) List(ctx context.Context, req *trackerpb.ListRequest) (*trackerpb.ListResponse, error) {
	if p.former == nil {
		return p.now.List(ctx, req)
	}
	pages, err := askBoth(p, func(u *Upstream) (*trackerpb.ListResponse, error) { return u.List(ctx, req) })
	if err != nil {
		return nil, err
	}
	return mergeLists(pages, int(req.Limit), MaxPageBytes), nil
}

// Stats is Upstream.Stats of both systems.
func (p *Pair) Stats(
	ctx context.Context, tenant string, scope *trackerpb.Scope, tags []*trackerpb.Tag,
) (*trackerpb.StatsResponse, error) {
	if p.former == nil {
		return p.now.Stats(ctx, tenant, scope, tags)
	}
	counts, err := askBoth(p, func(u *Upstream) (*trackerpb.StatsResponse, error) {
		return u.Stats(ctx, tenant, scope, tags)
	})
	if err != nil {
		return nil, err
	}
	return mergeStats(counts), nil
}

// askBoth asks both systems at once. The error is the first of theirs.
func askBoth[T any](p *Pair, ask func(*Upstream) (T, error)) ([]T, error) {
	answers, errs := make([]T, 2), make([]error, 2)
	var asked sync.WaitGroup
	for i, u := range []*Upstream{p.now, p.former} {
		asked.Go(func() { answers[i], errs[i] = ask(u) })
	}
	asked.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err // not joined, for it has a Connect code
		}
	}
	return answers, nil
}

// Add is Upstream.Add at the system that has the job. If that cannot be found out now, the watcher's Lost is called
// later.
func (p *Pair) Add(add *trackerpb.WatchAdd) {
	if p.former == nil {
		p.now.Add(add)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil || p.ended {
		p.now.Lose(add.JobId)
		return
	}
	f := &finding{add}
	if p.finding[add.JobId] == nil {
		p.finding[add.JobId] = map[string]*finding{}
	}
	p.finding[add.JobId][add.Who] = f
	ctx := p.ctx
	p.finds.Go(func() { p.find(ctx, f) }) // one for each watch, of which sessions may have only so many
}

func (p *Pair) find(ctx context.Context, f *finding) {
	at, err := p.locateForWatch(ctx, f.add)
	p.mu.Lock()
	defer p.mu.Unlock()
	id, who := f.add.JobId, f.add.Who
	if p.finding[id][who] != f {
		return // removed, or added again
	}
	p.forgetLocked(id, who)
	if err != nil {
		p.now.Lose(id)
		return
	}
	at.Add(f.add)
}

func (p *Pair) locateForWatch(ctx context.Context, add *trackerpb.WatchAdd) (*Upstream, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, p.now.owners.bounds.Steps)
	defer cancel()
	return p.locate(ctx, add.JobId, add.Tenant, add.Scope)
}

func (p *Pair) forgetLocked(jobID, who string) {
	delete(p.finding[jobID], who)
	if len(p.finding[jobID]) == 0 {
		delete(p.finding, jobID)
	}
}

// Remove ends the watch of a job.
func (p *Pair) Remove(jobID string) { p.each(jobID, (*Upstream).Remove) }

// Ended records that the tracker has ended the watch of a job by itself.
func (p *Pair) Ended(jobID string) { p.each(jobID, (*Upstream).Ended) }

func (p *Pair) each(jobID string, f func(*Upstream, string)) {
	if p.former != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.finding, jobID)
		f(p.former, jobID)
	}
	f(p.now, jobID)
}

// Lose gives up the watch of a job for now: after a pause the watcher's Lost is called for it.
func (p *Pair) Lose(jobID string) { p.now.Lose(jobID) }

// AddSubject is Upstream.AddSubject at both systems.
func (p *Pair) AddSubject(add *trackerpb.SubjectAdd) {
	p.now.AddSubject(add)
	if p.former != nil {
		p.former.AddSubject(add)
	}
}

// RemoveSubject is Upstream.RemoveSubject at both systems.
func (p *Pair) RemoveSubject(handle uint32) {
	p.now.RemoveSubject(handle)
	if p.former != nil {
		p.former.RemoveSubject(handle)
	}
}
