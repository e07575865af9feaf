package service

import (
	"context"
	"fmt"
	"sync"
)

// Group runs parts of a service side by side. When the first part ends, with an error or without, all others
// are stopped, for no service works without one of its parts.
type Group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu  sync.Mutex // guards err
	err error
}

// NewGroup returns a group whose parts run until ctx ends.
func NewGroup(ctx context.Context) *Group {
	ctx, cancel := context.WithCancel(ctx)
	return &Group{ctx: ctx, cancel: cancel}
}

// Go starts a part. Its context ends when ctx does or when any part has ended.
func (g *Group) Go(name string, run func(context.Context) error) {
	g.wg.Go(func() {
		defer g.cancel()
		err := run(g.ctx)
		switch {
		case err == nil && g.ctx.Err() == nil:
			err = fmt.Errorf("%s ended by itself", name)
		case err == nil || g.ctx.Err() != nil && context.Cause(g.ctx) == err:
			return
		default:
			err = fmt.Errorf("%s: %w", name, err)
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.err == nil {
			g.err = err
		}
	})
}

// Wait blocks until every part has ended and returns the first error.
func (g *Group) Wait() error {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}
