package audit

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// made returns a segment of batches with one to three offsets each, and where each batch begins.
func made(base int64, n int) (raw []byte, at []int, end int64) {
	end = base
	for i := range n {
		count := int64(1 + i%3)
		at = append(at, len(raw))
		raw = append(raw, filler(end, end+count, 0).raw...)
		end += count
	}
	return raw, at, end
}

func TestAFillerIsABatch(t *testing.T) {
	for _, to := range []int64{8, 9, 1 << 20} {
		b := filler(7, to, 3)
		parsed, ok := parse(b.raw)
		if !ok || parsed.first != 7 || parsed.next() != to || epochOf(parsed) != 3 {
			t.Fatalf("to %d: %+v", to, parsed)
		}
		var rb kmsg.RecordBatch
		var r kmsg.Record
		if err := rb.ReadFrom(b.raw); err != nil {
			t.Fatal(err)
		}
		if err := r.ReadFrom(rb.Records); err != nil || rb.FirstOffset+int64(r.OffsetDelta) != to-1 {
			t.Errorf("to %d: its record is %+v, %v", to, r, err)
		}
	}
}

// TestEveryFlippedByteIsFound: the batches that were not hit keep their places, and nothing is made
// up.
func TestEveryFlippedByteIsFound(t *testing.T) {
	raw, at, end := made(100, 6)
	whole, skipped, _ := scan(raw, 100)
	if want, wrong := place(whole, 100); skipped != 0 || wrong != 0 || len(want) != 6 {
		t.Fatalf("a sound segment: %d batches, %d bytes skipped, %d wrong", len(want), skipped, wrong)
	}
	for i := range raw {
		broken := slices.Clone(raw)
		broken[i] ^= 0x40
		hit := 5
		for at[hit] > i {
			hit--
		}
		batches, skipped, torn := scan(broken, 100)
		placed, wrong := place(batches, 100)
		switch {
		case wrong > 0 && skipped == 0: // a header's field without a checksum of its own
			var mended []byte
			for _, b := range placed {
				mended = append(mended, b.raw...)
			}
			if !bytes.Equal(mended, raw) {
				t.Errorf("byte %d: not mended", i)
			}
		case skipped == 0:
			t.Errorf("byte %d: not found", i)
		case torn && hit != 5:
			t.Errorf("byte %d: damage in the midst counts as an unfinished write", i)
		default:
			if len(placed) != 5 || hit < 5 && placed[4].next() != end {
				t.Errorf("byte %d: %d batches of 5 are left", i, len(placed))
			}
		}
	}
}

// FuzzScan: nothing that lies on a disk makes it fail, and what it finds is in order.
func FuzzScan(f *testing.F) {
	raw, _, _ := made(5, 4)
	f.Add(raw, int64(5))
	f.Add(raw[3:], int64(0))
	f.Fuzz(func(t *testing.T, raw []byte, base int64) {
		base = max(base, 0)
		batches, _, _ := scan(raw, base)
		placed, _ := place(batches, base)
		end := base
		for _, b := range placed {
			if b.first < end {
				t.Fatalf("a batch at %d, behind %d", b.first, end)
			}
			end = b.next()
		}
		if again, skipped, _ := scan(join(placed), base); skipped != 0 || len(again) != len(placed) {
			t.Fatalf("what was found is not found again: %d bytes are skipped", skipped)
		}
	})
}

func join(batches []batch) (raw []byte) {
	for _, b := range batches {
		raw = append(raw, b.raw...)
	}
	return raw
}

func TestEntriesAroundATornOne(t *testing.T) {
	entry := func(s string) []byte {
		body := append([]byte{1, 0}, s...)
		head := make([]byte, entryHeader)
		head[0] = byte(len(body))
		sum := sumOf(body)
		copy(head[4:], sum[:])
		return append(head, body...)
	}
	one, two, three := entry(`{"one":1}`), entry(`{"two":2}`), entry(`{"three":3}`)
	sound, skipped := Entries(slices.Concat(one, two[:7], three))
	if !bytes.Equal(sound, slices.Concat(one, three)) || skipped != 7 {
		t.Errorf("%q, %d bytes skipped", sound, skipped)
	}
	r := rand.New(rand.NewPCG(1, 1))
	all := slices.Concat(one, two, three)
	for range 200 {
		broken := slices.Clone(all)
		broken[r.IntN(len(broken))] ^= byte(1 + r.IntN(255))
		if sound, skipped := Entries(broken); skipped == 0 || len(sound)+skipped != len(all) ||
			len(sound) < len(all)-len(three) {
			t.Fatalf("%q: %q is sound, %d bytes are not", broken, sound, skipped)
		}
	}
}

func sumOf(body []byte) (sum [4]byte) {
	binary.LittleEndian.PutUint32(sum[:], crc32.Checksum(body, castagnoli))
	return sum
}
