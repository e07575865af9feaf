package bulkjob

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// ledgers are what bulk actions may have become of: one outcome, many runs, and the worst.
func ledgers() map[string]*ledger {
	all := map[string]*ledger{"empty": {}, "done": {}, "runs": {}, "random": {}, "alternating": {}}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100_001 {
		all["done"].add(Done)
		all["runs"].add(Outcome(i / 5000 % 4))
	}
	for i := range maxWithoutBlobs {
		all["random"].add(Outcome(r.IntN(4)))
		all["alternating"].add(Outcome(i % 2))
	}
	return all
}

func TestALedgerIsPacked(t *testing.T) {
	for name, l := range ledgers() {
		packed := l.pack()
		got, err := unpack(packed, len(l.of))
		if err != nil || !slices.Equal(got.of, l.of) || got.counts != l.counts {
			t.Errorf("%s: %v, %v is not %v", name, err, got, l.counts)
		}
		if name != "empty" && len(packed) > maxLedger {
			t.Errorf("%s: %d bytes for %d jobs", name, len(packed), len(l.of))
		}
		if len(l.of) > 0 {
			if _, err := unpack(packed, len(l.of)-1); err == nil {
				t.Errorf("%s: more outcomes than jobs", name)
			}
		}
	}
	for _, b := range []string{"", "x", "r\x00", "r\xff", "b", "b\x05\x00", "b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if l, err := unpack([]byte(b), 10); err == nil {
			t.Errorf("%q gives %v", b, l)
		}
	}
}

// TestTheLargestReportFits: into the data of progress.
func TestTheLargestReportFits(t *testing.T) {
	for _, l := range ledgers() {
		rep := l.report()
		rep.Run, rep.Ledger = "GGLGQ7TO44KVUAS43A3IW4OYUK", encodeLedger(make([]byte, maxLedger))
		rep.At, rep.Done, rep.Skipped = 1_000_000, 999_999, 999_999
		data, err := plainjson.Marshal(rep)
		if err == nil {
			_, err = job.CompactProgressData(data)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	for _, l := range ledgers() {
		f.Add(l.pack())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := unpack(b, 1000)
		if err != nil {
			return
		}
		again, err := unpack(l.pack(), 1000)
		if err != nil || !slices.Equal(again.of, l.of) {
			t.Errorf("%v, %v", err, again)
		}
	})
}
