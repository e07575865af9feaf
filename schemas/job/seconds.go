package job

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
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
func (s Seconds) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil), nil }

// AppendJSON appends what MarshalJSON returns.
func (s Seconds) AppendJSON(b []byte) []byte {
	n := uint64(s)
	if s < 0 {
		b, n = append(b, '-'), -n
	}
	b = strconv.AppendUint(b, n/uint64(time.Second), 10)
	rest := n % uint64(time.Second)
	if rest == 0 {
		return b
	}
	b = append(b, '.')
	for unit := uint64(time.Second) / 10; rest > 0; unit /= 10 {
		b = append(b, '0'+byte(rest/unit))
		rest %= unit
	}
	return b
}

// UnmarshalJSON implements json.Unmarshaler. It refuses values that are not numbers and those that SecondsOf refuses;
// null changes nothing.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	exact, isExact := parseDecimal(b)
	if isExact && isJSON(b) && exact.Validate() == nil {
		*s = exact
		return nil
	}
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
	if isExact {
		d = exact
	}
	if err := d.Validate(); err != nil {
		return err
	}
	*s = d
	return nil
}

// isJSON reports whether digits with a point between them are a JSON number.
func isJSON(decimal []byte) bool {
	leadingZero := len(decimal) > 1 && decimal[0] == '0' && decimal[1] != '.'
	return !leadingZero && decimal[len(decimal)-1] != '.'
}

// parseDecimal reads a number of seconds exactly, where a float64 cannot hold nanoseconds above about 50 days. ok is
// false if the number has an exponent, more than nine digits after the point, or more seconds than fit into 32 bits.
func parseDecimal[T string | []byte](number T) (_ Seconds, ok bool) {
	var seconds, nanos uint64
	i := 0
	for ; i < len(number) && number[i] >= '0' && number[i] <= '9'; i++ {
		seconds = seconds*10 + uint64(number[i]-'0')
		if seconds > math.MaxUint32 {
			return 0, false
		}
	}
	if i == 0 || i < len(number) && number[i] != '.' {
		return 0, false
	}
	unit := uint64(time.Second)
	for i++; i < len(number); i++ {
		if number[i] < '0' || number[i] > '9' || unit == 1 {
			return 0, false
		}
		unit /= 10
		nanos += uint64(number[i]-'0') * unit
	}
	return Seconds(seconds*uint64(time.Second) + nanos), true
}
