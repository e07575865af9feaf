package codec

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	"github.com/ackwire/ackwire/schemas/internal/scan"
)

// reader reads one message.
//
// Pointers into values are unsafe, and only made from the offsets and types of a shape: each kind's case accesses a
// value of just that kind. The value that the message is may be on the caller's stack, so a pointer to it is passed on
// and never kept.
type reader struct {
	b     []byte
	i     int // of the next byte
	exact bool
	scan  scan.Scanner
	texts []found
	block unsafe.Pointer // the block of the message's object, once it is allocated
	own   custom
}

// place is where a value is: at an offset in a part of the message that has its own allocation or, if there is none, in
// the root, which is the value that the message is.
type place struct {
	part   unsafe.Pointer
	offset uintptr
}

func (at place) in(root unsafe.Pointer) unsafe.Pointer {
	if at.part != nil {
		return unsafe.Add(at.part, at.offset)
	}
	return unsafe.Add(root, at.offset)
}

// found is a text that was read and is still to be copied.
type found struct {
	to       place
	from, up int // where it is in the message
}

const (
	longText  = 256 // bytes
	keptTexts = 256
)

// message reads the object or array that b is into the zero value at root. It reports false if b does not belong to the
// subset: then the value is of no use.
func (r *reader) message(b []byte, s *shape, root unsafe.Pointer, exact bool) bool {
	r.b, r.exact = b, exact
	r.i = scan.Space(b, 0)
	ok := r.i < len(b) && b[r.i] != 'n' && r.value(s, root, place{}, 0) && scan.Space(b, r.i) == len(b)
	if ok {
		r.copyTexts(root)
	}
	r.b, r.block = nil, nil
	clear(r.texts)
	r.texts = r.texts[:0]
	if cap(r.texts) > keptTexts {
		r.texts = nil
	}
	r.scan.Reset()
	return ok
}

// copyTexts copies all short texts with one allocation. A long one has its own, so that it is not kept in memory by a
// short one that lives longer.
func (r *reader) copyTexts(root unsafe.Pointer) {
	size := 0
	for _, t := range r.texts {
		if n := t.up - t.from; n <= longText {
			size += n
		}
	}
	all := make([]byte, size)
	for _, t := range r.texts {
		to := (*string)(t.to.in(root))
		part := r.b[t.from:t.up]
		if len(part) > longText {
			*to = string(part)
			continue
		}
		n := copy(all, part)
		*to = unsafe.String(&all[0], n) // nobody writes to it any more
		all = all[n:]
	}
}

// object reads the object at r.i.
func (r *reader) object(s *shape, root unsafe.Pointer, at place, depth int) bool {
	if depth > scan.MaxNesting {
		return false
	}
	r.i = scan.Space(r.b, r.i+1)
	if r.i < len(r.b) && r.b[r.i] == '}' {
		r.i++
		return true
	}
	var seen uint64 // a bit for each field
	for next := 0; ; {
		var name []byte
		ok := true
		n := s.expected(r.b[r.i:], next)
		if n >= 0 {
			r.i = scan.Space(r.b, r.i+len(s.fields[n].key)-1)
		} else {
			n, name, ok = r.name(s, next)
		}
		switch {
		case !ok:
			return false
		case n < 0:
			ok = r.unknown(s, name, depth)
		case seen&(1<<n) != 0:
			return false
		default:
			seen |= 1 << n
			next = n + 1
			f := &s.fields[n]
			if f.inBlock {
				ok = r.inBlock(f, s, root, at, depth)
			} else {
				ok = r.value(f.shape, root, place{at.part, at.offset + f.offset}, depth)
			}
		}
		if !ok {
			return false
		}
		more, ok := r.more('}')
		if !ok || !more {
			return ok
		}
	}
}

// name reads the name of a member, and the colon behind it. It returns the index of the object's field of this name, or
// -1 and the name.
func (r *reader) name(s *shape, next int) (n int, name []byte, ok bool) {
	start := r.i + 1
	if r.i >= len(r.b) || r.b[r.i] != '"' {
		return 0, nil, false
	}
	end, escaped, ok := scan.Text(r.b, r.i)
	if !ok || escaped {
		return 0, nil, false
	}
	colon := scan.Space(r.b, end)
	if colon >= len(r.b) || r.b[colon] != ':' {
		return 0, nil, false
	}
	r.i = scan.Space(r.b, colon+1)
	name = r.b[start : end-1]
	return s.find(name, next), name, true
}

// more reads what follows a member or an element: a comma, or the end of the object or array.
func (r *reader) more(end byte) (more, ok bool) {
	r.i = scan.Space(r.b, r.i)
	if r.i >= len(r.b) {
		return false, false
	}
	c := r.b[r.i]
	r.i++
	if c == ',' {
		r.i = scan.Space(r.b, r.i)
		return true, true
	}
	return false, c == end
}

// unknown passes over the value of a field that the object does not have. encoding/json would take a name in another
// case for the field's.
func (r *reader) unknown(s *shape, name []byte, depth int) bool {
	if r.exact || s.like(string(name)) {
		return false
	}
	for _, c := range name {
		if c >= 0x80 { // some characters are letters of ASCII in another case
			return false
		}
	}
	return r.pass(depth)
}

// pass passes over a value.
func (r *reader) pass(depth int) (ok bool) {
	r.i, ok = r.scan.Value(r.b, r.i, depth)
	return ok
}

// null reads null, which leaves any value but a raw one as it is.
func (r *reader) null() bool {
	if r.i >= len(r.b) || r.b[r.i] != 'n' || !scan.Literal(r.b, r.i, "null") {
		return false
	}
	r.i += len("null")
	return true
}

// inBlock reads what a field of the object at a place points to into the block.
func (r *reader) inBlock(f *field, s *shape, root unsafe.Pointer, at place, depth int) bool {
	at.offset += f.offset
	if r.null() {
		return true
	}
	if r.block == nil {
		r.block = reflect.New(s.block.typ).UnsafePointer()
	}
	inside := place{r.block, f.blockAt}
	*(*unsafe.Pointer)(at.in(root)) = inside.in(nil)
	return r.value(f.elem, root, inside, depth)
}

// readMap reads a map to p. Another one is read first, for reflect keeps its pointers, and p must not be kept.
func (s *shape) readMap(b []byte, p unsafe.Pointer) bool {
	own := reflect.New(s.typ)
	if json.Unmarshal(b, own.Interface()) != nil {
		return false
	}
	*(*unsafe.Pointer)(p) = *(*unsafe.Pointer)(own.UnsafePointer()) // a map is a pointer
	return true
}

// value reads a value to a place, where a zero value is.
func (r *reader) value(s *shape, root unsafe.Pointer, at place, depth int) bool {
	if s.kind != raw && r.null() {
		return true
	}
	if r.i >= len(r.b) {
		return false
	}
	p := at.in(root)
	switch s.kind {
	case text:
		return r.text(p, at)
	case whole:
		return r.whole(s, p)
	case decimal:
		return r.decimal((*float64)(p))
	case truth:
		return r.truth((*bool)(p))
	case raw:
		start := r.i
		if !r.pass(depth) {
			return false
		}
		own := make([]byte, r.i-start)
		copy(own, r.b[start:r.i])
		*(*json.RawMessage)(p) = own
		return true
	case foreign:
		start := r.i
		return r.pass(depth) && s.readMap(r.b[start:r.i], p)
	case instant:
		start := r.i
		return r.pass(depth) && (*time.Time)(p).UnmarshalJSON(r.b[start:r.i]) == nil
	case number:
		start := r.i
		end, ok := scan.Number(r.b, start)
		r.i = end
		return ok && r.own.read(s, r.b[start:end], (*int64)(p))
	case object:
		return r.b[r.i] == '{' && r.object(s, root, at, depth+1)
	case pointer:
		to := reflect.New(s.elem.typ).UnsafePointer()
		*(*unsafe.Pointer)(p) = to
		return r.value(s.elem, root, place{part: to}, depth)
	case list:
		return r.list(s, root, p, depth)
	}
	return false
}

func (r *reader) text(p unsafe.Pointer, at place) bool {
	start := r.i
	if r.b[start] != '"' {
		return false
	}
	end, escaped, ok := scan.Text(r.b, start)
	if !ok {
		return false
	}
	r.i = end
	switch {
	case escaped:
		var read string
		if json.Unmarshal(r.b[start:end], &read) != nil {
			return false
		}
		*(*string)(p) = read
	case end > start+2:
		r.texts = append(r.texts, found{at, start + 1, end - 1})
	}
	return true
}

func (r *reader) whole(s *shape, p unsafe.Pointer) (ok bool) {
	var n int64
	n, r.i, ok = scan.Integer(r.b, r.i)
	if !ok {
		return false
	}
	switch s.size {
	case 8:
		*(*int64)(p) = n
		return true
	case 4:
		*(*int32)(p) = int32(n)
		return int64(int32(n)) == n
	case 2:
		*(*int16)(p) = int16(n)
		return int64(int16(n)) == n
	default:
		*(*int8)(p) = int8(n)
		return int64(int8(n)) == n
	}
}

func (r *reader) decimal(to *float64) bool {
	start := r.i
	end, ok := scan.Number(r.b, start)
	if !ok {
		return false
	}
	r.i = end
	if n, stop, ok := scan.Integer(r.b, start); ok && stop == end && n > 0 && n < 1<<53 {
		*to = float64(n)
		return true
	}
	f, err := strconv.ParseFloat(string(r.b[start:end]), 64)
	*to = f
	return err == nil && !math.IsInf(f, 0)
}

func (r *reader) truth(to *bool) bool {
	switch {
	case scan.Literal(r.b, r.i, "true"):
		*to = true
		r.i += len("true")
	case scan.Literal(r.b, r.i, "false"):
		r.i += len("false")
	default:
		return false
	}
	return true
}

// list reads an array. It counts the elements first, for texts in them are written when their addresses are final.
func (r *reader) list(s *shape, root, p unsafe.Pointer, depth int) bool {
	if r.b[r.i] != '[' || depth+1 > scan.MaxNesting {
		return false
	}
	n, ok := r.count(depth + 1)
	if !ok {
		return false
	}
	elements := reflect.MakeSlice(s.typ, n, n).UnsafePointer()
	*(*[]struct{})(p) = unsafe.Slice((*struct{})(elements), n) // all slices have the same form
	for i := range n {
		if !r.value(s.elem, root, place{elements, uintptr(i) * s.elem.size}, depth+1) {
			return false
		}
		if _, ok := r.more(']'); !ok {
			return false
		}
	}
	return true
}

// count returns the number of the elements in the array at r.i, and goes to the first of them, or behind the array if
// it is empty.
func (r *reader) count(depth int) (n int, ok bool) {
	r.i = scan.Space(r.b, r.i+1)
	if r.i < len(r.b) && r.b[r.i] == ']' {
		r.i++
		return 0, true
	}
	first := r.i
	for more := true; more; n++ {
		if !r.pass(depth) {
			return 0, false
		}
		if more, ok = r.more(']'); !ok {
			return 0, false
		}
	}
	r.i = first
	return n, true
}
