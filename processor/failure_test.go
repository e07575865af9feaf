package processor

import (
	"testing"
	"time"
)

func TestNilErrorsStayNil(t *testing.T) {
	for _, err := range []error{Permanent(nil), RetryAfter(time.Second, nil), WithCode("x", nil)} {
		if err != nil {
			t.Errorf("got %v", err)
		}
	}
}
