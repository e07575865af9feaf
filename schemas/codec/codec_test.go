package codec_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/codec"
	"github.com/ackwire/ackwire/schemas/codec/codectest"
)

type name string

// small is a number with an encoding of its own: it is negated.
type small int64

func (s small) AppendJSON(b []byte) []byte   { return strconv.AppendInt(b, int64(-s), 10) }
func (s small) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil), nil }
func (s *small) UnmarshalJSON(b []byte) error {
	n := int64(-*s)
	err := json.Unmarshal(b, &n)
	*s = small(-n)
	return err
}

type part struct {
	Name  name       `json:"name"`
	At    *time.Time `json:"at,omitempty"`
	Ratio float64    `json:"ratio"`
}

type Base struct {
	ID   name  `json:"id"`
	Size small `json:"size,omitempty"`
}

// all has each kind of field.
type all struct {
	V int `json:"v"`
	Base
	Untagged string
	Hidden   string          `json:"-"`
	Tiny     int8            `json:"tiny,omitempty"`
	Short    int16           `json:"short,omitempty"`
	Mid      int32           `json:"mid"`
	Long     int64           `json:"long,omitempty"`
	Wait     time.Duration   `json:"wait,omitempty"`
	Ratio    float64         `json:"ratio,omitempty"`
	Yes      bool            `json:"yes,omitempty"`
	No       bool            `json:"no"`
	At       time.Time       `json:"at"`
	Since    time.Time       `json:"since,omitzero"`
	Raw      json.RawMessage `json:"raw"`
	Maybe    json.RawMessage `json:"maybe,omitempty"`
	Part     part            `json:"part,omitempty"`
	Parts    []part          `json:"parts"`
	Few      []name          `json:"few,omitempty"`
	Raws     []json.RawMessage
	Lists    [][]int16       `json:"lists,omitempty"`
	Ref      *part           `json:"ref,omitempty"`
	Null     *int64          `json:"null"`
	Small    *small          `json:"small,omitempty"`
	Other    *name           `json:"other,omitempty"`
	Map      map[string]part `json:"map,omitempty"`
	Any      map[string]int  `json:"any"`
}

type block struct {
	Ref  part  `json:"ref"`
	Null int64 `json:"null"`
}

var (
	alone    = codec.New[all]()
	together = codec.New[all]().Together(block{})
)

const sample = `{"v":1,"id":"j","size":3,"Untagged":"u","tiny":-7,"short":300,"mid":70000,"long":9000000000,"wait":12,` +
	`"ratio":0.25,"yes":true,"no":false,"at":"2026-01-31T12:00:00.5Z","since":"2026-01-31T12:00:00+01:00","raw":{"a":[1,null]},` +
	`"maybe":"m","part":{"name":"p","at":"2026-01-31T12:00:00Z","ratio":1},"parts":[{"name":"q","ratio":1e-7},{"name":"","ratio":2}],` +
	`"few":["a","b"],"Raws":[1,"x"],"lists":[[1],[],[2,3]],"ref":{"name":"r","ratio":3},"null":5,"small":-2,"other":"o",` +
	`"map":{"b":{"name":"<","ratio":1},"a":{"name":"q","at":"2026-01-31T12:00:00Z","ratio":2}},"any":{"x":1}}`

// FuzzCodec compares a codec of a type with all kinds of fields with encoding/json.
func FuzzCodec(f *testing.F) {
	var seeds [][]byte
	seeds = append(seeds, []byte(sample), []byte(`{}`), []byte(`null`), []byte(`[]`), []byte(``), []byte(`{"raw":{"a":1,"a":2}}`))
	for _, b := range seeds {
		for _, spelling := range codectest.Spellings(b) {
			f.Add(spelling)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []*codec.Codec[all]{alone, together} {
			codectest.Decode(t, c, b)
			v := codectest.Make[all](b)
			codectest.Encode(t, c, &v)
			var read all
			if _, err := c.Decode(b, &read); err == nil {
				codectest.Encode(t, c, &read)
			}
		}
	})
}

// TestWhatTryReads: messages of the common form are read without help from encoding/json, and others are not.
func TestWhatTryReads(t *testing.T) {
	var spaced strings.Builder
	spaced.WriteString(strings.NewReplacer(`,"`, ` ,\n "`, `":`, `" : `).Replace(sample))
	exact := codec.New[all]().Exact()
	for what, c := range map[string]struct {
		message    string
		any, exact bool
	}{
		"all":          {sample, true, true},
		"nothing":      {`{}`, true, true},
		"white space":  {" " + strings.ReplaceAll(sample, `":`, "\" :\n\t") + " ", true, true},
		"reversed":     {string(codectest.Reversed([]byte(sample))), true, true},
		"escapes":      {`{"id":"\u00e9\n\ud83d\ude00"}`, true, true},
		"nulls":        {`{"id":null,"ref":null,"parts":null,"at":null,"v":null,"small":null,"no":null,"raw":null}`, true, true},
		"unknown":      {`{"later":{"a":[1]},"id":"j"}`, true, false},
		"another case": {`{"ID":"j"}`, false, false},
		"a long s":     {"{\"\u017fmall\":\"j\"}", false, false},
		"escaped":      {`{"\u0069d":"j"}`, false, false},
		"twice":        {`{"id":"j","id":"j"}`, false, false},
		"twice inside": {`{"raw":{"a":1,"a":1}}`, false, false},
		"1.0":          {`{"v":1.0}`, false, false},
		"128":          {`{"tiny":128}`, false, false},
		"a text":       {`{"v":"1"}`, false, false},
		"no object":    {`null`, false, false},
		"two":          {`{}{}`, false, false},
		"a bad time":   {`{"at":"2026-01-31 12:00:00Z"}`, false, false},
	} {
		var v, w all
		if got := alone.Try([]byte(c.message), &v); got != c.any {
			t.Errorf("%s: %t", what, got)
		}
		if got := exact.Try([]byte(c.message), &w); got != c.exact {
			t.Errorf("%s, exactly: %t", what, got)
		}
	}
}

// TestFewAllocations: short texts are one allocation, and a long one has its own, so that they do not keep it.
func TestFewAllocations(t *testing.T) {
	for message, most := range map[string]float64{
		`{"id":"j","Untagged":"some text","part":{"name":"more"}}`:                         1,
		`{"id":"j","Untagged":"` + strings.Repeat("x", 1000) + `","part":{"name":"more"}}`: 2,
		`{"ref":{"name":"r","ratio":1},"null":5}`:                                          2, // the block and the text
	} {
		b := []byte(message)
		codectest.Allocations(t, message, most, func() error {
			var v all
			_, err := together.Decode(b, &v)
			return err
		})
	}
}

func TestUnknownKindsPanic(t *testing.T) {
	for what, compile := range map[string]func(){
		"any":       func() { codec.New[struct{ A any }]() },
		"bytes":     func() { codec.New[struct{ A []byte }]() },
		"no struct": func() { codec.New[int]() },
		"a pointer": func() { codec.New[struct{ A []*int }]() },
		"unsigned":  func() { codec.New[struct{ A uint }]() },
		"an array":  func() { codec.New[struct{ A [2]int }]() },
		"a method": func() {
			codec.New[struct {
				A time.Month
				B json.Number
				C url
			}]()
		},
		"an option": func() {
			codec.New[struct {
				A int `json:"a,string"`
			}]()
		},
		"both": func() {
			codec.New[struct {
				A int `json:"a,omitempty,omitzero"`
			}]()
		},
		"a name": func() {
			codec.New[struct {
				A int `json:"ä"`
			}]()
		},
		"twice": func() {
			codec.New[struct {
				A int `json:"a"`
				B int `json:"A"`
			}]()
		},
		"an Appender": func() { codec.New[struct{ A odd }]() },
		"a block": func() {
			codec.New[all]().Together(struct {
				X int `json:"x"`
			}{})
		},
		"another type": func() {
			codec.New[all]().Together(struct {
				Null int32 `json:"null"`
			}{})
		},
	} {
		t.Run(what, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			compile()
		})
	}
}

// odd has an encoding of its own, and is no number.
type odd string

func (o odd) AppendJSON(b []byte) []byte    { return append(b, "0"...) }
func (o odd) MarshalJSON() ([]byte, error)  { return o.AppendJSON(nil), nil }
func (o *odd) UnmarshalJSON(b []byte) error { return nil }

// url has methods that encoding/json calls.
type url struct{ s string }

func (u *url) UnmarshalText(b []byte) error {
	u.s = string(b)
	return nil
}
