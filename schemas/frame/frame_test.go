package frame

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/code"
)

// TestAProblemSaysWhatTheTableSays: a client may rely on retryable and title alone.
func TestAProblemSaysWhatTheTableSays(t *testing.T) {
	for _, c := range code.All {
		p := NewProblem(c, "why")
		if p.Code != c || p.Title != c.Info().Title || p.Title == "" || p.Retryable != c.Info().Retryable ||
			p.Detail != "why" {
			t.Errorf("%s: %+v", c, p)
		}
		if p.Status != 0 {
			t.Errorf("%s: a frame carries HTTP status %d", c, p.Status)
		}
	}
}

func TestAProblemOfAnUnknownCodeIsInternal(t *testing.T) {
	p := NewProblem("later_code", "")
	if p.Code != "later_code" || p.Title != code.Internal.Info().Title || !p.Retryable {
		t.Errorf("%+v", p)
	}
}

func TestAProblemIsAnError(t *testing.T) {
	err := fmt.Errorf("submit: %w", NewProblem(code.NotFound, "no such job"))
	var p Problem
	if !errors.As(err, &p) || p.Code != code.NotFound || err.Error() != "submit: not_found: no such job" {
		t.Errorf("%v, %+v", err, p)
	}
	if got := NewProblem(code.NotFound, "").Error(); got != "not_found" {
		t.Errorf("without a detail it reads %q", got)
	}
}

// TestAnErrorIsFlat: the members of the problem are members of the frame itself.
func TestAnErrorIsFlat(t *testing.T) {
	b, err := json.Marshal(ErrorFrame{Type: Error, ID: "1", Problem: NewProblem(code.NotFound, "")})
	if want := `{"type":"error","id":"1","code":"not_found","title":"Not found","retryable":false}`; err != nil ||
		string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}

// TestASubmitIsFlat: the frame's fields are those of the body over HTTP, and an absent field
// is not decoded as zero.
func TestASubmitIsFlat(t *testing.T) {
	var f ClientFrame
	if err := json.Unmarshal([]byte(`{"type":"submit","id":"1","job":"a","payload":null,"watch":false,"later":1}`),
		&f); err != nil {
		t.Fatal(err)
	}
	if f.Job != "a" || string(f.Payload) != "null" || f.Watch == nil || *f.Watch || f.Timeout != nil || f.RunAt != nil {
		t.Errorf("%+v", f)
	}
}

func TestTypesAreDistinct(t *testing.T) {
	all := slices.Concat(ClientTypes, ServerTypes)
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("a type is sent by both sides: %v", all)
	}
	if strings.HasPrefix(Protocol, BearerProtocolPrefix) {
		t.Error("the protocol would be taken for a token")
	}
}

// FuzzClientFrame: nothing panics, and a decoded frame is encoded to one that decodes to the same.
func FuzzClientFrame(f *testing.F) {
	f.Add([]byte(`{"type":"submit","id":"1","job":"a","payload":{"n":1e400},"runAt":"2026-01-01T00:00:00Z","timeout":0.5}`))
	f.Add([]byte(`{"type":"subscribe","jobs":[{"jobId":"j","after":0}]}`))
	f.Add([]byte(`{"type":"unsubscribe","jobs":["j"],"mine":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in ClientFrame
		if json.Unmarshal(b, &in) != nil {
			return
		}
		once, err := json.Marshal(in)
		if err != nil {
			return // a time of the year 10000 can be read, not written
		}
		var again ClientFrame
		if err := json.Unmarshal(once, &again); err != nil {
			t.Fatalf("%s does not decode: %v", once, err)
		}
		if twice, err := json.Marshal(again); err != nil || string(twice) != string(once) {
			t.Fatalf("%s became %s, %v", once, twice, err)
		}
	})
}
