package codectest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/ackwire/ackwire/schemas/plainjson"
)

// Spellings returns a message as it is, and in other spellings of JSON: some of them mean the same, some something
// else, and some are wrong.
func Spellings(b []byte) [][]byte {
	all := [][]byte{b, []byte(" \r\n\t" + string(b) + " \n"), []byte(string(b) + "{}"), b[:len(b)*3/4]}
	var spaced bytes.Buffer
	if json.Indent(&spaced, b, " ", "\t") == nil {
		all = append(all, spaced.Bytes())
	}
	for _, change := range []struct{ pattern, by string }{
		{`"([a-zA-Z]+)":`, `"$1" : `},                       // white space
		{`"([a-zA-Z]+)([a-zA-Z])":`, `"$1\u00${2}$2":`},     // escapes that are none
		{`"j`, `"\u006a`},                                   // escaped names
		{`"([a-z])([a-zA-Z]*)":`, `"X$2":1,"$1$2":`},        // unknown fields
		{`"k`, "\"\u212a"},                                  // the Kelvin sign is a k in another case
		{`"([a-zA-Z]*)s([a-zA-Z]*)":`, "\"${1}\u017f$2\":"}, // and this an s
		{`:([0-9]+)`, `:$1.0`},
		{`:([0-9]+)`, `:${1}e0`},
		{`:([0-9]+)`, `:-$1`},
		{`:([0-9]+)`, `:0$1`},
		{`:([0-9]+)`, `:${1}99999999999999999999`},
		{`:([0-9]+)`, `:"$1"`},
		{`:([0-9]+)`, `:null`},
		{`:"[^"]*"`, `:null`},
		{`:"[^"]*"`, `:{}`},
		{`:"([^"]*)"`, `:["$1"]`},
		{`:"([^"]*)"`, `:"$1\n\ud83d\ude00"`},
		{`:"([^"]*)"`, `:"$1\ud800"`},
		{`:"([^"]*)"`, ":\"$1\xff\""},
		{`:"([^"]*)"`, ":\"$1\x01\""},
		{`:"([^"]*)"`, ":\"$1é\u2028\""},
		{`:(true|false)`, `:null`},
		{`:(true|false)`, `:"$1"`},
		{`:\{`, `:null,"x":{`},
		{`:\[`, `:[null,`},
		{`:\[[^\]]*\]`, `:[]`},
		{`(T[0-9:.]+)Z`, `${1}+01:00`},
		{`(T[0-9:.]+)Z`, `${1}z`},
		{`(T[0-9:.]+)Z`, `${1}+24:00`},
		{`T([0-9])`, `t$1`},
		{`[0-9]{4}-[0-9]{2}`, `9999-13`},
		{`[.]([0-9]+)Z`, `,${1}Z`},
	} {
		all = append(all, regexp.MustCompile(change.pattern).ReplaceAll(b, []byte(change.by)))
	}
	// Each field twice, and with its name in another case.
	if inner, ok := strings.CutPrefix(string(b), "{"); ok && len(inner) > 1 {
		all = append(all, []byte("{"+strings.TrimSuffix(inner, "}")+","+inner))
	}
	name := regexp.MustCompile(`"[a-zA-Z]+":`)
	return append(all, name.ReplaceAllFunc(bytes.Clone(b), bytes.ToUpper), Reversed(b))
}

// Reversed returns an object with its members in reversed order.
func Reversed(b []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return b
	}
	var out []byte
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return b
		}
		key, _ := plainjson.Marshal(name) // a string always marshals
		member := append(append(key, ':'), value...)
		if out != nil {
			member = append(append(member, ','), out...)
		}
		out = member
	}
	return append(append([]byte{'{'}, out...), '}')
}
