package intake

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/gowebpki/jcs"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/strict"
)

const hashPrefix = "sha256:"

// PayloadHash returns the hash of a payload's canonical form (RFC 8785), so that equal JSON values have equal hashes.
// The canonical form rounds numbers to a float64, so numbers that a float64 cannot hold, such as large integers above
// 2^53, are added to the hash exactly.
func PayloadHash(payload []byte) (string, error) {
	canonical, err := jcs.Transform(payload)
	if err != nil {
		// The canonicaliser accepts only objects and lists, so put the value into a list.
		canonical, err = jcs.Transform(append(append([]byte{'['}, payload...), ']'))
	}
	if err != nil {
		return "", frame.NewProblem(code.ValidationFailed, "the payload has no canonical form (RFC 8785): "+err.Error())
	}
	sum := sha256.New()
	sum.Write(canonical)
	if mayBeInexact(payload) {
		d := json.NewDecoder(bytes.NewReader(payload))
		d.UseNumber()
		var value any
		if err := d.Decode(&value); err != nil {
			return "", frame.NewProblem(code.ValidationFailed, "the payload is not valid JSON")
		}
		addInexact(sum, value, "")
	}
	return hashPrefix + hex.EncodeToString(sum.Sum(nil)), nil
}

// exactDigits is the number of decimal digits that a float64 always preserves.
const exactDigits = 15

// mayBeInexact reports whether the payload may have a number that a float64 cannot hold: one with many digits or an
// exponent. Most payloads have none, and need not be parsed a second time.
func mayBeInexact(payload []byte) bool {
	digits := 0
	for _, c := range payload {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case (c == 'e' || c == 'E') && digits > 0:
			return true
		case c != '.':
			digits = 0
		}
		if digits > exactDigits {
			return true
		}
	}
	return false
}

// addInexact adds those numbers of a value that a float64 cannot hold to a hash, each with its place. They are
// separated by NUL, which no canonical form contains, so that no other payload has the same input to the hash.
func addInexact(sum hash.Hash, value any, at string) {
	switch v := value.(type) {
	case json.Number:
		exact := strict.Exact(v.String())
		f, err := strconv.ParseFloat(v.String(), 64)
		if err == nil && strict.Exact(strconv.FormatFloat(f, 'g', -1, 64)) != exact {
			_, _ = io.WriteString(sum, "\x00"+at+"\x00"+exact)
		}
	case []any:
		for i, item := range v {
			addInexact(sum, item, at+"/"+strconv.Itoa(i))
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			addInexact(sum, v[key], at+"/"+strconv.Quote(key))
		}
	}
}
