package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/tracing"
)

// A produce has three outcomes: durable (nil), ErrRefused (nothing was written) and
// ErrUnknown (it may still land, or has landed). A record that was refused in the end may have
// landed at an earlier try: refused is said only of one that cannot have had any.
var (
	ErrRefused = errors.New("record was not written")
	ErrUnknown = errors.New("record's outcome is not known")
)

// Produce hands rec to the client and calls done once with nil, or with an error that is
// ErrRefused or ErrUnknown. It never blocks; done runs on the client's goroutine and must
// not block either. ctx ending makes the outcome unknown. The record carries the trace of
// ctx, or of its own context if it has one, when that is sampled.
func Produce(ctx context.Context, cl *kgo.Client, rec *kgo.Record, done func(*kgo.Record, error)) {
	tracing.Carry(ctx, rec)
	before, known := writesOf(cl)
	cl.TryProduce(ctx, rec, func(r *kgo.Record, err error) {
		now, _ := writesOf(cl)
		// Of several requests since, the last one may have been this record's second try.
		done(r, classify(err, known && now-before <= 1))
	})
}

// ProduceSync is Produce that waits until the outcome is known or ctx ends, which makes it
// ErrUnknown; rec must not be read then.
func ProduceSync(ctx context.Context, cl *kgo.Client, rec *kgo.Record) error {
	result := make(chan error, 1)
	Produce(ctx, cl, rec, func(_ *kgo.Record, err error) { result <- err })
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// classify gives an error its outcome. once says that the record was tried once at most.
func classify(err error, once bool) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kgo.ErrMaxBuffered): // it was never tried
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case !once:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	case errors.Is(err, kerr.MessageTooLarge),
		errors.Is(err, kerr.RecordListTooLarge),
		errors.Is(err, kerr.InvalidTopicException),
		errors.Is(err, kerr.TopicAuthorizationFailed),
		errors.Is(err, kerr.ClusterAuthorizationFailed),
		errors.Is(err, kerr.InvalidRecord),
		errors.Is(err, kerr.InvalidTimestamp),
		errors.Is(err, kerr.PolicyViolation),
		errors.Is(err, kerr.UnknownTopicOrPartition),
		errors.Is(err, kerr.InvalidRequiredAcks),
		errors.Is(err, kerr.UnsupportedForMessageFormat):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
}
