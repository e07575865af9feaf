package frame

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// KeyHeader is the HTTP header with the idempotency key of a submit (draft-ietf-httpapi-idempotency-key-header).
const KeyHeader = "Idempotency-Key"

// Errors of ParseKey. Each is the detail that its client reads.
var (
	errManyKeys      = errors.New("Idempotency-Key is there several times")
	errEmptyKey      = errors.New("Idempotency-Key is empty")
	errKeyNotUTF8    = errors.New("Idempotency-Key is not UTF-8")
	errKeyOpen       = errors.New("Idempotency-Key has no closing quote")
	errKeyEscape     = errors.New(`Idempotency-Key has a \ that is not before " or \`)
	errKeyCharacters = errors.New("Idempotency-Key is quoted, and has a character that is not printable ASCII")
	errKeyParameters = errors.New("Idempotency-Key has parameters, of which none is defined")
	errKeyAfter      = errors.New("Idempotency-Key goes on after its closing quote")
	errKeyQuote      = errors.New("Idempotency-Key has a quote but does not begin with one")
)

// ParseKey reads the values of the header Idempotency-Key of one request; without any it returns an empty key. As the
// draft has it, the key is a string of structured fields (RFC 9651 §3.3.3): in quotes, with \" and \\ for a quote and a
// backslash. A key without quotes is taken as it is.
func ParseKey(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", errManyKeys
	}
	value := strings.Trim(values[0], " \t")
	switch {
	case value == "":
		return "", errEmptyKey
	case !utf8.ValidString(value):
		return "", errKeyNotUTF8
	case value[0] == '"':
		return quotedKey(value[1:])
	case strings.Contains(value, `"`):
		return "", errKeyQuote
	}
	return value, nil
}

// quotedKey reads a key from after its opening quote.
func quotedKey(rest string) (string, error) {
	var key strings.Builder
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			if err := endOfKey(key.Len(), rest[i+1:]); err != nil {
				return "", err
			}
			return key.String(), nil
		case c < ' ' || c > '~':
			return "", errKeyCharacters
		case c == '\\':
			i++
			if i == len(rest) || rest[i] != '"' && rest[i] != '\\' {
				return "", errKeyEscape
			}
			key.WriteByte(rest[i])
		default:
			key.WriteByte(c)
		}
	}
	return "", errKeyOpen
}

// endOfKey checks what follows the closing quote of a key of that many bytes.
func endOfKey(bytes int, after string) error {
	switch {
	case strings.HasPrefix(after, ";"):
		return errKeyParameters
	case after != "":
		return errKeyAfter
	case bytes == 0:
		return errEmptyKey
	}
	return nil
}
