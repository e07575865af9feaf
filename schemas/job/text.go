package job

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// MaxRetryAfter is the longest wait before the next attempt that a failure may ask for. It is as far ahead as a job may
// be scheduled.
const MaxRetryAfter = 30 * 24 * time.Hour

var errNotSeconds = errors.New("not a number of seconds")

// ParseSeconds reads a number of seconds from a header or a setting: decimal digits, with or without a fraction. Values
// above most are cut to most; a number of any length is accepted and does not overflow.
func ParseSeconds(text string, most time.Duration) (time.Duration, error) {
	whole, fraction, dot := strings.Cut(text, ".")
	if !digits(whole) || dot && !digits(fraction) {
		return 0, errNotSeconds
	}
	whole = strings.TrimLeft(whole, "0")
	if len(whole) > len("3153600000") { // MaxSeconds
		return most, nil
	}
	if whole == "" {
		whole = "0"
	}
	if len(fraction) > fractionDigits {
		fraction = fraction[:fractionDigits]
	}
	s, ok := parseDecimal(whole + "." + fraction)
	if !ok { // more seconds than fit into 32 bits
		return most, nil
	}
	return min(s.Duration(), most), nil
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// ParseRetryAfter reads the header Retry-After (RFC 9110 §10.2.3), which is a number of seconds or a date. Waits above
// most are cut to most, and a date in the past is 0. ok is false if the header is neither.
func ParseRetryAfter(header string, now time.Time, most time.Duration) (after time.Duration, ok bool) {
	if after, err := ParseSeconds(header, most); err == nil {
		return after, true
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), most), true
}

// ParseTime reads an RFC 3339 time. Its T and Z may be in upper or lower case (§5.6).
func ParseTime(text string) (time.Time, error) {
	return time.Parse(time.RFC3339Nano, strings.ToUpper(text))
}

// ParseID reads a job's ID, a UUID in upper or lower case, and returns it as it is stored: in lower case (RFC 9562 §4).
func ParseID(text string) (id string, ok bool) {
	if len(text) != 36 {
		return "", false
	}
	for i := range len(text) {
		c := text[i]
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && !hexDigit(c) {
			return "", false
		}
	}
	return strings.ToLower(text), true
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
