package serve

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// stages runs parts that depend on each other. They are started one after the other and stopped in reverse order, each
// when all parts that depend on it have ended.
type stages struct {
	ctx   context.Context // its end, or any part's, stops all
	abort context.CancelFunc
	parts []stage
}

type stage struct {
	name string
	stop context.CancelFunc
	done chan error // capacity 1
}

func newStages(ctx context.Context) *stages {
	ctx, abort := context.WithCancel(ctx)
	return &stages{ctx: ctx, abort: abort}
}

func (s *stages) start(name string, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(s.ctx))
	part := stage{name: name, stop: stop, done: make(chan error, 1)}
	s.parts = append(s.parts, part)
	go func() {
		err := run(ctx)
		if err == nil && ctx.Err() == nil {
			err = errors.New("ended by itself")
		}
		part.done <- err
		s.abort()
	}()
}

// wait returns when the context or any part has ended.
func (s *stages) wait() { <-s.ctx.Done() }

// stop stops the parts in reverse order and returns their errors.
func (s *stages) stop() error {
	defer s.abort()
	var errs []error
	for _, part := range slices.Backward(s.parts) {
		part.stop()
		if err := <-part.done; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", part.name, err))
		}
	}
	return errors.Join(errs...)
}
