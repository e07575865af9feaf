package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// place says to which partition a record goes instead of its key's.
type place struct {
	hash  uint64
	avoid int32
}

type placeKey struct{}

// Place returns a context for records that are to go to the partition that follows from hash, and not to the
// partition avoid unless it is the only one: for a record that should reach another consumer than the last one
// did. Only clients with the option Placed regard it.
func Place(ctx context.Context, hash uint64, avoid int32) context.Context {
	return context.WithValue(ctx, placeKey{}, place{hash, avoid})
}

// Placed returns the option with which a client regards Place. Records without a place go to the partition
// that Kafka's default partitioner chooses by their key.
func Placed() kgo.Opt { return kgo.RecordPartitioner(placing{kgo.StickyKeyPartitioner(nil)}) }

type placing struct{ kgo.Partitioner }

// ForTopic implements kgo.Partitioner.
func (p placing) ForTopic(topic string) kgo.TopicPartitioner {
	return placingTopic{p.Partitioner.ForTopic(topic)}
}

type placingTopic struct{ kgo.TopicPartitioner }

// RequiresConsistency implements kgo.TopicPartitioner. It makes n always the topic's number of partitions.
func (placingTopic) RequiresConsistency(*kgo.Record) bool { return true }

// Partition implements kgo.TopicPartitioner.
func (p placingTopic) Partition(r *kgo.Record, n int) int {
	if r.Context != nil {
		if at, ok := r.Context.Value(placeKey{}).(place); ok {
			return at.among(n)
		}
	}
	return p.TopicPartitioner.Partition(r, n)
}

func (p place) among(n int) int {
	avoid := int(p.avoid)
	if avoid < 0 || avoid >= n || n == 1 {
		return int(p.hash % uint64(n))
	}
	at := int(p.hash % uint64(n-1))
	if at >= avoid {
		at++
	}
	return at
}
