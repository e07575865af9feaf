package keeper

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lag is how far a keeper is behind its topic.
type lag struct {
	records int64 // that were not taken yet, as far as is known; owned by Run's goroutine
	// oldest is the time of a record, in Unix milliseconds, before which all were taken; 0 when all were.
	oldest atomic.Int64
}

// waits notes that records were read which Run's goroutine has not seen yet. Any goroutine may call it.
func (l *lag) waits(records []*kgo.Record) { l.oldest.CompareAndSwap(0, stampOf(records[0])) }

// begins notes that records are about to be taken.
func (l *lag) begins(records []*kgo.Record) { l.oldest.Store(stampOf(records[0])) }

// taken notes that records were taken, and how many follow them in the topic. It returns how many more these are than
// before.
func (l *lag) taken(records []*kgo.Record, follow int64) (more int64) {
	oldest := int64(0)
	if follow > 0 {
		oldest = stampOf(records[len(records)-1])
	}
	l.oldest.Store(oldest)
	return l.set(follow)
}

func (l *lag) set(records int64) (more int64) {
	more = records - l.records
	l.records = records
	return more
}

func (l *lag) age(now time.Time) time.Duration {
	oldest := l.oldest.Load()
	if oldest == 0 {
		return 0
	}
	return max(now.Sub(time.UnixMilli(oldest)), 0)
}

// stampOf returns a record's time in Unix milliseconds, which is not 0.
func stampOf(rec *kgo.Record) int64 { return max(rec.Timestamp.UnixMilli(), 1) }

// Behind returns the age of the oldest record of the topic that the keeper has not taken yet; 0 when it has taken all.
func (k *Keeper) Behind() time.Duration { return k.lag.age(time.Now()) }
