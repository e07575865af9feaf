package wire

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/ackwire/ackwire/schemas/code"
)

// text returns a text frame with a body.
func text(body []byte) []byte { return append(header(opText, len(body)), body...) }

// inflated decompresses a frame as in RFC 7692 §7.2.2, with another library than the one that compressed it.
func inflated(t *testing.T, b []byte) []byte {
	t.Helper()
	if b[0] != fin|rsv1|opText {
		t.Fatalf("begins with %x", b[0])
	}
	b = bytes.Clone(b)
	b[0] &^= rsv1
	_, body := read(t, b)
	got, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(body),
		strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	if err != nil {
		t.Fatalf("inflate: %v", err)
	}
	return got
}

// report returns a typical document of about size bytes.
func report(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	b.WriteString(`{"jobId":"01a208fd-2dc6-7467-acd5-bb987da20001","type":"report.generate","state":"completed","result":[`)
	for b.Len() < size-2 {
		fmt.Fprintf(&b, `{"order":"%08x","customer":"customer %d","amount":%d.%02d,"currency":"EUR","state":"paid"},`,
			r.Uint32(), r.IntN(10_000), r.IntN(10_000), r.IntN(100))
	}
	b.WriteString(`0]}`)
	return b.Bytes()
}

func TestDeflate(t *testing.T) {
	random := make([]byte, 200<<10)
	for i := range random {
		random[i] = "0123456789abcdef"[rand.IntN(16)]
	}
	for what, body := range map[string][]byte{
		"a short text":            []byte(strings.Repeat("ab", 20)),
		"a report":                report(4 << 10),
		"more than a block":       report(100 << 10),
		"more than 64 KiB as hex": random, // compressed too
		"a MiB of one letter":     bytes.Repeat([]byte("x"), 1<<20),
	} {
		plain := text(body)
		kept := bytes.Clone(plain)
		small := Deflate(plain)
		if len(small) == 0 || len(small) >= len(plain) {
			t.Errorf("%s: %d bytes became %d", what, len(plain), len(small))
			continue
		}
		if !bytes.Equal(inflated(t, small), body) {
			t.Errorf("%s: came back otherwise", what)
		}
		if !bytes.Equal(plain, kept) {
			t.Errorf("%s: the frame was changed", what)
		}
		if cap(small) > len(small)+maxHeader {
			t.Errorf("%s: %d bytes keep %d", what, len(small), cap(small))
		}
	}
}

func TestWhatIsNotDeflated(t *testing.T) {
	random := make([]byte, 5000)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	for what, b := range map[string][]byte{
		"nothing":             nil,
		"a ping":              Ping,
		"a close":             Close(code.ClosePolicyViolation),
		"an empty text":       text(nil),
		"a letter":            text([]byte("x")),
		"what does not yield": text(random),
		"a compressed frame":  Deflate(text(report(4 << 10))),
	} {
		if got := Deflate(b); got != nil {
			t.Errorf("%s: %d bytes became %d", what, len(b), len(got))
		}
	}
}

// TestDeflateSideBySide: concurrent compressions share a pool of buffers.
func TestDeflateSideBySide(t *testing.T) {
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			body := report(1000 + 9000*i)
			for range 4 {
				if !bytes.Equal(inflated(t, Deflate(text(body))), body) {
					t.Error("came back otherwise")
				}
			}
		})
	}
	all.Wait()
}

// FuzzDeflate: a frame is compressed to a smaller one with the same payload, or not at all.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(report(3000))
	f.Add(bytes.Repeat([]byte{0}, 40_000))
	f.Fuzz(func(t *testing.T, body []byte) {
		plain := text(body)
		small := Deflate(plain)
		switch {
		case small == nil:
		case len(small) >= len(plain):
			t.Fatalf("%d bytes became %d", len(plain), len(small))
		case !bytes.Equal(inflated(t, small), body):
			t.Fatal("came back otherwise")
		}
	})
}

func BenchmarkDeflate(b *testing.B) {
	for _, size := range []int{1 << 10, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			plain := text(report(size))
			b.ReportAllocs()
			b.SetBytes(int64(len(plain)))
			var small []byte
			for b.Loop() {
				small = Deflate(plain)
			}
			b.ReportMetric(float64(len(small))/float64(len(plain)), "size/plain")
		})
	}
}
