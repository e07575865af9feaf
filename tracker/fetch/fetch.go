package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/ackwire/ackwire/schemas/event"
)

// ErrGone means that the log does not hold the record.
var ErrGone = errors.New("record is no longer in its topic")

// ErrRemoved is an ErrGone that is final: the log begins after the record's offset or has only later
// ones, so retention was too short. An offset beyond the log's end gives a plain ErrGone and is worth
// another try: for a moment a new leader may not know how far the log goes.
var ErrRemoved = fmt.Errorf("%w: it was removed", ErrGone)

const (
	fetchMaxWait  = 100 * time.Millisecond
	fetchMaxBytes = 2 << 20 // one batch is always returned whole, however large
	// lastNamedFetch is the last version of Fetch that names topics instead of their IDs.
	lastNamedFetch = 12
)

var errNothing = errors.New("broker returned no record")

// Options returns the options that the client given to New must have: Fetch requests name topics
// instead of their IDs.
func Options() []kgo.Opt {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Fetch), lastNamedFetch)
	return []kgo.Opt{kgo.MaxVersions(versions)}
}

// Fetcher reads single records, and short ranges of them. It may be used from any goroutine.
type Fetcher struct {
	cl *kgo.Client

	mu      sync.Mutex // guards leaders
	leaders map[topicPartition]int32
}

type topicPartition struct {
	topic     string
	partition int32
}

// New returns a fetcher that sends its requests through cl, which must have the Options.
func New(cl *kgo.Client) *Fetcher {
	return &Fetcher{cl: cl, leaders: map[topicPartition]int32{}}
}

// Record reads the record at pos, and no more than the batch that has it: when many jobs are retried, one record after
// the other is read of the same partition. The error is an ErrGone, or ErrRemoved, when the log does not hold it;
// other errors are worth another try.
func (f *Fetcher) Record(ctx context.Context, pos event.Position) (*kgo.Record, error) {
	rec, err := f.first(ctx, pos, 1)
	if errors.Is(err, errNothing) { // the batch has nothing for readers, so what is behind it tells whether it was removed
		rec, err = f.first(ctx, pos, fetchMaxBytes)
	}
	if err == nil && rec.Offset != pos.Offset {
		rec, err = nil, failed(pos, ErrRemoved)
	}
	return rec, err
}

// First reads the first record at or after pos, and asks the broker for as little else as possible.
func (f *Fetcher) First(ctx context.Context, pos event.Position) (*kgo.Record, error) {
	return f.first(ctx, pos, 1)
}

// Records reads the records at and after pos that one answer of the broker has: about maxBytes of them, and at least
// one. The errors are those of Record.
func (f *Fetcher) Records(ctx context.Context, pos event.Position, maxBytes int32) ([]*kgo.Record, error) {
	records, err := f.fetch(ctx, pos, maxBytes)
	if err != nil {
		f.forget(pos)
		return nil, failed(pos, err)
	}
	return records, nil
}

// Span is what one answer of a broker has.
type Span struct {
	Records []*kgo.Record
	Next    int64 // the offset behind them, and behind what is no record for readers
	Bytes   int   // how much was sent for it
}

// Span reads what is at and after pos, about maxBytes of it. The errors are those of Record; a broker that has nothing
// at pos yet is another.
func (f *Fetcher) Span(ctx context.Context, pos event.Position, maxBytes int32) (Span, error) {
	got, err := f.span(ctx, pos, maxBytes)
	if err == nil && got.Next == pos.Offset {
		err = errNothing
	}
	if err != nil {
		f.forget(pos)
		return Span{}, failed(pos, err)
	}
	return got, nil
}

func failed(pos event.Position, err error) error {
	return fmt.Errorf("fetch %s[%d]@%d: %w", pos.Topic, pos.Partition, pos.Offset, err)
}

func (f *Fetcher) first(ctx context.Context, pos event.Position, maxBytes int32) (*kgo.Record, error) {
	records, err := f.Records(ctx, pos, maxBytes)
	if err != nil {
		return nil, err
	}
	return records[0], nil
}

func (f *Fetcher) fetch(ctx context.Context, pos event.Position, maxBytes int32) ([]*kgo.Record, error) {
	got, err := f.span(ctx, pos, maxBytes)
	if err == nil && len(got.Records) == 0 {
		err = errNothing
	}
	return got.Records, err
}

// span asks the partition's leader once.
func (f *Fetcher) span(ctx context.Context, pos event.Position, maxBytes int32) (Span, error) {
	leader, err := f.leader(ctx, pos)
	if err != nil {
		return Span{}, err
	}
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.Partition = pos.Partition
	partition.FetchOffset = pos.Offset
	partition.CurrentLeaderEpoch = -1
	partition.PartitionMaxBytes = maxBytes
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = pos.Topic
	topic.Partitions = append(topic.Partitions, partition)
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxWaitMillis = int32(fetchMaxWait.Milliseconds())
	req.MinBytes = 1
	req.MaxBytes = maxBytes
	req.SessionEpoch = -1
	req.Topics = append(req.Topics, topic)

	answer, err := req.RequestWith(ctx, f.cl.Broker(int(leader)))
	if err != nil {
		return Span{}, err
	}
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return Span{}, err
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return Span{}, errors.New("broker answered for another partition")
	}
	got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: pos.Offset, Topic: pos.Topic, Partition: pos.Partition,
	}, &answer.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	if errors.Is(got.Err, kerr.OffsetOutOfRange) {
		return Span{}, f.gone(ctx, pos)
	}
	if got.Err != nil {
		return Span{}, got.Err
	}
	return Span{got.Records, max(next, pos.Offset), len(answer.Topics[0].Partitions[0].RecordBatches)}, nil
}

// gone returns ErrRemoved when the log begins after pos, and ErrGone otherwise.
func (f *Fetcher) gone(ctx context.Context, pos event.Position) error {
	starts, err := kadm.NewClient(f.cl).ListStartOffsets(ctx, pos.Topic)
	if err != nil {
		return err
	}
	if start, ok := starts.Lookup(pos.Topic, pos.Partition); ok && start.Err == nil && start.Offset > pos.Offset {
		return ErrRemoved
	}
	return ErrGone
}

// leader returns the partition's leader. It is remembered until a fetch fails.
func (f *Fetcher) leader(ctx context.Context, pos event.Position) (int32, error) {
	key := topicPartition{pos.Topic, pos.Partition}
	f.mu.Lock()
	leader, ok := f.leaders[key]
	f.mu.Unlock()
	if ok {
		return leader, nil
	}
	topics, err := kadm.NewClient(f.cl).ListTopics(ctx, pos.Topic)
	if err != nil {
		return 0, err
	}
	detail, ok := topics[pos.Topic].Partitions[pos.Partition]
	if !ok {
		return 0, kerr.UnknownTopicOrPartition
	}
	if detail.Err != nil {
		return 0, detail.Err
	}
	f.mu.Lock()
	f.leaders[key] = detail.Leader
	f.mu.Unlock()
	return detail.Leader, nil
}

func (f *Fetcher) forget(pos event.Position) {
	f.mu.Lock()
	delete(f.leaders, topicPartition{pos.Topic, pos.Partition})
	f.mu.Unlock()
}
