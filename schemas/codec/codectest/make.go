package codectest

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"reflect"
	"time"
)

// Make makes a value from bytes: the same one from the same bytes, and with enough bytes any. Texts need not be UTF-8,
// raw values not be JSON, numbers not be finite and times not be ones that can be encoded.
func Make[T any](b []byte) T {
	var v T
	m := maker(b)
	m.fill(reflect.ValueOf(&v).Elem())
	return v
}

type maker []byte

// take takes the next n bytes, with zeros for those that are missing.
func (m *maker) take(n int) []byte {
	taken := make([]byte, n)
	*m = (*m)[copy(taken, *m):]
	return taken
}

func (m *maker) below(n int) int { return int(m.take(1)[0]) % n }

func (m *maker) number() int64 {
	n := int64(binary.LittleEndian.Uint64(m.take(8)))
	return n >> (8 * m.below(8)) // small numbers too
}

var (
	texts = []string{"", "a", "report.generate", "é😀", "<&>", "\"\\/\b\f\n\r\t", "\x00\x1f\x7f", "\u2028\u2029",
		"\xff", "a\xed\xa0\x80b", "0198c0de-0000-7000-8000-000000000001"}
	someRaws = []string{"", "null", "{}", "[1,2]", `{"a":1}`, `{"a":1,"a":2}`, ` { "a" : 1 } `, "{", `"<"`, `"\ud800"`,
		"\"\xff\"", "1.0", "1e400"}
	reals = []float64{0, 1, 0.5, 1e-6, 1e-7, 1e21, 1e20, 123456.789, 1 << 53, 1<<53 + 2, 5e-324, math.MaxFloat64,
		math.NaN(), math.Inf(-1), math.Copysign(0, -1)}
	zones = []*time.Location{time.UTC, time.FixedZone("", 3600), time.FixedZone("", -(23*3600 + 59*60)),
		time.FixedZone("", 24*3600), time.FixedZone("", 61)}
)

func pick[E any](m *maker, all []E) E { return all[m.below(len(all))] }

func (m *maker) fill(v reflect.Value) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(m.time()))
		return
	case json.RawMessage:
		if m.below(3) > 0 {
			v.SetBytes([]byte(pick(m, someRaws)))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Tag.Get("json") != "-" {
				m.fill(v.Field(i))
			}
		}
	case reflect.Pointer:
		if m.below(2) == 1 {
			v.Set(reflect.New(v.Type().Elem()))
			m.fill(v.Elem())
		}
	case reflect.Slice:
		if n := m.below(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n-1, n-1))
			for i := range n - 1 {
				m.fill(v.Index(i))
			}
		}
	case reflect.Map:
		if n := m.below(4); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n - 1 {
				key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				m.fill(key)
				m.fill(value)
				v.SetMapIndex(key, value)
			}
		}
	case reflect.String:
		if m.below(2) == 1 {
			v.SetString(pick(m, texts))
		} else {
			v.SetString(string(m.take(m.below(12))))
		}
	case reflect.Bool:
		v.SetBool(m.below(2) == 1)
	case reflect.Float64:
		if m.below(2) == 1 {
			v.SetFloat(pick(m, reals))
		} else {
			v.SetFloat(math.Float64frombits(binary.LittleEndian.Uint64(m.take(8))))
		}
	default:
		v.SetInt(m.number())
	}
}

// time makes a time of any year, in one of zones.
func (m *maker) time() time.Time {
	switch m.below(3) {
	case 0:
		return time.Time{}
	case 1:
		return time.UnixMilli(m.number() % (1 << 42)).In(pick(m, zones))
	}
	return time.Unix(m.number()%(1<<40), int64(m.below(256))*3906250).In(pick(m, zones))
}
