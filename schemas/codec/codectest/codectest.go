package codectest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/ackwire/ackwire/schemas/codec"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
)

// Decode fails the test unless the codec decodes b as strict.Unmarshal does: both refuse it with the same error, or
// both return the same value. It also checks that the raw values of a sound message pass strict.Check.
func Decode[T any](t *testing.T, c *codec.Codec[T], b []byte) {
	t.Helper()
	before := bytes.Clone(b)
	var got, want T
	sound, err := c.Decode(b, &got)
	wantErr := strict.Unmarshal(before, &want)
	if !bytes.Equal(b, before) {
		t.Fatalf("%q became %q", before, b)
	}
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Fatalf("%q: %v, and encoding/json says %v", b, err, wantErr)
	}
	if err != nil {
		var zero T
		if !reflect.DeepEqual(got, zero) {
			t.Fatalf("%q is refused, and read as %+v", b, got)
		}
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q is\n%s\nand encoding/json reads\n%s", b, show(got), show(want))
	}
	if !sound {
		return
	}
	for _, raw := range raws(reflect.ValueOf(got), nil) {
		if err := strict.Check(raw); err != nil {
			t.Fatalf("%q is sound, and %q %v", b, raw, err)
		}
	}
	// What was read does not change with the message.
	for i := range b {
		b[i] ^= 0xFF
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q is read as a value that shares its memory", before)
	}
	copy(b, before)
}

// raws appends the raw values in v that are there.
func raws(v reflect.Value, to []json.RawMessage) []json.RawMessage {
	if raw, ok := v.Interface().(json.RawMessage); ok {
		if raw != nil {
			to = append(to, raw)
		}
		return to
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				to = raws(v.Field(i), to)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			to = raws(v.Index(i), to)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			to = raws(v.Elem(), to)
		}
	}
	return to
}

func show(v any) string {
	b, err := plainjson.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Encode fails the test unless the codec encodes v as plainjson.Marshal does: with the same bytes or the same error.
func Encode[T any](t *testing.T, c *codec.Codec[T], v *T) {
	t.Helper()
	got, err := c.Encode(v)
	want, wantErr := plainjson.Marshal(v)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Fatalf("%+v: %v, and encoding/json says %v", v, err, wantErr)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("encoded\n%s\nand encoding/json has\n%s", got, want)
	}
}

// Fuzz fuzzes the codec in both directions. The corpus are the seeds, as they are and in other spellings. Bytes are
// decoded; values are made from bytes, and encoded.
func Fuzz[T any](f *testing.F, c *codec.Codec[T], seeds ...[]byte) {
	for _, b := range seeds {
		for _, spelling := range Spellings(b) {
			f.Add(spelling)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		Decode(t, c, b)
		v := Make[T](b)
		Encode(t, c, &v)
		if b, err := c.Encode(&v); err == nil {
			Decode(t, c, b)
		}
		var read T
		if _, err := c.Decode(b, &read); err == nil {
			Encode(t, c, &read)
		}
	})
}

// Allocations fails the test if f makes more allocations than most. It skips the test under the race detector, which
// allocates: `make test` runs tests with FewAllocations in their names without it, too.
func Allocations(t *testing.T, what string, most float64, f func() error) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	n := testing.AllocsPerRun(100, func() {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	})
	if n > most {
		t.Errorf("%s: %v allocations, want at most %v", what, n, most)
	}
}
