package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unsafe"
)

// kind says how a value is read and written.
type kind uint8

const (
	text    kind = iota // a string
	whole               // a signed integer
	decimal             // a float64
	truth               // a bool
	raw                 // a json.RawMessage
	instant             // a time.Time
	number              // an int64 that is an Appender
	object              // a struct
	pointer             // to what elem says
	list                // a slice of what elem says
	foreign             // a map, which encoding/json reads and writes
)

// shape is the table of a type.
type shape struct {
	kind   kind
	typ    reflect.Type
	size   uintptr // of the type
	elem   *shape  // of a pointer or a list
	fields []field // of an object
	first  []byte  // the first letters of their names
	always uint64  // a bit for each that is never left out
	words  []word  // those that are left out when a word is 0
	rest   []word  // those that are left out by another rule
	block  *shape  // of an object: see Codec.Together
}

// field is one field of a struct.
type field struct {
	*shape
	name    string
	key     string // the name, in quotes, between a comma and a colon
	offset  uintptr
	omit    when
	inBlock bool // the field is a pointer to the block's field at blockAt
	blockAt uintptr
}

// word is where to look whether the field with an index is left out.
type word struct {
	offset uint32
	index  uint8
}

// when is the value with which a field is left out.
type when uint8

const (
	never    when = iota
	zeroWord      // a pointer, a length or an int
	zero64
	zero32
	zero16
	zero8
	zeroFloat
	zeroTime
)

const maxFields = 64 // of a struct: which of them were read is noted in a uint64

var (
	rawType      = reflect.TypeFor[json.RawMessage]()
	timeType     = reflect.TypeFor[time.Time]()
	appenderType = reflect.TypeFor[Appender]()
	readerType   = reflect.TypeFor[json.Unmarshaler]()
)

func compile[T any]() *shape {
	s := shapes{}.of(reflect.TypeFor[T]())
	if s.kind != object && s.kind != list {
		panic(fmt.Sprintf("codec: %s is not a struct or slice", s.typ))
	}
	return s
}

// shapes are those of the types that a codec has met: one for each.
type shapes map[reflect.Type]*shape

func (all shapes) of(t reflect.Type) *shape {
	if known := all[t]; known != nil {
		return known
	}
	s := &shape{typ: t, size: t.Size()}
	all[t] = s
	switch {
	case t == rawType:
		s.kind = raw
		return s
	case t == timeType:
		s.kind = instant
		return s
	case t.Implements(appenderType) && reflect.PointerTo(t).Implements(readerType):
		if t.Kind() != reflect.Int64 {
			panic(fmt.Sprintf("codec: %s is an Appender and not an int64", t))
		}
		s.kind = number
		return s
	}
	refuseMethods(t)
	switch t.Kind() {
	case reflect.String:
		s.kind = text
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		s.kind = whole
	case reflect.Float64:
		s.kind = decimal
	case reflect.Bool:
		s.kind = truth
	case reflect.Pointer:
		s.kind, s.elem = pointer, all.of(t.Elem())
	case reflect.Slice:
		s.kind, s.elem = list, all.of(t.Elem())
	case reflect.Map:
		s.kind = foreign
	case reflect.Struct:
		s.kind = object
		s.collect(all, t, 0)
	default:
		panic(fmt.Sprintf("codec: %s is of a kind that is not known", t))
	}
	if s.elem != nil && (s.elem.kind == pointer || s.elem.kind == raw && s.kind == pointer) {
		panic(fmt.Sprintf("codec: %s is of a kind that is not known", t))
	}
	return s
}

// methods are the interfaces whose methods encoding/json calls. They are not looked for by their names: a program that
// does that keeps all methods of all its types, and is a fifth larger.
var methods = []reflect.Type{
	reflect.TypeFor[json.Marshaler](), readerType,
	reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
}

// refuseMethods panics if encoding/json would call a method of the type.
func refuseMethods(t reflect.Type) {
	for _, m := range methods {
		if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(m) {
			panic(fmt.Sprintf("codec: %s has the methods of %s and is no Appender", t, m))
		}
	}
}

// collect adds the fields of a struct that is at an offset in the type of s. Those of an embedded struct count as the
// type's own.
func (s *shape) collect(all shapes, t reflect.Type, offset uintptr) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-":
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct:
			refuseMethods(f.Type)
			s.collect(all, f.Type, offset+f.Offset)
		case f.Anonymous:
			panic(fmt.Sprintf("codec: %s embeds %s", t, f.Type))
		case f.IsExported():
			if name == "" {
				name = f.Name
			}
			s.add(field{
				shape: all.of(f.Type), name: name, key: `,"` + name + `":`, offset: offset + f.Offset,
			}, options)
		}
	}
}

func (s *shape) add(f field, options string) {
	when, known := f.omitted(options)
	plain := f.name != "" && strings.Trim(f.name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
	if !known || !plain || len(s.fields) == maxFields {
		panic(fmt.Sprintf("codec: the field %s of %s has options, or a name, that are not known", f.name, s.typ))
	}
	if s.like(f.name) {
		panic(fmt.Sprintf("codec: %s has %s twice", s.typ, f.name))
	}
	f.omit = when
	s.fields = append(s.fields, f)
	s.first = append(s.first, f.name[0])
	at := word{uint32(f.offset), uint8(len(s.fields) - 1)}
	switch when {
	case never:
		s.always |= 1 << at.index
	case zeroWord:
		if f.kind == text || f.kind == raw || f.kind == list {
			at.offset += wordSize // behind the pointer to the bytes or elements
		}
		s.words = append(s.words, at)
	default:
		s.rest = append(s.rest, at)
	}
}

const wordSize = uint32(unsafe.Sizeof(uintptr(0)))

// omitted returns when a value is left out, by the options of its field. It reports false if it does not know them.
func (s *shape) omitted(options string) (_ when, known bool) {
	switch options {
	case "":
		return never, true
	case "omitzero":
		return zeroTime, s.kind == instant
	case "omitempty":
	default:
		return never, false
	}
	switch s.kind {
	case text, raw, list, pointer, foreign:
		return zeroWord, true
	case decimal:
		return zeroFloat, true
	case truth, whole, number:
		if s.size == uintptr(wordSize) {
			return zeroWord, true
		}
		switch s.size {
		case 8:
			return zero64, true
		case 4:
			return zero32, true
		case 2:
			return zero16, true
		}
		return zero8, true
	}
	return never, true // a struct is never empty
}

// like reports whether the object has a field with this name, in upper or lower case.
func (s *shape) like(name string) bool {
	for i := range s.fields {
		if strings.EqualFold(s.fields[i].name, name) {
			return true
		}
	}
	return false
}

// expected returns the index of the field, from next on, with whose key a message goes on: most messages have their
// fields in the order of the struct, and no white space. It returns -1 if there is none, or its key is not spelled so.
func (s *shape) expected(b []byte, next int) int {
	if len(b) < len(`"":`) {
		return -1
	}
	first := b[1]
	for i := next; i < len(s.first); i++ {
		if s.first[i] != first {
			continue
		}
		if key := s.fields[i].key[1:]; len(b) >= len(key) && string(b[:len(key)]) == key {
			return i
		}
	}
	return -1
}

// find returns the index of the field with this name, or -1. It looks from next on first.
func (s *shape) find(name []byte, next int) int {
	for i := next; i < len(s.fields); i++ {
		if s.fields[i].name == string(name) {
			return i
		}
	}
	for i := range s.fields[:next] {
		if s.fields[i].name == string(name) {
			return i
		}
	}
	return -1
}

// together implements Codec.Together.
func (s *shape) together(value any) {
	s.block = shapes{}.of(reflect.TypeOf(value))
	for _, part := range s.block.fields {
		i := s.find([]byte(part.name), 0)
		if i < 0 || s.fields[i].kind != pointer || s.fields[i].elem.typ != part.typ {
			panic(fmt.Sprintf("codec: %s is no pointer to a %s in %s", part.name, part.typ, s.typ))
		}
		s.fields[i].inBlock, s.fields[i].blockAt = true, part.offset
	}
}
