package intake

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/event"
)

// dropTimeout bounds how long a submit that failed waits until its payload is removed.
const dropTimeout = 500 * time.Millisecond

// payloads stores payloads that are too large for Kafka.
type payloads struct{ *Config }

// store puts a payload that is too large for Kafka into the blob store, before anything
// else is written; the request then has the blob's key (the claim check pattern). The key contains
// the life, so that blobs of a former job of the same ID are not mistaken for this one's, and the
// payload's hash, so that the same idempotency key with another payload overwrites nothing.
func (p payloads) store(ctx context.Context, s *submission) error {
	if len(s.payload) <= p.InlinePayload {
		return nil
	}
	key := event.PayloadFolder(s.jobID, s.request.Life) + strings.TrimPrefix(s.request.PayloadHash, hashPrefix)
	if err := p.Blobs.Put(ctx, key, "application/json", "", bytes.NewReader(s.payload)); err != nil {
		p.logOf(ctx).Warn("payload not stored", "job", s.jobID, "err", err)
		return problem.Unavailable("the payload could not be stored")
	}
	s.request.PayloadBlob, s.payload = key, []byte{}
	return nil
}

// drop removes the blob of a submit whose request was refused, or whose job another submit has made. No other
// submit uses the blob: its key contains the life, which is a new one in each submit, or the ID of a job without an
// idempotency key. Blobs of submits without a known outcome are removed by the tracker.
func (p payloads) drop(ctx context.Context, s *submission) {
	if s.request.PayloadBlob == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	if err := p.Blobs.Delete(ctx, s.request.PayloadBlob); err != nil {
		p.logOf(ctx).Warn("a payload that no job needs is left in the blob store", "job", s.jobID, "err", err)
	}
}
