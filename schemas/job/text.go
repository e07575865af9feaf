package job

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// MaxRetryAfter bounds how long a failure may ask for the next attempt to wait: as far ahead as a
// job may be scheduled.
const MaxRetryAfter = 30 * 24 * time.Hour

var errNotSeconds = errors.New("not a number of seconds")

// ParseSeconds reads a number of seconds as headers and settings have it: decimal digits, with or
// without a fraction. What is above most is most, however many digits it has: nothing overflows.
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

// ParseRetryAfter reads the header Retry-After (RFC 9110 §10.2.3), seconds or a date; what is above
// most is most, and what is past is 0. ok is false when it says neither.
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

// ParseTime reads an RFC 3339 time. Its T and Z may be of either case (§5.6).
func ParseTime(text string) (time.Time, error) {
	return time.Parse(time.RFC3339Nano, strings.ToUpper(text))
}

// ParseID reads a job's ID as people write it, a UUID of either case, and returns it as it is
// stored: in lower case (RFC 9562 §4).
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
