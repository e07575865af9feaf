package job

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestParseSeconds(t *testing.T) {
	const most = time.Hour
	for _, c := range []struct {
		text string
		want time.Duration // -1: refused
	}{
		{"0", 0}, {"5", 5 * time.Second}, {"0.25", 250 * time.Millisecond}, {"007", 7 * time.Second}, {"3600", most}, {"3601",
			most},
		{"9223372036", most}, {"9223372037", most}, {"18446744073709551616", most}, {strings.Repeat("9", 400), most},
		{"1.0000000009", time.Second}, {"1." + strings.Repeat("9", 400), 2*time.Second - 1},
		{"", -1}, {"-1", -1}, {"+1", -1}, {"1e3", -1}, {"0x10", -1}, {"NaN", -1}, {"Inf", -1}, {" 1", -1}, {"1.", -1}, {".5",
			-1}, {"1.2.3", -1}, {"1_000", -1}, {"٣", -1},
	} {
		got, err := ParseSeconds(c.text, most)
		if c.want < 0 && err == nil || c.want >= 0 && (err != nil || got != c.want) {
			t.Errorf("%q: %v, %v", c.text, got, err)
		}
	}
}

// FuzzParseSeconds: the result is the number's value, within a nanosecond, or the bound.
func FuzzParseSeconds(f *testing.F) {
	for _, text := range []string{"0", "1.5", "9223372037", "4294967296", "99999999999999999999", "1.0000000001"} {
		f.Add(text, int64(time.Minute))
	}
	f.Fuzz(func(t *testing.T, text string, most int64) {
		most = max(most, 0)
		got, err := ParseSeconds(text, time.Duration(most))
		if err != nil {
			return
		}
		exact, ok := new(big.Rat).SetString(text)
		if !ok || got < 0 || int64(got) > most {
			t.Fatalf("%q: %v, above %d", text, got, most)
		}
		exact.Mul(exact, big.NewRat(int64(time.Second), 1))
		if exact.Cmp(new(big.Rat).SetInt64(most)) > 0 ||
			exact.Cmp(new(big.Rat).SetInt64(math.MaxUint32*int64(time.Second))) > 0 {
			return // bounded
		}
		if diff := new(big.Rat).Sub(exact, new(big.Rat).SetInt64(int64(got))); diff.Sign() < 0 ||
			diff.Cmp(big.NewRat(1, 1)) >= 0 {
			t.Fatalf("%q: %v", text, got)
		}
	})
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		header string
		want   time.Duration
		ok     bool
	}{
		{"120", 2 * time.Minute, true}, {"0", 0, true}, {"1.5", 1500 * time.Millisecond, true}, {"9223372037", time.Hour,
			true}, {"99999999999999999999", time.Hour, true},
		{"Sat, 31 Jan 2026 12:00:10 GMT", 10 * time.Second, true}, {"Sat, 31 Jan 2026 11:00:00 GMT", 0,
			true}, {"Sun, 31 Jan 9999 12:00:00 GMT", time.Hour, true},
		{"", 0, false}, {"-1", 0, false}, {"soon", 0, false},
	} {
		if got, ok := ParseRetryAfter(c.header, now, time.Hour); got != c.want || ok != c.ok {
			t.Errorf("%q: %v, %t", c.header, got, ok)
		}
	}
}

func TestParseTime(t *testing.T) {
	want := time.Date(2026, 1, 31, 12, 0, 0, 5e8, time.UTC)
	for _, text := range []string{"2026-01-31T12:00:00.5Z", "2026-01-31t12:00:00.5z", "2026-01-31T12:00:00.500z",
		"2026-01-31t13:00:00.5+01:00"} {
		if got, err := ParseTime(text); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "2026-01-31", "2026-01-31 12:00:00Z", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z",
		"26-01-31T12:00:00Z"} {
		if got, err := ParseTime(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestParseID(t *testing.T) {
	const id = "01a208fd-2dc6-7467-acd5-bb987da2c71e"
	for _, text := range []string{id, strings.ToUpper(id), "01A208fd-2dc6-7467-ACD5-bb987da2c71e"} {
		if got, ok := ParseID(text); got != id || !ok {
			t.Errorf("%q: %q, %t", text, got, ok)
		}
	}
	for _, text := range []string{"", id[1:], id + "0", "{" + id[2:] + "}", strings.ReplaceAll(id, "-", "0"), "g" + id[1:],
		"urn:uuid:" + id, "01a208fd-2dc6-7467-acd5-bb987da2c71\xff", id[:8] + "0" + id[9:]} {
		if got, ok := ParseID(text); ok {
			t.Errorf("%q: %q", text, got)
		}
	}
}
