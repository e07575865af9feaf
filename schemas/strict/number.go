package strict

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Unmarshal is like json.Unmarshal, but an integer accepts every whole number, however it is written (such as 1.0 and
// 1e3). JSON Schema has the same rule, and many languages write whole numbers like that.
func Unmarshal(b []byte, v any) error {
	err := json.Unmarshal(b, v)
	var mistyped *json.UnmarshalTypeError
	if !errors.As(err, &mistyped) || !strings.HasPrefix(mistyped.Value, "number") {
		return err
	}
	whole, changed := wholeNumbers(b)
	if !changed {
		return err
	}
	return json.Unmarshal(whole, v)
}

// wholeNumbers rewrites the whole numbers in valid JSON as integers, if they have at most maxDigits digits. changed
// reports whether there were any.
func wholeNumbers(b []byte) (out []byte, changed bool) {
	out = make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			end := i + 1
			for ; b[end] != '"'; end++ {
				if b[end] == '\\' {
					end++
				}
			}
			out = append(out, b[i:end+1]...)
			i = end + 1
		case c == '-' || c >= '0' && c <= '9':
			end := numberEnd(b, i)
			token := string(b[i:end])
			if whole, ok := integer(token); ok && whole != token {
				token, changed = whole, true
			}
			out = append(out, token...)
			i = end
		default:
			out = append(out, c)
			i++
		}
	}
	return out, changed
}

const maxDigits = 20 // of the largest uint64

// integer returns a whole number without point and exponent. It reports false if the number is not whole, or too long.
func integer(number string) (string, bool) {
	sign, digits, exponent, ok := decimal(number)
	switch {
	case ok && digits == "":
		return "0", true
	case !ok || exponent < 0 || len(digits)+exponent > maxDigits:
		return "", false
	}
	return sign + digits + strings.Repeat("0", exponent), true
}

// Exact returns a canonical form of a JSON number: two numbers have the same form only if they are exactly equal, even
// if a float64 cannot tell them apart.
func Exact(number string) string {
	sign, digits, exponent, ok := decimal(number)
	switch {
	case !ok:
		return number // its exponent does not fit into an int
	case digits == "":
		return "0"
	}
	return sign + digits + "e" + strconv.Itoa(exponent)
}

// decimal splits a JSON number: its value is digits × 10^exponent. digits has no leading or trailing zeros, and is
// empty for 0.
func decimal(number string) (sign, digits string, exponent int, ok bool) {
	if rest, negative := strings.CutPrefix(number, "-"); negative {
		sign, number = "-", rest
	}
	if at := strings.IndexAny(number, "eE"); at >= 0 {
		var err error
		if exponent, err = strconv.Atoi(number[at+1:]); err != nil {
			return "", "", 0, false
		}
		number = number[:at]
	}
	whole, fraction, _ := strings.Cut(number, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	trimmed := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(trimmed) - len(fraction)
	return sign, trimmed, exponent, true
}
