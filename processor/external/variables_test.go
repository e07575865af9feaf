//go:build unix

package external

import (
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor"
)

// The variables about the job have a prefix that no flag's variable may have (service.Options checks the flags), so
// that an Ackwire program within a command does not read them as settings.
func TestACommandIsToldNothingThatIsASetting(t *testing.T) {
	t.Setenv("ACKWIRE_TYPE", "not passed on")
	c := &Command{}
	var told []string
	for _, v := range c.environment(&processor.Job{ID: "1", Type: "a.b", Run: "r", Tenant: "acme", Subject: "bob"},
		"/tmp") {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case slices.Contains([]string{"HOME", "PATH", "LANG", "TZ"}, name):
		case !strings.HasPrefix(name, service.JobVariables) || name == service.JobVariables+"TYPES":
			t.Errorf("%s may be the variable of a flag", name)
		default:
			told = append(told, name)
		}
	}
	if len(told) != 9 {
		t.Errorf("told of the job: %q", told)
	}
}
