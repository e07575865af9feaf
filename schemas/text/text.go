// Package text shortens texts from outside to the length that a contract allows.
package text

import (
	"strings"
	"unicode/utf8"
)

// Clip returns the longest prefix of s that has at most n bytes and does not split a character. Before that it replaces
// each run of bytes that are not valid UTF-8 with one U+FFFD.
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
