package audit

import (
	"encoding/binary"
	"hash/crc32"
)

// The broker's state logs, groups.log and pids.log, are entries of length, checksum, version and
// JSON, one behind the other. It reads them up to the first that is damaged.
const (
	entryHeader = 8
	entryMin    = 2
	entryMax    = 1 << 20
)

// Entries returns all sound entries of a state log, and how many bytes belong to none. What lies
// behind a damaged entry is found again by its checksum.
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

// entry is how many bytes the entry takes that raw begins with; 0 when there is no sound one.
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
