package strict

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Unmarshal is json.Unmarshal, but for numbers that are whole and not written so, such as 1.0 and
// 1e3: they are taken where an integer is meant, as JSON Schema takes them. Many languages write
// whole numbers so.
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

// wholeNumbers writes whole numbers of valid JSON as integers, as far as an int64 or a uint64 may
// hold them.
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

const maxDigits = 20 // of a uint64

// integer writes a whole number without point and exponent.
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

// Exact gives a JSON number a form that two numbers share only if they are exactly equal, whatever
// a float64 would make of them.
func Exact(number string) string {
	sign, digits, exponent, ok := decimal(number)
	switch {
	case !ok:
		return number // its exponent is beyond all reckoning
	case digits == "":
		return "0"
	}
	return sign + digits + "e" + strconv.Itoa(exponent)
}

// decimal takes a JSON number apart: its value is digits times ten to the power of exponent, with
// neither leading nor trailing zeros among the digits; none of them for 0.
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
