package cli

import (
	"context"
	"errors"
	"math"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/code"
)

const (
	defaultPrinted = 50 // rows of a list that is read page by page
	maxRefusals    = 20 // in a row of one page, because pages were asked for too fast
)

// limit is how much of a list is printed.
type limit struct {
	most *int // nil for defaultPrinted
	all  bool
}

func (l limit) check() error {
	if l.most != nil && *l.most < 1 {
		return refused(errors.New("--limit must be at least 1"))
	}
	return nil
}

// left returns how many may still be printed after n.
func (l limit) left(n int) int {
	switch {
	case l.all:
		return math.MaxInt
	case l.most != nil:
		return *l.most - n
	}
	return defaultPrinted - n
}

// patiently asks for a page as query does, and once more when the server says that pages are asked for too fast.
func patiently[T any](env *Env, f *Flags, ask func(context.Context, *ackwire.HTTPClient) (T, error)) (T, error) {
	for tries := 1; ; tries++ {
		page, err := query(env, f, ask)
		e, answered := errors.AsType[*ackwire.Error](err)
		if !answered || e.Code != code.RateLimited || tries == maxRefusals || !pause.For(env.Context, e.RetryDelay()) {
			return page, err
		}
	}
}
