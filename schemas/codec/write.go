package codec

import (
	"encoding/json"
	"math"
	"math/bits"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/ackwire/ackwire/schemas/internal/scan"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// writer writes one message. Its pointers are as unsafe as the reader's.
type writer struct {
	b    []byte
	scan scan.Scanner
	own  custom
	day  int64                     // counted from 1970-01-01, which is 1
	date [len(`"2006-01-02T`)]byte // of day
}

const keptBytes = 64 << 10 // of a writer's buffer

// message writes the struct or slice at p. The bytes are valid until the next call. It reports false if encoding/json
// must write it: it cannot be encoded, or has a raw value that may have white space or not be valid.
func (w *writer) message(s *shape, p unsafe.Pointer) (text []byte, ok bool) {
	text, ok = w.value(w.b[:0], s, p)
	w.b = text
	if cap(w.b) > keptBytes {
		w.b = nil
	}
	w.scan.Reset()
	return text, ok
}

// value appends the value at p.
func (w *writer) value(b []byte, s *shape, p unsafe.Pointer) (_ []byte, ok bool) {
	switch s.kind {
	case text:
		return appendText(b, *(*string)(p)), true
	case whole:
		return strconv.AppendInt(b, s.integer(p), 10), true
	case decimal:
		return appendDecimal(b, *(*float64)(p))
	case truth:
		return strconv.AppendBool(b, *(*bool)(p)), true
	case raw:
		return w.raw(b, *(*json.RawMessage)(p))
	case foreign:
		return s.appendMap(b, p)
	case instant:
		return w.instant(b, *(*time.Time)(p))
	case number:
		return w.own.append(s, b, *(*int64)(p)), true
	case object:
		return w.object(b, s, p)
	case pointer:
		if to := *(*unsafe.Pointer)(p); to != nil {
			return w.value(b, s.elem, to)
		}
		return append(b, "null"...), true
	case list:
		return w.list(b, s, p)
	}
	return b, false
}

func (w *writer) object(b []byte, s *shape, p unsafe.Pointer) (_ []byte, ok bool) {
	begin := len(b)
	for present := s.present(p); present != 0; present &= present - 1 {
		f := &s.fields[bits.TrailingZeros64(present)]
		b = append(b, f.key...)
		at := unsafe.Add(p, f.offset)
		if f.kind == text {
			b = appendText(b, *(*string)(at))
			continue
		}
		b, ok = w.value(b, f.shape, at)
		if !ok {
			return b, false
		}
	}
	if len(b) == begin {
		return append(b, '{', '}'), true
	}
	b[begin] = '{' // instead of the first field's comma
	return append(b, '}'), true
}

// present returns a bit for each field of the struct at p that is not left out. Most messages have few of their fields,
// so there is no branch for each.
func (s *shape) present(p unsafe.Pointer) uint64 {
	all := s.always
	for _, at := range s.words {
		bit := uint64(0)
		if *(*uintptr)(unsafe.Add(p, at.offset)) != 0 {
			bit = 1
		}
		all |= bit << (at.index & 63)
	}
	for _, at := range s.rest {
		if !s.fields[at.index].omit.holds(unsafe.Add(p, at.offset)) {
			all |= 1 << (at.index & 63)
		}
	}
	return all
}

// holds reports whether the value at p is one with which its field is left out.
func (w when) holds(p unsafe.Pointer) bool {
	switch w {
	case zero64:
		return *(*int64)(p) == 0
	case zero32:
		return *(*int32)(p) == 0
	case zero16:
		return *(*int16)(p) == 0
	case zero8:
		return *(*int8)(p) == 0
	case zeroFloat:
		return *(*float64)(p) == 0
	case zeroTime:
		return (*time.Time)(p).IsZero()
	}
	return false
}

func (s *shape) integer(p unsafe.Pointer) int64 {
	switch s.size {
	case 8:
		return *(*int64)(p)
	case 4:
		return int64(*(*int32)(p))
	case 2:
		return int64(*(*int16)(p))
	}
	return int64(*(*int8)(p))
}

func (w *writer) list(b []byte, s *shape, p unsafe.Pointer) (_ []byte, ok bool) {
	slice := *(*[]struct{})(p)
	if slice == nil {
		return append(b, "null"...), true
	}
	elements := unsafe.Pointer(unsafe.SliceData(slice))
	b = append(b, '[')
	for i := range slice {
		if i > 0 {
			b = append(b, ',')
		}
		b, ok = w.value(b, s.elem, unsafe.Add(elements, uintptr(i)*s.elem.size))
		if !ok {
			return b, false
		}
	}
	return append(b, ']'), true
}

func (w *writer) raw(b []byte, m json.RawMessage) (_ []byte, ok bool) {
	if m == nil {
		return append(b, "null"...), true
	}
	w.scan.Spaced = false
	end, ok := w.scan.Value(m, 0, 0)
	if !ok || end != len(m) || w.scan.Spaced {
		return b, false
	}
	return append(b, m...), true
}

// appendMap appends the map at p. Whether an empty one that is not nil is there at all depends on its field:
// encoding/json decides. The map is copied first, as in readMap.
func (s *shape) appendMap(b []byte, p unsafe.Pointer) (_ []byte, ok bool) {
	own := reflect.New(s.typ)
	*(*unsafe.Pointer)(own.UnsafePointer()) = *(*unsafe.Pointer)(p)
	m := own.Elem()
	if m.Len() == 0 && !m.IsNil() {
		return b, false
	}
	text, err := plainjson.Marshal(m.Interface())
	return append(b, text...), err == nil
}

const daySeconds = 24 * 60 * 60

// instant appends a time. Most times in a message are of the same day, so the date is kept.
func (w *writer) instant(b []byte, t time.Time) (_ []byte, ok bool) {
	seconds := t.Unix()
	if t.Location() != time.UTC || seconds < 0 {
		return appendInstant(b, t)
	}
	if day := seconds/daySeconds + 1; day != w.day {
		text, ok := appendInstant(nil, t)
		if !ok {
			return b, false
		}
		w.day = day
		copy(w.date[:], text)
	}
	b = append(b, w.date[:]...)
	seconds %= daySeconds
	b = appendTwo(b, seconds/3600, ':')
	b = appendTwo(b, seconds/60%60, ':')
	b = appendTwo(b, seconds%60, 'Z')
	if nanos := t.Nanosecond(); nanos > 0 {
		b[len(b)-1] = '.'
		for unit := 100_000_000; nanos > 0; unit /= 10 {
			b = append(b, '0'+byte(nanos/unit))
			nanos %= unit
		}
		b = append(b, 'Z')
	}
	return append(b, '"'), true
}

// appendTwo appends a number of two digits, and what follows it.
func appendTwo(b []byte, n int64, then byte) []byte {
	return append(b, '0'+byte(n/10), '0'+byte(n%10), then)
}

func appendInstant(b []byte, t time.Time) (_ []byte, ok bool) {
	text, err := t.AppendText(append(b, '"'))
	if err != nil {
		return b, false
	}
	return append(text, '"'), true
}

// appendDecimal appends a number as ECMAScript writes it, which is the form of encoding/json.
func appendDecimal(b []byte, f float64) (_ []byte, ok bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return b, false
	}
	const least, most = 1e-6, 1e21 // of the numbers that are written without an exponent
	size := math.Abs(f)
	if f == math.Trunc(f) && size < 1<<53 && size > 0 {
		return strconv.AppendInt(b, int64(f), 10), true
	}
	if size == 0 || size >= least && size < most {
		return strconv.AppendFloat(b, f, 'f', -1, 64), true
	}
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	if n := len(b); n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' { // e-09 is e-9
		b[n-2] = b[n-1]
		b = b[:n-1]
	}
	return b, true
}

// appendText appends a string without escapes for HTML. Bytes that are not UTF-8 become U+FFFD.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	text := unsafe.Slice(unsafe.StringData(s), len(s)) // only read
	for from := 0; ; {
		i := scan.Plain(text, from)
		b = append(b, s[from:i]...)
		if i == len(s) {
			return append(b, '"')
		}
		size := 1
		if s[i] < utf8.RuneSelf {
			b = appendEscape(b, s[i])
		} else {
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(b, `\ufffd`...)
			case r == '\u2028':
				b = append(b, `\u2028`...)
			case r == '\u2029':
				b = append(b, `\u2029`...)
			default:
				b = append(b, s[i:i+size]...)
			}
		}
		from = i + size
	}
}

// appendEscape appends the escape of a quote, a backslash or a control character.
func appendEscape(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xF])
}
