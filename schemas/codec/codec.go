package codec

import (
	"encoding/json"
	"sync"
	"unsafe"

	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
)

// Codec reads and writes messages of the type T, a struct or slice. It may be used from any goroutine.
type Codec[T any] struct {
	shape *shape
	exact bool
}

var states = sync.Pool{New: func() any { return new(state) }}

// state is what one call works with.
type state struct {
	read  reader
	write writer
}

// New compiles the type T. It panics if T, or a type in it, is not one that the package knows: it knows structs,
// strings, signed integers, float64, bool, time.Time, json.RawMessage, pointers to these and slices of these, and an
// int64 that implements Appender and json.Unmarshaler. Maps are left to encoding/json: they should be rare.
func New[T any]() *Codec[T] {
	return &Codec[T]{shape: compile[T]()}
}

// Exact makes Try refuse messages with fields that T does not have.
func (c *Codec[T]) Exact() *Codec[T] {
	c.exact = true
	return c
}

// Together makes the values of several pointers one allocation. block is a struct that has them as values, under the
// names that the pointers have in T. They are allocated as soon as one of them is read, and live as long as any of
// them, so they should be ones that come together.
func (c *Codec[T]) Together(block any) *Codec[T] {
	c.shape.together(block)
	return c
}

// Decode is like strict.Unmarshal into v, which is a zero value before, and after an error. sound reports that each
// json.RawMessage in v passes strict.Check; without it they may pass or not.
func (c *Codec[T]) Decode(b []byte, v *T) (sound bool, err error) {
	if c.Try(b, v) {
		return true, nil
	}
	var slow T
	if err := strict.Unmarshal(b, &slow); err != nil {
		return false, err
	}
	*v = slow
	return false, nil
}

// Try decodes a message that belongs to the package's subset of JSON, which is one of strict JSON, into v, which is a
// zero value before. It reports false for any other message, and leaves v a zero value.
func (c *Codec[T]) Try(b []byte, v *T) bool {
	s := states.Get().(*state)
	ok := s.read.message(b, c.shape, unsafe.Pointer(v), c.exact)
	states.Put(s)
	if !ok {
		var zero T
		*v = zero
	}
	return ok
}

// Encode is like plainjson.Marshal.
func (c *Codec[T]) Encode(v *T) ([]byte, error) {
	s := states.Get().(*state)
	text, ok := s.write.message(c.shape, unsafe.Pointer(v))
	if ok {
		own := make([]byte, len(text))
		copy(own, text)
		states.Put(s)
		return own, nil
	}
	states.Put(s)
	slow := *v
	return plainjson.Marshal(&slow)
}

// Appender is implemented, beside json.Marshaler and json.Unmarshaler, by a number that is written as another number,
// such as a duration as seconds. When it reads null, it leaves its value as it is.
type Appender interface {
	json.Marshaler
	// AppendJSON appends what MarshalJSON returns, which cannot fail.
	AppendJSON(b []byte) []byte
}
