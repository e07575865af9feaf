package api

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestPreferWait(t *testing.T) {
	for _, c := range []struct {
		headers []string
		want    time.Duration // -1: refused
	}{
		{nil, 0},
		{[]string{"wait=2"}, 2 * time.Second},
		{[]string{"wait=2; x=1"}, 2 * time.Second},
		{[]string{`wait="2";x="a,b;c", respond-async`}, 2 * time.Second},
		{[]string{`respond-async; note="wait=9, wait=8", WAIT = 3 ; x`}, 3 * time.Second},
		{[]string{`note="a \" , wait=9", wait=4`}, 4 * time.Second},
		{[]string{"respond-async", "wait=1, wait=2"}, time.Second},
		{[]string{"wait=0.5"}, -1},
		{[]string{"wait=61"}, maxWait},
		{[]string{"wait=9223372037"}, maxWait},
		{[]string{"wait=9223372036854775807"}, maxWait},
		{[]string{"wait=" + strings.Repeat("9", 20)}, -1},
		{[]string{"wait=0"}, 0},
		{[]string{"wait"}, 0},
		{[]string{"wait=soon"}, -1},
		{[]string{"wait=-1"}, -1},
		{[]string{"wait="}, -1},
		{[]string{`wait="`}, -1},
	} {
		got, err := preferWait(&http.Request{Header: http.Header{"Prefer": c.headers}})
		if c.want < 0 && err == nil || c.want >= 0 && (err != nil || got != c.want) {
			t.Errorf("%q: %v, %v", c.headers, got, err)
		}
	}
	if got := waitApplied(2 * time.Second); got != "wait=2" {
		t.Error(got)
	}
}

// FuzzPreferWait: no header makes it wait longer than it may, nor for less than nothing.
func FuzzPreferWait(f *testing.F) {
	f.Add(`wait=2;x="a`, "wait=9223372037")
	f.Fuzz(func(t *testing.T, a, b string) {
		if wait, err := preferWait(&http.Request{Header: http.Header{"Prefer": {a, b}}}); wait < 0 || wait > maxWait ||
			err != nil && wait != 0 {
			t.Errorf("%v, %v", wait, err)
		}
	})
}
