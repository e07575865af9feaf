package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// place is where a record goes instead of its key's partition.
type place struct {
	hash  uint64
	avoid int32
}

type placeKey struct{}

// Place makes records with this context go to a partition that follows from hash, and that is not
// avoid if there is another: for a record that is to reach another consumer than the key's own.
// Only clients with Placed heed it.
func Place(ctx context.Context, hash uint64, avoid int32) context.Context {
	return context.WithValue(ctx, placeKey{}, place{hash, avoid})
}

// Placed makes a client heed Place; other records go where Kafka's default partitioner puts
// their keys.
func Placed() kgo.Opt { return kgo.RecordPartitioner(placing{kgo.StickyKeyPartitioner(nil)}) }

type placing struct{ kgo.Partitioner }

// ForTopic implements kgo.Partitioner.
func (p placing) ForTopic(topic string) kgo.TopicPartitioner {
	return placingTopic{p.Partitioner.ForTopic(topic)}
}

type placingTopic struct{ kgo.TopicPartitioner }

// RequiresConsistency implements kgo.TopicPartitioner: n is the topic's partition count, always.
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
