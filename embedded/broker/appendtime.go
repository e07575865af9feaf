package broker

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UseAppendTime makes the cluster set every record's timestamp when it is appended, whatever its producer has
// set. kfake ignores the topic setting message.timestamp.type=LogAppendTime, which Ackwire's events need, and
// breaks the checksum of a batch whose attributes ask for it. The last record of a batch gets the current time,
// and the records before it keep their distance to it.
func UseAppendTime(c *kfake.Cluster) {
	UseTimes(c, func(int64) time.Time { return time.Now() })
}

// UseTimes is UseAppendTime with other times than the current one, by the ID of the batch's producer: so tests
// give clients wrong clocks.
func UseTimes(c *kfake.Cluster, now func(producer int64) time.Time) {
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		for _, t := range r.(*kmsg.ProduceRequest).Topics {
			for _, p := range t.Partitions {
				if len(p.Records) >= headerBytes {
					stamp(p.Records, now(int64(binary.BigEndian.Uint64(p.Records[producerAt:]))))
				}
			}
		}
		return nil, nil, false // kfake handles the request
	})
}

// Offsets of fields in a record batch (KIP-98).
const (
	batchLengthAt  = 8
	batchLengthEnd = 12 // the length counts from here
	magicAt        = 16
	checksumAt     = 17
	checkedFrom    = 21
	firstTimeAt    = 27 // milliseconds
	maxTimeAt      = 35
	producerAt     = 43
	headerBytes    = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stamp sets the timestamps of all batches in b. It leaves bytes that are not a batch for the broker to refuse.
func stamp(b []byte, now time.Time) {
	for len(b) >= headerBytes && b[magicAt] == 2 {
		end := batchLengthEnd + int(binary.BigEndian.Uint32(b[batchLengthAt:]))
		if end < headerBytes || end > len(b) {
			return
		}
		batch := b[:end]
		if crc32.Checksum(batch[checkedFrom:], castagnoli) != binary.BigEndian.Uint32(batch[checksumAt:]) {
			return // damaged on its way: the checksum must stay wrong
		}
		spread := max(int64(binary.BigEndian.Uint64(batch[maxTimeAt:])-binary.BigEndian.Uint64(batch[firstTimeAt:])), 0)
		binary.BigEndian.PutUint64(batch[firstTimeAt:], uint64(now.UnixMilli()-spread))
		binary.BigEndian.PutUint64(batch[maxTimeAt:], uint64(now.UnixMilli()))
		binary.BigEndian.PutUint32(batch[checksumAt:], crc32.Checksum(batch[checkedFrom:], castagnoli))
		b = b[end:]
	}
}
