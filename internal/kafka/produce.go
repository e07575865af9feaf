package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/tracing"
)

// A produce has three outcomes: nil (the record is durable), ErrRefused (it was not written) and ErrUnknown (it
// may be written now or later). A record whose last try was refused may have been written by an earlier one, so
// ErrRefused is returned only when there was no earlier try.
var (
	ErrRefused = errors.New("record was not written")
	ErrUnknown = errors.New("record's outcome is not known")
)

// Produce passes rec to the client and calls done once, with nil or an error that is ErrRefused or ErrUnknown.
// It never blocks; done runs on the client's goroutine and must not block either. If ctx ends first, the outcome
// is ErrUnknown. The record gets the headers of the sampled trace of ctx, or of its own context if it has one.
func Produce(ctx context.Context, cl *kgo.Client, rec *kgo.Record, done func(*kgo.Record, error)) {
	tracing.Carry(ctx, rec)
	before, known := writesOf(cl)
	cl.TryProduce(ctx, rec, func(r *kgo.Record, err error) {
		now, _ := writesOf(cl)
		// With more than one produce request since, the last one may have been a second try of this
		// record.
		done(r, classify(explain(err), known && now-before <= 1))
	})
}

// ProduceSync is Produce that waits for the outcome. When ctx ends first it returns ErrUnknown, and rec may
// still be in use: it must not be read then.
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

// explain names the setting that mends an error, if there is one.
func explain(err error) error {
	if errors.Is(err, kerr.UnsupportedForMessageFormat) || errors.Is(err, kerr.UnsupportedCompressionType) {
		return fmt.Errorf("the cluster does not take this compression, try --kafka-compression gzip or none: %w", err)
	}
	return err
}

// classify returns an error with its outcome. once says that the record was sent at most once.
func classify(err error, once bool) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kgo.ErrMaxBuffered): // it was never sent
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
		errors.Is(err, kerr.UnsupportedForMessageFormat),
		errors.Is(err, kerr.UnsupportedCompressionType):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
}
