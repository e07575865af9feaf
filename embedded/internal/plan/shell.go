package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ackwire/ackwire/schemas/topic"
)

// Tools says how Kafka's command-line tools connect.
type Tools struct {
	Brokers       []string
	CommandConfig string // file with the tools' own settings of TLS and SASL; empty for none
}

// command returns the beginning of a command line.
func (t Tools) command(tool string) string {
	text := tool + " --bootstrap-server " + quote(strings.Join(t.Brokers, ","))
	if t.CommandConfig != "" {
		text += " --command-config " + quote(t.CommandConfig)
	}
	return text
}

// Complete returns a command, whose first word is a tool of Kafka, with the options by which it connects.
func (t Tools) Complete(command string) string {
	tool, rest, _ := strings.Cut(command, " ")
	return t.command(tool) + " " + rest
}

// KafkaTopics returns a shell script that makes the topics. Topics that exist stay as they are.
func (p Plan) KafkaTopics(t Tools) string {
	var b strings.Builder
	b.WriteString("# The topics of Ackwire. A topic that exists stays as it is: ackwire doctor says what differs.\n")
	for _, s := range p.Topics() {
		b.WriteString("\n" + p.CreateTopic(t, s, " \\\n  ") + "\n")
	}
	return b.String()
}

// CreateTopic returns the command that makes a topic, with sep before each setting.
func (p Plan) CreateTopic(t Tools, s topic.Spec, sep string) string {
	text := t.command("kafka-topics.sh") + " --create --if-not-exists --topic " + quote(s.Name) + " --partitions " +
		strconv.Itoa(int(s.Partitions))
	if n := p.replication(s); n > 0 {
		text += " --replication-factor " + strconv.Itoa(n)
	}
	configs := p.configs(s)
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		text += sep + "--config " + quote(name+"="+configs[name])
	}
	return text
}

// KafkaACLs returns a shell script that permits each role what it needs.
func (p Plan) KafkaACLs(t Tools) string {
	var b strings.Builder
	b.WriteString("# The permissions of Ackwire's processes. Read and Write include Describe.\n")
	for _, g := range p.Grants() {
		fmt.Fprintf(&b, "\n# %s\n", g.Name())
		for _, a := range g.ACLs {
			fmt.Fprintf(&b, "# to %s\n%s\n", a.Why, AddACL(t, g.Principal, a, a.Operations))
		}
	}
	return b.String()
}

// AddACL returns the command that permits a principal operations of an ACL.
func AddACL(t Tools, principal string, a topic.ACL, operations []string) string {
	text := t.command("kafka-acls.sh") + " --add --allow-principal " + quote(principal) + " --" + a.Resource + " " +
		quote(a.Name)
	if a.Prefixed {
		text += " --resource-pattern-type prefixed"
	}
	for _, op := range operations {
		text += " --operation " + op
	}
	return text
}

// quote returns s as one word of a POSIX shell.
func quote(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-:/,=@", r))
	})
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
