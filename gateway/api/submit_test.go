package api

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// TestABodyIsKeptUpToItsTypesLimit: not up to the largest type's.
func TestABodyIsKeptUpToItsTypesLimit(t *testing.T) {
	sub := &submits{&reads{quietDoor()}}
	types := sub.cfg.Types
	types["large"] = &jobtypes.Type{Name: "large", Lane: "default", MaxPayload: 32 << 20}
	types["small"] = &jobtypes.Type{Name: "small", Lane: "default", MaxPayload: 1 << 10}
	body := `{"job":"small","payload":"` + strings.Repeat("x", 8<<20) + `"}`
	read := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequest("POST", "/v1/jobs", strings.NewReader(body))
			_, err := sub.readSubmit(httptest.NewRecorder(), r, 32<<20)
			var p frame.Problem
			if !errors.As(err, &p) || p.Code != code.PayloadTooLarge ||
				!strings.Contains(p.Detail, fmt.Sprint(1<<10+BodyOverhead)) {
				b.Fatal(err)
			}
		}
	})
	if n := read.AllocedBytesPerOp(); n == 0 || n > 256<<10 {
		t.Errorf("%d bytes were allocated for a body of 8 MiB whose type takes 1 KiB", n)
	}
}
