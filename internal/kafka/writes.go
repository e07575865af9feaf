package kafka

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// writes counts the produce requests that a client has sent to its brokers. The library reports only a record's
// last try. The count shows whether there may have been an earlier one, which may have written the record.
type writes struct{ n atomic.Int64 }

// counted has the counter of each open client.
var counted sync.Map // *kgo.Client → *writes

// writesOf returns how many produce requests the client has sent; false for a client without a counter.
func writesOf(cl *kgo.Client) (int64, bool) {
	w, ok := counted.Load(cl)
	if !ok {
		return 0, false
	}
	return w.(*writes).n.Load(), true
}

// OnNewClient implements kgo.HookNewClient.
func (w *writes) OnNewClient(cl *kgo.Client) { counted.Store(cl, w) }

// OnClientClosed implements kgo.HookClientClosed.
func (w *writes) OnClientClosed(cl *kgo.Client) { counted.Delete(cl) }

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (w *writes) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, bytes int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.Produce) && bytes > 0 {
		w.n.Add(1)
	}
}
