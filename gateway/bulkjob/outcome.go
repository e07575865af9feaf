package bulkjob

import (
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/ackwire/ackwire/schemas/frame"
)

// Outcome is what became of one job of a bulk action.
type Outcome uint8

// The outcomes. They have two bits.
const (
	Done    Outcome = iota
	Gone            // frame.BulkGone
	Changed         // frame.BulkChanged
	Refused         // frame.BulkRefused
	outcomes
)

// reason returns why a job was skipped; "" if it was not.
func (o Outcome) reason() frame.BulkReason {
	return [outcomes]frame.BulkReason{"", frame.BulkGone, frame.BulkChanged, frame.BulkRefused}[o]
}

// ledger has the outcomes of the first jobs of a plan: of as many as are known.
type ledger struct {
	of     []Outcome
	counts [outcomes]int64
}

func (l *ledger) add(all ...Outcome) {
	l.of = append(l.of, all...)
	for _, o := range all {
		l.counts[o]++
	}
}

// How a ledger is packed: its first byte.
const (
	packedRuns = 'r' // uvarints: the length of a run of equal outcomes times four, plus the outcome
	packedBits = 'b' // the number of outcomes as a uvarint, then two bits for each
)

// pack returns the ledger in as few bytes as it can: usually a run of done jobs, never more than a quarter of a byte
// for each job.
func (l *ledger) pack() []byte {
	most := 1 + binary.MaxVarintLen64 + (len(l.of)+3)/4
	runs := []byte{packedRuns}
	for i := 0; i < len(l.of); {
		k := i
		for k < len(l.of) && l.of[k] == l.of[i] {
			k++
		}
		runs = binary.AppendUvarint(runs, uint64(k-i)<<2|uint64(l.of[i]))
		i = k
		if len(runs) > most {
			return l.packBits()
		}
	}
	return runs
}

func (l *ledger) packBits() []byte {
	b := binary.AppendUvarint([]byte{packedBits}, uint64(len(l.of)))
	head := len(b)
	b = append(b, make([]byte, (len(l.of)+3)/4)...)
	for i, o := range l.of {
		b[head+i/4] |= byte(o) << (i % 4 * 2)
	}
	return b
}

var errLedger = errors.New("the report of the bulk action is not readable")

// unpack reads a ledger of at most that many jobs.
func unpack(b []byte, most int) (*ledger, error) {
	l := &ledger{}
	if len(b) == 0 {
		return nil, errLedger
	}
	kind, b := b[0], b[1:]
	switch kind {
	case packedRuns:
		for len(b) > 0 {
			run, size := binary.Uvarint(b)
			n := run >> 2
			if size <= 0 || n == 0 || n > uint64(most-len(l.of)) {
				return nil, errLedger
			}
			for range n {
				l.add(Outcome(run & 3))
			}
			b = b[size:]
		}
	case packedBits:
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(most) || len(b)-size != (int(n)+3)/4 {
			return nil, errLedger
		}
		for i := range int(n) {
			l.add(Outcome(b[size+i/4] >> (i % 4 * 2) & 3))
		}
	default:
		return nil, errLedger
	}
	return l, nil
}

// stageWork is the stage of the progress of a bulk action's job.
const stageWork = "work"

// report is the data of the progress of a bulk action's job.
type report struct {
	At      int    `json:"at"` // jobs whose outcome is known
	Done    int64  `json:"done"`
	Skipped int64  `json:"skipped"`
	Run     string `json:"run"`
	Ledger  string `json:"ledger,omitempty"` // packed, in base64
	Blob    string `json:"blob,omitempty"`   // or the key of the blob that has it packed
}

// maxLedger is the length of the longest packed ledger that a report has room for: 4,096 bytes is what the data of
// progress may have.
const maxLedger = 2900

// maxWithoutBlobs is how many jobs a bulk action may have without a blob store: its ledger fits into a report whatever
// becomes of the jobs, and its plan into a payload of the default length in Kafka.
const maxWithoutBlobs = 10_000

func (l *ledger) report() report {
	return report{At: len(l.of), Done: l.counts[Done], Skipped: int64(len(l.of)) - l.counts[Done]}
}

func encodeLedger(packed []byte) string { return base64.StdEncoding.EncodeToString(packed) }

func decodeLedger(s string) ([]byte, error) { return base64.StdEncoding.DecodeString(s) }
