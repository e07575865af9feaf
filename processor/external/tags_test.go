package external

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/processor"
)

// A command always has its job's tags; an endpoint does unless they would be most of what servers take of headers.
func TestTags(t *testing.T) {
	large := map[string]string{}
	for i := range 16 {
		large[fmt.Sprint("k", i)] = strings.Repeat("ä", 128)
	}
	for _, tc := range []struct {
		tags             map[string]string
		header, variable string
	}{
		{nil, "", "ACKWIRE_JOB_TAGS="},
		{map[string]string{"b": "2", "a": "1"}, "{%22a%22:%221%22,%22b%22:%222%22}", `ACKWIRE_JOB_TAGS={"a":"1","b":"2"}`},
		{large, "", "ACKWIRE_JOB_TAGS=" + tagsText(&processor.Job{Tags: large})},
	} {
		j := &processor.Job{ID: "1", Type: "a.b", Tenant: "acme", Tags: tc.tags}
		h := http.Header{}
		setHeaders(h, j)
		if got := h.Get("Ackwire-Tags"); got != tc.header {
			t.Errorf("header %q, want %q", got, tc.header)
		}
		if env := (&Command{}).environment(j, "/tmp"); !slices.Contains(env, tc.variable) {
			t.Errorf("no %s in %q", tc.variable, env)
		}
	}
}
