package codec

import (
	"encoding/json"
	"reflect"
	"unsafe"
)

// custom reads and writes numbers that have an encoding of their own. Their methods get a pointer to its value, which
// is on the heap, and not to a value that may be on a stack.
type custom struct {
	value  int64
	of     *shape // of the type that the others are for
	reader json.Unmarshaler
	writer Appender
}

func (c *custom) prepare(s *shape) {
	if c.of == s {
		return
	}
	at := reflect.NewAt(s.typ, unsafe.Pointer(&c.value)).Interface()
	c.of, c.reader, c.writer = s, at.(json.Unmarshaler), at.(Appender)
}

func (c *custom) read(s *shape, b []byte, to *int64) bool {
	c.prepare(s)
	c.value = 0
	err := c.reader.UnmarshalJSON(b)
	*to = c.value
	return err == nil
}

func (c *custom) append(s *shape, b []byte, n int64) []byte {
	c.prepare(s)
	c.value = n
	return c.writer.AppendJSON(b)
}
