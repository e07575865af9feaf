package dead

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/tracker/fetch"
)

// Bounds of one page of letters. Kafka reads forwards only, so that a page is read in windows, the newest first.
const (
	MaxPage     = 100      // letters
	window      = 16       // offsets that are read at a time
	windowBytes = 1 << 20  // of one answer of the broker; one batch is always whole
	pageBytes   = 16 << 20 // of records that were read, after which the page ends
)

// ErrNotFound means that the topic does not have the letter.
var ErrNotFound = errors.New("no such dead letter")

// Reader reads the topic of dead letters, or another one that has one partition and is listed for people. It may be
// used from any goroutine.
type Reader struct {
	topic   string
	admin   *kadm.Client
	fetcher *fetch.Fetcher
}

// NewReader returns a reader of the topic. The client is only used for questions; the fetcher is its own.
func NewReader(topic string, cl *kgo.Client, fetcher *fetch.Fetcher) *Reader {
	return &Reader{topic: topic, admin: kadm.NewClient(cl), fetcher: fetcher}
}

// List returns at most limit letters with offsets below before, the newest first; before 0 begins at the end. next is
// before for the next page, or 0 if there is none.
func (r *Reader) List(ctx context.Context, before int64, limit int) (letters []Letter, next int64, err error) {
	records, next, err := r.Page(ctx, time.Time{}, before, limit)
	for _, rec := range records {
		letters = append(letters, Parse(rec))
	}
	return letters, next, err
}

// Page is List for records of any kind. Unless since is zero, records from before that time are left out.
func (r *Reader) Page(
	ctx context.Context, since time.Time, before int64, limit int,
) (page []*kgo.Record, next int64, err error) {
	start, end, err := r.bounds(ctx)
	if err == nil && !since.IsZero() {
		start, err = r.from(ctx, since, end)
	}
	if err != nil {
		return nil, 0, err
	}
	if before <= 0 || before > end {
		before = end
	}
	for bytes := 0; before > start && len(page) < limit && bytes < pageBytes; {
		from := max(start, before-int64(min(window, limit-len(page))))
		records, err := r.between(ctx, from, before)
		if err != nil {
			return nil, 0, err
		}
		for _, rec := range slices.Backward(records) {
			bytes += len(rec.Value)
			page = append(page, rec)
		}
		before = from
	}
	if before > start {
		next = before
	}
	return page, next, nil
}

// from returns the offset of the first record that was written at a time or later; end if there is none.
func (r *Reader) from(ctx context.Context, since time.Time, end int64) (int64, error) {
	listed, err := r.admin.ListOffsetsAfterMilli(ctx, since.UnixMilli(), r.topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", r.topic, err)
	}
	first, ok := listed.Lookup(r.topic, 0)
	if !ok || first.Offset < 0 {
		return end, nil
	}
	return first.Offset, nil
}

// between returns the records from one offset up to another, which is excluded. Those that have been removed meanwhile
// are left out.
func (r *Reader) between(ctx context.Context, from, to int64) (records []*kgo.Record, err error) {
	for from < to {
		got, err := r.fetcher.Records(ctx, event.Position{Topic: r.topic, Offset: from}, windowBytes)
		switch {
		case errors.Is(err, fetch.ErrRemoved):
			from++
			continue
		case errors.Is(err, fetch.ErrGone):
			return records, nil
		case err != nil:
			return nil, err
		}
		for _, rec := range got {
			if rec.Offset < to {
				records = append(records, rec)
			}
		}
		from = got[len(got)-1].Offset + 1
	}
	return records, nil
}

// Letter returns the letter at an offset.
func (r *Reader) Letter(ctx context.Context, offset int64) (Letter, error) {
	start, end, err := r.bounds(ctx)
	if err != nil {
		return Letter{}, err
	}
	if offset < start || offset >= end {
		return Letter{}, fmt.Errorf("%w at offset %d", ErrNotFound, offset)
	}
	rec, err := r.fetcher.Record(ctx, event.Position{Topic: r.topic, Offset: offset})
	if errors.Is(err, fetch.ErrGone) {
		return Letter{}, fmt.Errorf("%w at offset %d", ErrNotFound, offset)
	}
	if err != nil {
		return Letter{}, err
	}
	return Parse(rec), nil
}

// bounds returns the first offset that the topic has, and the one after its last.
func (r *Reader) bounds(ctx context.Context) (start, end int64, err error) {
	starts, err := r.admin.ListStartOffsets(ctx, r.topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", r.topic, err)
	}
	ends, err := r.admin.ListEndOffsets(ctx, r.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", r.topic, err)
	}
	first, _ := starts.Lookup(r.topic, 0)
	last, _ := ends.Lookup(r.topic, 0)
	return first.Offset, last.Offset, nil
}
