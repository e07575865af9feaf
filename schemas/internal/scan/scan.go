package scan

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Space returns the index of the first byte at or after i that is not white space.
func Space(b []byte, i int) int {
	if i < len(b) && b[i] > ' ' {
		return i
	}
	return space(b, i)
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// Text scans the string that begins with the quote at i. end is the index behind its closing quote; escaped says that
// the string has escapes, so that its bytes are not its value.
func Text(b []byte, i int) (end int, escaped, ok bool) {
	start, wide := i+1, false
	for i = start; ; i++ {
		i = Plain(b, i)
		if i >= len(b) {
			return 0, false, false
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped, !wide || utf8.Valid(b[start:i])
		case c >= utf8.RuneSelf:
			wide = true
			for i+1 < len(b) && b[i+1] >= utf8.RuneSelf {
				i++
			}
		case c == '\\':
			n := escape(b[i:])
			if n == 0 {
				return 0, false, false
			}
			escaped = true
			i += n - 1
		default: // a control character
			return 0, false, false
		}
	}
}

const (
	ones = 0x0101010101010101 // a word of bytes that are 1
	tops = 0x8080808080808080 // the highest bit of each byte
)

// Plain returns the index of the first byte at or after i that is not an ordinary character of a string: a quote, a
// backslash, a control character or not ASCII. It looks at eight bytes at a time: a subtraction sets the highest bit of
// each byte that it takes below zero. Beyond the first such byte the bits may be wrong.
func Plain(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, backslash := w^ones*'"', w^ones*'\\'
		found := w | (w - ones*' ') | (quote-ones)&^quote | (backslash-ones)&^backslash
		found &= tops
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && ordinary[b[i]] {
		i++
	}
	return i
}

// ordinary has the ordinary characters of strings.
var ordinary = func() (all [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		all[c] = c != '"' && c != '\\'
	}
	return all
}()

// escape returns the length of the escape with which b begins, both halves of a surrogate pair included. It is 0 if it
// is not valid, or a surrogate alone.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
	default:
		return 0
	}
	switch r := unit(b); {
	case r < 0 || r >= 0xDC00 && r <= 0xDFFF:
		return 0
	case r < 0xD800 || r > 0xDFFF:
		return 6
	}
	if r := unit(b[6:]); r < 0xDC00 || r > 0xDFFF {
		return 0
	}
	return 12
}

// unit reads an escape of four hexadecimal digits. It returns -1 if b does not begin with one.
func unit(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// Bounds within which a number is surely in the range of a float64.
const (
	maxNumber   = 200 // characters
	maxExponent = 2   // digits
)

// Number scans the number that begins at i.
func Number(b []byte, i int) (end int, ok bool) {
	start := i
	if i < len(b) && b[i] == '-' {
		i++
	}
	whole := i
	i = digits(b, i)
	if i == whole || b[whole] == '0' && i > whole+1 {
		return 0, false
	}
	if i < len(b) && b[i] == '.' {
		fraction := i + 1
		if i = digits(b, fraction); i == fraction {
			return 0, false
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		exponent := i
		if i = digits(b, exponent); i == exponent || i > exponent+maxExponent {
			return 0, false
		}
	}
	return i, i <= start+maxNumber
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

const maxDigits = 18 // of which every number fits into an int64

// Integer reads the whole number that begins at i and has neither point nor exponent. What follows it is not looked at.
func Integer(b []byte, i int) (n int64, end int, ok bool) {
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	start := i
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		n = n*10 + int64(b[i]-'0')
		if i == start+maxDigits {
			return 0, 0, false
		}
		i++
	}
	if i == start || b[start] == '0' && i > start+1 {
		return 0, 0, false
	}
	if negative {
		n = -n
	}
	return n, i, true
}

// Literal reports whether a literal, such as true, is at i.
func Literal(b []byte, i int, literal string) bool {
	return len(b)-i >= len(literal) && string(b[i:i+len(literal)]) == literal
}
