package audit

import (
	"encoding/binary"
	"hash/crc32"
)

// The broker's state logs, groups.log and pids.log, are sequences of entries: length, checksum, version and JSON.
// The broker reads them up to the first damaged entry.
const (
	entryHeader = 8
	entryMin    = 2
	entryMax    = 1 << 20
)

// Entries returns all sound entries of a state log, and the number of bytes that belong to none. After a damaged
// entry it looks for the next one byte by byte, by the checksum.
func Entries(raw []byte) (sound []byte, skipped int) {
	for pos := 0; pos < len(raw); {
		if n := entry(raw[pos:]); n > 0 {
			sound = append(sound, raw[pos:pos+n]...)
			pos += n
			continue
		}
		skipped++
		pos++
	}
	return sound, skipped
}

// entry returns the size of the sound entry with which raw begins; 0 when there is none.
func entry(raw []byte) int {
	if len(raw) < entryHeader+entryMin {
		return 0
	}
	length := int64(binary.LittleEndian.Uint32(raw))
	if length < entryMin || length > entryMax || entryHeader+length > int64(len(raw)) {
		return 0
	}
	n := entryHeader + int(length)
	if binary.LittleEndian.Uint32(raw[4:]) != crc32.Checksum(raw[entryHeader:n], castagnoli) {
		return 0
	}
	return n
}
