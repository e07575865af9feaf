package job

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxSeconds is the longest duration that may be sent: a hundred years, in seconds.
const MaxSeconds = 100 * 365 * 24 * 3600

// Seconds is a duration that is encoded as a number of seconds, with fractions. It is exact: it decodes to the same
// duration that was encoded.
type Seconds time.Duration

// Duration returns s as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) }

// SecondsOf converts a number of seconds, rounded to a nanosecond. It refuses negative numbers, NaN, infinities and
// more than MaxSeconds.
func SecondsOf(f float64) (Seconds, error) {
	if math.IsNaN(f) || f < 0 || f > MaxSeconds {
		return 0, fmt.Errorf("duration of %v seconds is not between 0 and %d", f, int64(MaxSeconds))
	}
	return Seconds(math.Round(f * float64(time.Second))), nil
}

// Validate checks that s lies between 0 and MaxSeconds.
func (s Seconds) Validate() error {
	if s < 0 || s.Duration() > MaxSeconds*time.Second {
		return fmt.Errorf("duration %v is not between 0 and %d seconds", s.Duration(), int64(MaxSeconds))
	}
	return nil
}

// fractionDigits is the number of digits after the decimal point that a nanosecond needs.
const fractionDigits = 9

// MarshalJSON implements json.Marshaler: a plain decimal number, exact to the nanosecond.
func (s Seconds) MarshalJSON() ([]byte, error) {
	var b []byte
	n := uint64(s)
	if s < 0 {
		b, n = append(b, '-'), -n
	}
	b = strconv.AppendUint(b, n/uint64(time.Second), 10)
	if rest := n % uint64(time.Second); rest > 0 {
		b = append(b, strings.TrimRight(fmt.Sprintf(".%0*d", fractionDigits, rest), "0")...)
	}
	return b, nil
}

// UnmarshalJSON implements json.Unmarshaler. It refuses values that are not numbers and those that SecondsOf refuses;
// null changes nothing.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	d, err := SecondsOf(f)
	if err != nil {
		return err
	}
	if exact, ok := parseDecimal(string(b)); ok {
		d = exact
	}
	if err := d.Validate(); err != nil {
		return err
	}
	*s = d
	return nil
}

// parseDecimal reads a number of seconds exactly, where a float64 cannot hold nanoseconds above about 50 days. ok is
// false if the number has an exponent or more than nine digits after the point.
func parseDecimal(number string) (_ Seconds, ok bool) {
	whole, fraction, _ := strings.Cut(number, ".")
	if len(fraction) > fractionDigits {
		return 0, false
	}
	sec, err := strconv.ParseUint(whole, 10, 32)
	if err != nil {
		return 0, false
	}
	nano, err := strconv.ParseUint(fraction+strings.Repeat("0", fractionDigits-len(fraction)), 10, 32)
	if err != nil {
		return 0, false
	}
	return Seconds(time.Duration(sec)*time.Second + time.Duration(nano)), true
}
