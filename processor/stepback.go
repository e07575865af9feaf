package processor

import (
	"context"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
)

// With Config.StepBack a processor leaves a lane to other workers: it takes jobs only while no other worker is in the
// lane's consumer group.
const stepBackCheck = time.Second // between two checks of the group's members

// attend takes the lane's requests until ctx ends. With Config.StepBack it pauses while another worker takes them.
func (l *lane) attend(ctx context.Context) error {
	if !l.p.cfg.StepBack {
		return l.run(ctx)
	}
	for {
		if l.waitWhileOthers(ctx); ctx.Err() != nil {
			return nil
		}
		taking, stop := context.WithCancel(ctx)
		var watching sync.WaitGroup
		watching.Go(func() {
			defer stop()
			l.waitUntilOthers(taking)
		})
		err := l.run(taking)
		stop()
		watching.Wait()
		if err != nil || ctx.Err() != nil {
			return err
		}
		l.left()
	}
}

// waitWhileOthers returns when no other worker is in the lane's group, or when ctx ends.
func (l *lane) waitWhileOthers(ctx context.Context) {
	for l.others(ctx) {
		if !l.setYielding(true) {
			l.log.Info("lane left to other workers")
		}
		if !pause.For(ctx, stepBackCheck) {
			return
		}
	}
	if l.setYielding(false) {
		l.log.Info("lane taken again: no other worker is left")
	}
}

// waitUntilOthers returns when another worker is in the lane's group, or when ctx ends.
func (l *lane) waitUntilOthers(ctx context.Context) {
	for pause.For(ctx, stepBackCheck) && !l.others(ctx) {
	}
}

// others reports whether the lane's group has a member that is not this processor. If Kafka does not answer it returns
// the current state, so that nothing changes.
func (l *lane) others(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, l.p.bounds.Delivery)
	defer cancel()
	group := l.p.names.ProcessorGroup(l.name)
	described, err := kafka.DescribeGroups(ctx, l.p.client, group)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.yielding
	}
	for _, m := range described[group].Members {
		if m.ClientID != l.p.clientID() {
			return true
		}
	}
	return false
}

// setYielding sets yielding and returns its former value.
func (l *lane) setYielding(yielding bool) (was bool) {
	l.mu.Lock()
	was, l.yielding = l.yielding, yielding
	l.mu.Unlock()
	if was != yielding {
		l.p.announcing.news.Send()
	}
	return was
}

// left resets the lane's state after it has left the group. Runs go on.
func (l *lane) left() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined = false
	l.partitions = map[int32]*partition{}
}

// clientID returns the client ID of the processor's Kafka clients.
func (p *Processor) clientID() string { return "ackwire-processor-" + p.worker }
