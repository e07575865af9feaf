package topic

import (
	"slices"
	"strings"
	"testing"
)

// Every role has permissions, all under the prefix, and a worker of one lane has none for another's.
func TestACLs(t *testing.T) {
	n := Names{Prefix: "p."}
	for _, role := range Roles {
		acls := n.ACLs(role, []string{"a"})
		if len(acls) == 0 {
			t.Errorf("%s has no permissions", role)
		}
		seen := map[string]bool{}
		for _, a := range acls {
			if !strings.HasPrefix(a.Name, "p.") || a.Why == "" || len(a.Operations) == 0 || seen[a.Resource+a.Name] {
				t.Errorf("%s: %+v", role, a)
			}
			seen[a.Resource+a.Name] = true
			// Read and Write include Describe: a permission that changes nothing is not asked for.
			if slices.Contains(a.Operations, OpDescribe) &&
				(slices.Contains(a.Operations, OpRead) || slices.Contains(a.Operations, OpWrite)) {
				t.Errorf("%s: Describe is superfluous in %+v", role, a)
			}
		}
	}
	for _, a := range n.ACLs(RoleProcessor, []string{"a"}) {
		if a.Prefixed || strings.Contains(a.Name, ".b") {
			t.Errorf("a worker of lane a may use %+v", a)
		}
	}
	if n.ACLs("nobody", nil) != nil {
		t.Error("an unknown role has permissions")
	}
}
