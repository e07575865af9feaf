package broker

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UseAppendTime makes the cluster give every record its own time, whatever its client says. kfake
// does not heed the topic setting message.timestamp.type=LogAppendTime, which events rely
// on, and breaks the checksum of a batch that asks for it. Records of one batch keep the
// distances between them; the last one is of now.
func UseAppendTime(c *kfake.Cluster) {
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		for _, t := range r.(*kmsg.ProduceRequest).Topics {
			for _, p := range t.Partitions {
				stamp(p.Records, time.Now())
			}
		}
		return nil, nil, false // and then as ever
	})
}

// Where things are in a record batch (KIP-98).
const (
	batchLengthAt  = 8
	batchLengthEnd = 12 // the length counts from here
	magicAt        = 16
	checksumAt     = 17
	checkedFrom    = 21
	firstTimeAt    = 27 // milliseconds
	maxTimeAt      = 35
	headerBytes    = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stamp moves each batch to now. What is no batch is left to the broker to refuse.
func stamp(b []byte, now time.Time) {
	for len(b) >= headerBytes && b[magicAt] == 2 {
		end := batchLengthEnd + int(binary.BigEndian.Uint32(b[batchLengthAt:]))
		if end < headerBytes || end > len(b) {
			return
		}
		batch := b[:end]
		if crc32.Checksum(batch[checkedFrom:], castagnoli) != binary.BigEndian.Uint32(batch[checksumAt:]) {
			return // damaged on its way: the checksum must go on telling so
		}
		spread := max(int64(binary.BigEndian.Uint64(batch[maxTimeAt:])-binary.BigEndian.Uint64(batch[firstTimeAt:])), 0)
		binary.BigEndian.PutUint64(batch[firstTimeAt:], uint64(now.UnixMilli()-spread))
		binary.BigEndian.PutUint64(batch[maxTimeAt:], uint64(now.UnixMilli()))
		binary.BigEndian.PutUint32(batch[checksumAt:], crc32.Checksum(batch[checkedFrom:], castagnoli))
		b = b[end:]
	}
}
