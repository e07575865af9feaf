package kafka

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// writes counts the produce requests that a client has written to its brokers. The library tells of
// a record's last try only: whether there was one before it, whose answer was lost or said that the
// record may have landed, shows in the count.
type writes struct{ n atomic.Int64 }

// counted has the counter of each client that is open.
var counted sync.Map // *kgo.Client → *writes

// writesOf returns how many produce requests the client has written; false when nobody counts them.
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
