package processor

import (
	"errors"
	"strings"
	"testing"
)

// A file whose name is too long for an event fails its job, and not the worker.
func TestAFileOfALongName(t *testing.T) {
	for _, f := range []File{{Name: strings.Repeat("x", 1025)}, {ContentType: strings.Repeat("x", 257)}} {
		if err := (&Job{}).Attach(t.Context(), f); !errors.As(err, new(permanentError)) {
			t.Errorf("attached with %v", err)
		}
	}
}
