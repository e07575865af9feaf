package processor

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// A stop's timeout, besides Config.Grace and those that depend on Kafka.
const handlerExit = 5 * time.Second // for handlers to return after their contexts have ended

// stop ends the processor's work, in this order:
//
//  1. lanes take no more requests, wait for their claims, commit and leave their groups,
//     so that other workers get the partitions while handlers still run here;
//  2. jobs whose handlers have not begun are handed back at once;
//  3. running handlers have Config.Grace to finish normally;
//  4. then their contexts end with ErrShutdown; each job is handed back when its handler
//     returns, or after handlerExit if it does not;
//  5. reports have twice the time that one produce may take to become durable.
//
// Each step ends early when no run is left. If a run is left after the last step, its lease expires
// and the tracker hands the job out again.
func (p *Processor) stop(taking *sync.WaitGroup) error {
	p.log.Info("stopping", "runs", len(p.snapshot()))
	p.each((*run).leave)

	settled, over := make(chan struct{}), make(chan struct{})
	var settling sync.WaitGroup
	settling.Go(func() {
		taking.Wait()        // bounded: see lane.run
		p.each((*run).leave) // again, for the runs that the last polls have started
		select {
		case <-p.whenEmpty():
			close(settled)
		case <-over:
		}
	})
	if !waitFor(settled, p.cfg.Grace) {
		p.each((*run).cut)
		if !waitFor(settled, handlerExit) {
			p.each((*run).giveUp)
			waitFor(settled, p.bounds.Steps)
		}
	}
	close(over)
	settling.Wait()
	return p.leftOver()
}

// leftOver returns an error if runs or handlers are left after the stop.
func (p *Processor) leftOver() error {
	var problems []error
	if n := len(p.snapshot()); n > 0 {
		problems = append(problems, fmt.Errorf("%d runs whose outcome Kafka did not confirm in time", n))
	}
	returned := make(chan struct{})
	go func() { p.handlersDone.Wait(); close(returned) }()
	if !waitFor(returned, handlerExit) {
		problems = append(problems, errors.New("handlers that did not return after their contexts had ended"))
	}
	return errors.Join(problems...)
}

func (p *Processor) each(do func(*run)) {
	for _, r := range p.snapshot() {
		do(r)
	}
}

// leave tells a run that the processor stops: its job is handed back if its handler has not begun.
func (r *run) leave() { r.take(input{kind: onLeave}) }

// cut ends the handler's context, after Config.Grace.
func (r *run) cut() { r.take(input{kind: onCut}) }

// giveUp hands back a job whose handler did not return after its context had ended.
func (r *run) giveUp() { r.take(input{kind: onGiveUp}) }

// whenEmpty returns a channel that is closed once no run is left. Only stop calls it, once.
func (p *Processor) whenEmpty() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	empty := make(chan struct{})
	if len(p.runs) == 0 {
		close(empty)
		return empty
	}
	p.emptied = empty
	return empty
}

// waitFor waits for at most that time and reports whether done was closed.
func waitFor(done <-chan struct{}, atMost time.Duration) bool {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
