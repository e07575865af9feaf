package event

import (
	"slices"
	"testing"
)

// TestEveryTypeHasAWriter: a type that is added must say who appends it.
func TestEveryTypeHasAWriter(t *testing.T) {
	for _, typ := range Types {
		if !slices.Contains(Writers, typ.Writer()) {
			t.Errorf("nobody is said to write %s", typ)
		}
	}
	if w := Type("later").Writer(); w != "" {
		t.Errorf("an unknown type is written by %s", w)
	}
}
