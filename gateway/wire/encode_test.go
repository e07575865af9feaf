package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// read parses one server frame by RFC 6455 §5.2, independently of how it was written.
func read(t *testing.T, b []byte) (op byte, data []byte) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(b))
	take := func(n int) []byte {
		got := make([]byte, n)
		if _, err := io.ReadFull(r, got); err != nil {
			t.Fatalf("frame % x: %v", b[:min(len(b), 16)], err)
		}
		return got
	}
	h := take(2)
	if h[0]&0xf0 != 0x80 || h[1]&0x80 != 0 {
		t.Fatalf("header % x: want FIN, no extension bits, no mask", h)
	}
	n := uint64(h[1])
	switch n {
	case 126:
		if n = uint64(binary.BigEndian.Uint16(take(2))); n < 126 {
			t.Fatalf("length %d is not in its shortest form", n)
		}
	case 127:
		if n = binary.BigEndian.Uint64(take(8)); n < 1<<16 {
			t.Fatalf("length %d is not in its shortest form", n)
		}
	}
	data = take(int(n))
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Fatalf("%d bytes after the frame", len(rest))
	}
	return h[0] & 0x0f, data
}

// A frame of any length has the header that RFC 6455 wants for it.
func TestFramesOfEveryLength(t *testing.T) {
	for _, n := range []int{2, 125, 126, 127, 1<<16 - 1, 1 << 16, 1<<16 + 1, frame.MaxFrameBytes, 1 << 20} {
		text := strings.Repeat("x", n-2)
		op, data := read(t, Encode(text))
		if op != 0x1 || len(data) != n || string(data) != `"`+text+`"` {
			t.Errorf("%d bytes: opcode %d, %d bytes", n, op, len(data))
		}
	}
}

// A status carries the document byte for byte as the fold made it.
func TestStatusKeepsTheDocument(t *testing.T) {
	for _, size := range []int{0, 1, 60, 61, 100, 70_000} {
		document := []byte(`{ "b":1.0,"a":"<é>` + strings.Repeat("x", size) + `" }`)
		kept := bytes.Clone(document)
		for _, version := range []int64{1, 42, 1<<63 - 1} {
			op, data := read(t, EncodeStatus(version, document))
			var got frame.StatusFrame
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			if op != 0x1 || got.Type != frame.Status || got.Version != version || !bytes.Equal(got.Job, kept) {
				t.Errorf("version %d, %d bytes: got opcode %d, %+v", version, size, op, got)
			}
		}
		if !bytes.Equal(document, kept) {
			t.Error("the document was changed")
		}
	}
}

// Each close code goes out with its name, within a control frame's 125 bytes.
func TestCloseFrames(t *testing.T) {
	for _, c := range code.AllCloses {
		op, data := read(t, Close(c))
		if op != 0x8 || len(data) < 3 || len(data) > 125 {
			t.Fatalf("%d: opcode %d, % x", c, op, data)
		}
		if got := binary.BigEndian.Uint16(data); int(got) != int(c) || string(data[2:]) != c.String() {
			t.Errorf("%d: got %d %s", c, got, data[2:])
		}
	}
}

func TestPingIsEmpty(t *testing.T) {
	if op, data := read(t, Ping); op != 0x9 || len(data) != 0 {
		t.Errorf("opcode %d, % x", op, data)
	}
}

func TestIsClose(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		code code.Close
		ok   bool
	}{
		{Close(code.CloseSlowConsumer), code.CloseSlowConsumer, true},
		{[]byte{0x88, 0}, 0, true},
		{[]byte{0x88, 2, 3, 0xe8}, 1000, true},
		{[]byte{0x88}, 0, false},
		{Ping, 0, false},
		{Encode("x"), 0, false},
		{nil, 0, false},
	} {
		if got, ok := IsClose(c.b); got != c.code || ok != c.ok {
			t.Errorf("%x: %d, %t", c.b, got, ok)
		}
	}
}
