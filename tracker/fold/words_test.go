package fold

import (
	"strings"
	"testing"
)

// TestReasonsHaveWords: each reason is told in one sentence of its own.
func TestReasonsHaveWords(t *testing.T) {
	told := map[string]Reason{}
	for _, r := range Reasons {
		w := r.Words()
		if !strings.HasSuffix(w, ".") || strings.ToUpper(w[:1]) != w[:1] || strings.Contains(w, "\n") {
			t.Errorf("%s is told as %q, which is no sentence", r, w)
		}
		if other, ok := told[w]; ok {
			t.Errorf("%s and %s are told alike: %q", r, other, w)
		}
		told[w] = r
	}
	if len(words) != len(Reasons) || Taken.Words() != "" {
		t.Errorf("%d words for %d reasons, and %q for none", len(words), len(Reasons), Taken.Words())
	}
}
