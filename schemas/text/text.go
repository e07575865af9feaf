// Package text shortens texts that others wrote to what a contract allows.
package text

import (
	"strings"
	"unicode/utf8"
)

// Clip returns the longest beginning of s that is valid UTF-8 of at most n bytes: a character
// that does not fit is left out whole. Each run of bytes that are not
// UTF-8 is replaced by one U+FFFD.
func Clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
