package kafka

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestPlace(t *testing.T) {
	p := placing{kgo.StickyKeyPartitioner(nil)}.ForTopic("t")
	at := func(n int, ctx context.Context) int {
		return p.Partition(&kgo.Record{Key: []byte("0198c0de-0000-7000-8000-000000000001"), Context: ctx}, n)
	}
	for n := 1; n <= 12; n++ {
		own := int(Partition("0198c0de-0000-7000-8000-000000000001", int32(n)))
		if got := at(n, nil); got != own {
			t.Errorf("%d partitions: without a place %d, want the key's %d", n, got, own)
		}
		seen := map[int]bool{}
		for h := range uint64(100) {
			got := at(n, Place(t.Context(), h, int32(own)))
			if got < 0 || got >= n || n > 1 && got == own {
				t.Fatalf("%d partitions, hash %d: %d, avoiding %d", n, h, got, own)
			}
			seen[got] = true
			if got := at(n, Place(context.Background(), h, -1)); got != int(h%uint64(n)) {
				t.Fatalf("%d partitions, hash %d: %d", n, h, got)
			}
		}
		if len(seen) != max(n-1, 1) {
			t.Errorf("%d of %d partitions are used", len(seen), n)
		}
	}
}
