package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// maxWait bounds Prefer: wait.
const maxWait = 60 * time.Second

// maxWaitDigits is as many as a number of seconds may have: more are a mistake.
const maxWaitDigits = 19

// preferWait reads Prefer: wait=N (RFC 7240 §4.3), at most maxWait; 0 when there is none. The first
// counts (§2), and parameters behind it mean nothing here.
func preferWait(r *http.Request) (time.Duration, error) {
	for _, header := range r.Header.Values("Prefer") {
		for _, preference := range splitOutsideQuotes(header, ',') {
			name, value, ok := strings.Cut(splitOutsideQuotes(preference, ';')[0], "=")
			if !ok || !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			value = unquoted(strings.TrimSpace(value))
			wait, err := job.ParseSeconds(value, maxWait)
			if err != nil || len(value) > maxWaitDigits || strings.Contains(value, ".") { // delta-seconds are whole ones
				return 0, frame.NewProblem(code.InvalidFrame, "Prefer: wait must be a number of seconds")
			}
			return wait, nil
		}
	}
	return 0, nil
}

// waitApplied is what Preference-Applied tells of a wait.
func waitApplied(wait time.Duration) string {
	return "wait=" + strconv.Itoa(int(wait.Seconds()))
}

// splitOutsideQuotes splits a header's value, but for what is in quoted strings (RFC 9110 §5.6.4).
func splitOutsideQuotes(value string, sep byte) []string {
	var parts []string
	quoted, from := false, 0
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == sep && !quoted:
			parts = append(parts, value[from:i])
			from = i + 1
		}
	}
	return append(parts, value[from:])
}

// unquoted is a value without the quotes that it may stand in.
func unquoted(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}
