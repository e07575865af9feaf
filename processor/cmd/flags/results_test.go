package flags

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/processortest"
)

// TestResultsAreCheckedByTheFile: with the file of job types a result that breaks its type's schema fails the job;
// without the file none does.
func TestResultsAreCheckedByTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobtypes.yaml")
	text := "types:\n  count: {resultSchema: {type: integer, minimum: 0}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{file: processor.CodeInvalidResult, "": ""} {
		byType, err := ByType(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := processortest.Run(t.Context(), func(p *processor.Processor) {
			processor.Handle(p, "count", func(context.Context, *processor.Job, any) (int, error) { return -1, nil })
		}, processortest.Job{Type: "count"}, byType...)
		if err != nil {
			t.Fatal(err)
		}
		code := ""
		if got.Failure != nil {
			code = got.Failure.Code
		}
		if code != want {
			t.Errorf("with the file %q: %+v, want %q", name, got, want)
		}
	}
	if _, err := ByType("nowhere.yaml"); err == nil || !strings.Contains(err.Error(), "nowhere.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
}
