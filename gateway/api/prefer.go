package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// maxWait bounds Prefer: wait.
const maxWait = 60 * time.Second

// maxWaitDigits is the most digits that a number of seconds may have.
const maxWaitDigits = 19

// preferWait reads Prefer: wait=N (RFC 7240 §4.3), cut to maxWait; 0 if there is none. If it is repeated the first one
// counts (§2); parameters after it are ignored.
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

// waitApplied returns the value of the header Preference-Applied for a wait.
func waitApplied(wait time.Duration) string {
	return "wait=" + strconv.Itoa(int(wait.Seconds()))
}

// splitOutsideQuotes splits a header's value at separators outside of quoted strings (RFC 9110 §5.6.4).
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

// unquoted returns a value without the quotes around it, if there are any.
func unquoted(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

// strictParam reads the query parameter strict of a submit.
func strictParam(r *http.Request) (bool, error) {
	value, there := r.URL.Query()["strict"]
	switch {
	case !there:
		return false, nil
	case len(value) == 1 && value[0] == "true":
		return true, nil
	case len(value) == 1 && value[0] == "false":
		return false, nil
	}
	return false, frame.NewProblem(code.InvalidFrame, fmt.Sprintf("strict must be true or false, not %.32q", value))
}

// untilDrain returns a context that ends with ctx, after d, or when the drain begins.
func (c *Config) untilDrain(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-c.Drain:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		watching.Wait()
	}
}
