package audit

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Offsets of fields in a record batch, as it is stored in a segment (KIP-98). The checksum covers only the fields
// after it, so base offset, length, epoch and magic byte may be damaged in a batch whose checksum is right.
const (
	atFirst       = 0
	atLength      = 8
	atEpoch       = 12
	atMagic       = 16
	atSum         = 17
	atAttributes  = 21
	atDelta       = 23
	atCount       = 57
	headerBytes   = 61
	lengthBefore  = 12 // bytes that the field length does not count
	minLength     = headerBytes - lengthBefore
	magic         = 2
	attrControl   = 0x20
	attrTxn       = 0x10
	indexBytes    = 15
	maxBatchBytes = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is a record batch whose checksum is right.
type batch struct {
	raw   []byte
	first int64 // the offset of its first record, by its header, until place corrects it
	count int64 // number of offsets that it takes
	gap   int64 // damaged bytes between it and the sound batch before it, or the beginning of the file
}

func (b *batch) next() int64 { return b.first + b.count }

// parse returns the batch with which raw begins, if it is sound.
func parse(raw []byte) (b batch, ok bool) {
	if len(raw) < headerBytes {
		return b, false
	}
	length := int64(binary.BigEndian.Uint32(raw[atLength:]))
	if length < minLength || length > maxBatchBytes || lengthBefore+length > int64(len(raw)) {
		return b, false
	}
	raw = raw[:lengthBefore+length]
	delta := int32(binary.BigEndian.Uint32(raw[atDelta:]))
	if delta < 0 || binary.BigEndian.Uint32(raw[atSum:]) != crc32.Checksum(raw[atAttributes:], castagnoli) {
		return b, false
	}
	return batch{raw: raw, first: int64(binary.BigEndian.Uint64(raw[atFirst:])), count: int64(delta) + 1}, true
}

// unfinished reports whether raw, the end of a segment after its last sound batch, looks like a write that was
// cut short: it has fewer bytes than its header says.
func unfinished(raw []byte) bool {
	if len(raw) < headerBytes {
		return true
	}
	length := int64(binary.BigEndian.Uint32(raw[atLength:]))
	return length < minLength || lengthBefore+length > int64(len(raw))
}

// scan finds all sound batches of a segment whose first offset is base. skipped is the number of bytes that belong
// to no batch; torn reports that these are all at the end and look like an unfinished write.
//
// A batch follows the one before at once, or after damaged bytes. Then scan looks for it byte by byte, where
// plausible says that a batch may begin.
func scan(raw []byte, base int64) (batches []batch, skipped int, torn bool) {
	gap, gaps := 0, 0
	for pos := 0; pos < len(raw); {
		if gap == 0 || plausible(raw[pos:], base, int64(len(raw))) {
			if b, ok := parse(raw[pos:]); ok {
				b.gap = int64(gap)
				batches = append(batches, b)
				pos += len(b.raw)
				gap = 0
				continue
			}
		}
		if gap == 0 {
			torn = unfinished(raw[pos:])
			gaps++
		}
		gap++
		skipped++
		pos++
	}
	return batches, skipped, torn && gaps == 1 && gap > 0
}

// plausible reports whether a batch may begin with raw. It is a quick check, for it is called for every byte.
func plausible(raw []byte, base, size int64) bool {
	if len(raw) < headerBytes || raw[atMagic] != magic {
		return false
	}
	first := int64(binary.BigEndian.Uint64(raw[atFirst:]))
	return first >= base && first-base <= size
}

// place corrects the offsets, epochs and magic bytes of batches, which no checksum protects. Adjacent batches have
// consecutive offsets, so the offset that most of them agree on holds for all. expect is the offset of the first
// batch when nothing was lost before it. place drops adjacent batches whose offset cannot be told, and returns how
// many batches had a wrong field.
func place(batches []batch, expect int64) (placed []batch, wrong int) {
	for len(batches) > 0 {
		run := 1
		for run < len(batches) && batches[run].gap == 0 {
			run++
		}
		origin, known := originOf(batches[:run], expect)
		if known {
			for i := range batches[:run] {
				b := &batches[i]
				if b.first != origin {
					wrong++
					b.first = origin
					b.raw = slices.Clone(b.raw)
					binary.BigEndian.PutUint64(b.raw[atFirst:], uint64(origin))
				}
				origin = b.next()
			}
			expect = origin
			placed = append(placed, batches[:run]...)
		}
		batches = batches[run:]
	}
	return placed, wrong + evenOut(placed)
}

// originOf returns the offset of the first of a run of adjacent batches, by a vote of their headers; false when no
// vote is possible.
func originOf(run []batch, expect int64) (int64, bool) {
	if run[0].gap == 0 {
		return expect, true // it follows from the file's name or the batch before
	}
	votes := map[int64]int{}
	var sum int64
	for _, b := range run {
		votes[b.first-sum]++
		sum += b.count
	}
	best, most := int64(-1), 0
	for origin, n := range votes {
		// The lost records took at least one byte for each offset.
		if origin >= expect && origin <= expect+run[0].gap && (n > most || n == most && origin < best) {
			best, most = origin, n
		}
	}
	return best, most > 0
}

// evenOut sets the epoch of all batches to the most frequent one, and the magic byte. It returns how many had
// another.
func evenOut(batches []batch) (wrong int) {
	votes := map[uint32]int{}
	for _, b := range batches {
		votes[epochOf(b)]++
	}
	var epoch uint32
	for e, n := range votes {
		if n > votes[epoch] || n == votes[epoch] && e < epoch {
			epoch = e
		}
	}
	for i := range batches {
		b := &batches[i]
		if e := epochOf(*b); e == epoch && b.raw[atMagic] == magic {
			continue
		}
		wrong++
		b.raw = slices.Clone(b.raw)
		binary.BigEndian.PutUint32(b.raw[atEpoch:], epoch)
		b.raw[atMagic] = magic
	}
	return wrong
}

// index returns the content of the broker's index file of a segment: an entry for each batch.
func index(batches []batch) []byte {
	var all []byte
	for _, b := range batches {
		entry := make([]byte, indexBytes)
		entry[0] = 1
		binary.LittleEndian.PutUint32(entry[2:], epochOf(b))
		attributes := binary.BigEndian.Uint16(b.raw[atAttributes:])
		if attributes&attrTxn != 0 && attributes&attrControl == 0 {
			entry[14] = 1
		}
		entry[1] = byte(crc32.Checksum(entry[2:], castagnoli))
		all = append(all, entry...)
	}
	return all
}

// sameIndex reports whether an index file equals the result of index, except for the times, which the broker does
// not read.
func sameIndex(raw []byte, batches []batch) bool {
	want := index(batches)
	if len(raw) != len(want) {
		return false
	}
	for at := 0; at < len(raw); at += indexBytes {
		entry := raw[at : at+indexBytes]
		if entry[1] != byte(crc32.Checksum(entry[2:], castagnoli)) || entry[14] != want[at+14] ||
			!slices.Equal(entry[2:6], want[at+2:at+6]) {
			return false
		}
	}
	return true
}

// filler returns a batch that takes the offsets from from up to, not including, to. It keeps the broker from giving
// them to other records, and a later Read from reporting them as lost again. It is a control batch, the end of a
// transaction that does not exist, so consumers do not see it.
func filler(from, to int64, epoch uint32) batch {
	// COMMIT
	record := kmsg.Record{OffsetDelta: int32(to - from - 1), Key: []byte{0, 0, 0, 1}, Value: []byte{0, 0, 0, 0, 0, 0}}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // its own takes one byte
	rb := kmsg.RecordBatch{
		FirstOffset: from, PartitionLeaderEpoch: int32(epoch), Magic: magic, Attributes: attrControl | attrTxn,
		LastOffsetDelta: record.OffsetDelta, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1,
		Records: record.AppendTo(nil),
	}
	raw := rb.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[atLength:], uint32(len(raw)-lengthBefore))
	binary.BigEndian.PutUint32(raw[atSum:], crc32.Checksum(raw[atAttributes:], castagnoli))
	return batch{raw: raw, first: from, count: to - from}
}

func epochOf(b batch) uint32 { return binary.BigEndian.Uint32(b.raw[atEpoch:]) }
