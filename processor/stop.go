package processor

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds of a stop, beside Config.Grace and the lanes' own.
const (
	handlerExit = 5 * time.Second  // for handlers whose contexts have ended to return
	reportWait  = 10 * time.Second // for reports to become durable: twice what one produce may take
)

// stop ends the processor's work, in this order:
//
//  1. lanes take no more, learn what became of their claims, commit and leave their groups,
//     so that others get the partitions while handlers still run;
//  2. jobs whose handlers have not begun are given back at once;
//  3. running handlers have Config.Grace to finish as if nothing had happened;
//  4. then their contexts end with ErrShutdown; each job is given back when its handler
//     returns, or after handlerExit if it does not;
//  5. reports have reportWait to become durable.
//
// Each step ends early when no run is left. The lease covers whatever is left after the last.
func (p *Processor) stop(taking *sync.WaitGroup) error {
	p.log.Info("stopping", "runs", len(p.snapshot()))
	p.each((*run).leave)

	settled, over := make(chan struct{}), make(chan struct{})
	var settling sync.WaitGroup
	settling.Go(func() {
		taking.Wait()        // bounded: see lane
		p.each((*run).leave) // those that were polled last
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
			waitFor(settled, reportWait)
		}
	}
	close(over)
	settling.Wait()
	return p.leftOver()
}

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
