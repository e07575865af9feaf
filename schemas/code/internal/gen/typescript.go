package main

import (
	"bytes"
	"fmt"
	"log"
	"strings"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// generated is the first line of the JavaScript client's files.
const generated = "// Code generated from schemas/code/codes.json and schemas/frame by schemas/code/internal/gen; " +
	"DO NOT EDIT.\n"

// typeScript returns the JavaScript client's close codes and types. What is left of the file after minifying is two
// lists of numbers, since the client's size is bounded; types and unused constants cost nothing.
func typeScript(t table) []byte {
	var b bytes.Buffer
	b.WriteString(generated)
	union(&b, "The types of the frames that a client sends.", "ClientFrameType", words(frame.ClientTypes))
	union(&b, "The types of the frames that a server sends; a later server may know more.", "ServerFrameType",
		words(frame.ServerTypes))
	names := make([]string, 0, len(t.Errors))
	for _, e := range t.Errors {
		names = append(names, e.Code)
	}
	union(&b, "The codes of errors; a later server may know more.", "ErrorCode", names)
	closeCodes(&b, t)
	return b.Bytes()
}

// problems returns the JavaScript client's table of error codes. It is a file of its own because the client loads it
// with the first question over HTTP only.
func problems(t table) []byte {
	rows := make([]string, 0, len(t.Errors))
	for _, e := range t.Errors {
		sign := "="
		if e.Retryable {
			sign = "+"
		}
		rows = append(rows, fmt.Sprintf("%d%s%s", e.HTTP, sign, e.Code))
	}
	if !code.Internal.Info().Retryable {
		log.Fatal("internal is not retryable: retryableCode must return false for a code that is not known")
	}
	var b bytes.Buffer
	b.WriteString(generated)
	fmt.Fprintf(&b, `
// Each error code behind its HTTP status; a plus sign means that the same again may go better.
const errors =
  %s;

/** Whether the same again may go better; a code that is not known counts like %s. */
export const retryableCode = (code: string): boolean => !errors.includes("=" + code + ",");

/** The code for an HTTP status that came without one: a proxy's own answer. */
export const codeOfStatus = (status: number): string =>
  status > 501 && status < 505 ? %q :
  errors.match("\\b" + status + ".(\\w+)")?.[1] ?? (status > 399 && status < 500 ? %q : %q);
`, literal(rows), code.Internal, code.Unavailable, code.InvalidFrame, code.Internal)
	return b.Bytes()
}

// literal returns a string literal of all rows, each with a comma behind it, in several lines.
func literal(rows []string) string {
	var b strings.Builder
	width := 0
	for i, r := range rows {
		width += len(r) + 1
		if i == 0 {
			b.WriteString(`"`)
		} else if width > 100 {
			b.WriteString("\" +\n  \"")
			width = len(r) + 1
		}
		b.WriteString(r + ",")
	}
	return b.String() + `"`
}

func closeCodes(b *bytes.Buffer, t table) {
	var final []string
	for _, c := range t.Closes {
		if c.Code < firstFinal && !c.Reconnect {
			final = append(final, fmt.Sprint(c.Code))
		}
		if c.Code >= firstFinal && c.Reconnect {
			log.Fatalf("close code %d: its range says that the client must not come back", c.Code)
		}
	}
	b.WriteString("\n// The close codes of WebSockets (RFC 6455 section 7.4) that the server sends.\n")
	for _, c := range t.Closes {
		fmt.Fprintf(b, "/** %s */\nexport const close%s = %d;\n", c.Meaning, camel(c.Name), c.Code)
	}
	fmt.Fprintf(b, `
/** Whether a client that was closed with this code comes back by itself: by the table, else by the code's range. */
export const reconnects = (close: number): boolean => close < %d && ![%s].includes(close);
`, firstFinal, strings.Join(final, ", "))
}

// firstFinal is the first close code of the range after which a client must not come back; see code.Close.
const firstFinal = 4500

func union(b *bytes.Buffer, doc, name string, words []string) {
	fmt.Fprintf(b, "\n/** %s */\nexport type %s =", doc, name)
	width := 1000 // the first line holds the name alone
	for _, w := range words {
		width += len(w) + 5
		if width > 108 {
			b.WriteString("\n ")
			width = 2
		}
		fmt.Fprintf(b, " | %q", w)
	}
	b.WriteString(";\n")
}

func words(types []frame.Type) []string {
	out := make([]string, 0, len(types))
	for _, t := range types {
		out = append(out, string(t))
	}
	return out
}
