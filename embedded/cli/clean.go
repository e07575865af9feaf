package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// clean makes text from a server harmless for a terminal: it removes ANSI escape sequences (ECMA-48), control
// characters and characters that change the writing direction, and replaces line breaks and tabs by blanks. The
// result is one line of valid UTF-8.
func clean(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == 0x1b:
			i += escapeLen(s[i:], 1)
			continue
		case r == 0x9b || r == 0x9d || r == 0x90 || r == 0x98 || r == 0x9e || r == 0x9f: // the C1 forms of ESC [ ] P X ^ _
			i += escapeLen(s[i:], n)
			continue
		case r == '\n' || r == '\r' || r == '\t' || r == 0x2028 || r == 0x2029:
			b.WriteByte(' ')
		case !steers(r):
			b.WriteRune(r) // an invalid byte becomes U+FFFD
		}
		i += n
	}
	return strings.TrimSpace(b.String())
}

// escapeLen returns the length of the escape sequence at the start of s. It begins with ESC or with a C1 character of
// n bytes.
func escapeLen(s string, n int) int {
	kind := byte(0)
	if s[0] == 0x1b {
		if len(s) < 2 {
			return 1
		}
		kind, n = s[1], 2
	} else if r, _ := utf8.DecodeRuneInString(s); r == 0x9b {
		kind = '['
	} else {
		kind = ']'
	}
	switch kind {
	case '[': // CSI: parameters and intermediates, then one final byte
		for i := n; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
			if s[i] < 0x20 || s[i] > 0x7e {
				return i // malformed: text follows
			}
		}
		return len(s)
	case ']', 'P', 'X', '^', '_': // strings: up to BEL or ST, or else to the end
		for i := n; i < len(s); i++ {
			switch {
			case s[i] == 0x07:
				return i + 1
			case s[i] == 0x1b && i+1 < len(s) && s[i+1] == '\\':
				return i + 2
			case strings.HasPrefix(s[i:], "\u009c"):
				return i + len("\u009c")
			}
		}
		return len(s)
	}
	if kind < 0x20 || kind > 0x7e {
		return 1
	}
	return n
}

// steers reports whether a terminal, or a program that reads lines, may act on r instead of showing it: C0, DEL, C1,
// Unicode's line ends, and the characters that change the writing direction.
func steers(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 ||
		r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x061c
}

// harmless escapes the characters of a JSON text on which a terminal may act. The JSON value stays the same.
func harmless(doc []byte) []byte {
	if bytes.IndexFunc(doc, func(r rune) bool { return r != '\n' && steers(r) || r == utf8.RuneError }) < 0 {
		return doc
	}
	var b bytes.Buffer
	for i := 0; i < len(doc); {
		r, n := utf8.DecodeRune(doc[i:])
		switch {
		case r == '\n':
			b.WriteByte('\n') // valid JSON has it between values only
		case steers(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.Bytes()
}

// visible escapes the characters of a text on which a terminal may act, but for line ends and tabs.
func visible(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && steers(r) }) < 0 {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	var b strings.Builder
	for _, r := range text { // an invalid byte becomes U+FFFD
		if r != '\n' && r != '\t' && steers(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// pretty indents a result.
func pretty(doc []byte) []byte {
	var b bytes.Buffer
	if json.Indent(&b, doc, "", "  ") != nil {
		return nil // unreachable: the client has decoded it
	}
	b.WriteByte('\n')
	return harmless(b.Bytes())
}

// clip shortens s to n characters.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// explain returns an error's text without the prefix of the client library.
func explain(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "ackwire: "), ": ackwire: ", ": ")
}
