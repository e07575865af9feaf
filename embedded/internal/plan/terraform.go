package plan

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ackwire/ackwire/schemas/topic"
)

// Terraform returns resources of the provider Mongey/kafka, as HCL.
func (p Plan) Terraform() (string, error) {
	if p.Replication == 0 {
		return "", errors.New("replication: the provider needs a number of copies")
	}
	var b strings.Builder
	b.WriteString("# Topics and permissions of Ackwire, for the provider Mongey/kafka.\n")
	for _, s := range p.Topics() {
		fmt.Fprintf(&b, "\nresource \"kafka_topic\" %q {\n", label(s.Name))
		fmt.Fprintf(&b, "  name               = %s\n", hcl(s.Name))
		fmt.Fprintf(&b, "  partitions         = %d\n", s.Partitions)
		fmt.Fprintf(&b, "  replication_factor = %d\n", p.replication(s))
		configs := p.configs(s)
		width := 0
		for name := range configs {
			width = max(width, len(name)+2)
		}
		b.WriteString("  config = {\n")
		for _, name := range slices.Sorted(maps.Keys(configs)) {
			fmt.Fprintf(&b, "    %-*s = %s\n", width, strconv.Quote(name), hcl(configs[name]))
		}
		b.WriteString("  }\n}\n")
	}
	types := map[string]string{topic.ResourceTopic: "Topic", topic.ResourceGroup: "Group",
		topic.ResourceTransactional: "TransactionalID"}
	for _, g := range p.Grants() {
		for _, a := range g.ACLs {
			pattern := "Literal"
			if a.Prefixed {
				pattern = "Prefixed"
			}
			fmt.Fprintf(&b, "\n# %s: %s\n", g.Name(), a.Why)
			for _, op := range a.Operations {
				name := label(string(g.Role) + "_" + g.Lane + "_" + a.Resource + "_" + a.Name + "_" + op)
				fmt.Fprintf(&b, "resource \"kafka_acl\" %q {\n", name)
				fmt.Fprintf(&b, "  resource_name                = %s\n", hcl(a.Name))
				fmt.Fprintf(&b, "  resource_type                = %q\n", types[a.Resource])
				fmt.Fprintf(&b, "  resource_pattern_type_filter = %q\n", pattern)
				fmt.Fprintf(&b, "  acl_principal                = %s\n", hcl(g.Principal))
				fmt.Fprintf(&b, "  acl_host                     = \"*\"\n")
				fmt.Fprintf(&b, "  acl_operation                = %q\n", op)
				fmt.Fprintf(&b, "  acl_permission_type          = \"Allow\"\n}\n")
			}
		}
	}
	return b.String(), nil
}

var notInLabels = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// label returns a name that HCL accepts for a resource. Names of topics differ in more than their dots, which are the
// only characters of theirs that it replaces.
func label(name string) string {
	l := notInLabels.ReplaceAllString(name, "_")
	if l == "" || l[0] >= '0' && l[0] <= '9' || l[0] == '-' {
		l = "_" + l
	}
	return l
}

// hcl returns s as a string of HCL, in which ${ and %{ would begin templates.
func hcl(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(strconv.Quote(s))
}
