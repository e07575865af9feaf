package tracker

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/tracker/keeper"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/store"
)

// apiError returns a shard's error with its Connect code.
func apiError(err error) error {
	var coded *connect.Error
	switch {
	case errors.As(err, &coded):
		return err
	case errors.Is(err, shard.ErrNotFound), errors.Is(err, keeper.ErrNotFound):
		return connect.NewError(connect.CodeNotFound, err)
	case errors.Is(err, shard.ErrNotOwner), errors.Is(err, keeper.ErrNotOwner):
		return connect.NewError(connect.CodeFailedPrecondition, err)
	case errors.Is(err, shard.ErrNotReady), errors.Is(err, shard.ErrOverloaded), errors.Is(err, shard.ErrLogAway),
		errors.Is(err, keeper.ErrNotReady), errors.Is(err, keeper.ErrCrowded), store.IsUnsound(err):
		return connect.NewError(connect.CodeUnavailable, err)
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	default:
		return connect.NewError(connect.CodeInternal, err)
	}
}
