package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/ackwire/ackwire/schemas/topic"
)

// The resources of Strimzi, as far as they are used.
type (
	resource struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Metadata   metadata `yaml:"metadata"`
		Spec       any      `yaml:"spec"`
	}
	metadata struct {
		Name   string            `yaml:"name"`
		Labels map[string]string `yaml:"labels"`
	}
	topicSpec struct {
		TopicName  string            `yaml:"topicName"`
		Partitions int32             `yaml:"partitions"`
		Replicas   int               `yaml:"replicas,omitempty"`
		Config     map[string]string `yaml:"config"`
	}
	userSpec struct {
		Authentication map[string]string `yaml:"authentication"`
		Authorization  authorization     `yaml:"authorization"`
	}
	authorization struct {
		Type string     `yaml:"type"`
		ACLs []strimzed `yaml:"acls"`
	}
	strimzed struct {
		Resource   patternResource `yaml:"resource"`
		Operations []string        `yaml:"operations"`
	}
	patternResource struct {
		Type        string `yaml:"type"`
		Name        string `yaml:"name"`
		PatternType string `yaml:"patternType"`
	}
)

// Strimzi says for which cluster of Strimzi resources are printed.
type Strimzi struct {
	Cluster        string
	Authentication string // scram-sha-512, tls or tls-external
}

const strimziVersion = "kafka.strimzi.io/v1"

// Strimzi returns a KafkaTopic for each topic and a KafkaUser for each principal, as YAML.
func (p Plan) Strimzi(c Strimzi) (string, error) {
	labels := map[string]string{"strimzi.io/cluster": c.Cluster}
	var all []resource
	for _, s := range p.Topics() {
		all = append(all, resource{strimziVersion, "KafkaTopic", metadata{objectName(s.Name), labels},
			topicSpec{s.Name, s.Partitions, p.replication(s), p.configs(s)}})
	}
	at := map[string]int{} // of each user in all
	for _, g := range p.Grants() {
		name, ok := strings.CutPrefix(g.Principal, "User:")
		if name = strings.TrimPrefix(name, "CN="); !ok || objectName(name) != name {
			return "", fmt.Errorf("principal: %s cannot be a KafkaUser: its name must be of a-z 0-9 . and -", g.Principal)
		}
		acls := strimziACLs(g.ACLs)
		if i, ok := at[name]; ok {
			spec := all[i].Spec.(userSpec)
			spec.Authorization.ACLs = append(spec.Authorization.ACLs, acls...)
			all[i].Spec = spec
			continue
		}
		at[name] = len(all)
		all = append(all, resource{strimziVersion, "KafkaUser", metadata{name, labels}, userSpec{
			map[string]string{"type": c.Authentication}, authorization{"simple", acls}}})
	}
	var b strings.Builder
	b.WriteString("# Topics and users of Ackwire for Strimzi 0.49 or later; for earlier ones replace " + strimziVersion +
		" by kafka.strimzi.io/v1beta2.\n")
	for _, r := range all {
		text, err := yaml.Marshal(r)
		if err != nil {
			return "", err
		}
		b.WriteString("---\n" + string(text))
	}
	return b.String(), nil
}

func strimziACLs(acls []topic.ACL) []strimzed {
	types := map[string]string{topic.ResourceTopic: "topic", topic.ResourceGroup: "group",
		topic.ResourceTransactional: "transactionalId"}
	all := make([]strimzed, len(acls))
	for i, a := range acls {
		pattern := "literal"
		if a.Prefixed {
			pattern = "prefix"
		}
		all[i] = strimzed{patternResource{types[a.Resource], a.Name, pattern}, a.Operations}
	}
	return all
}

var notInNames = regexp.MustCompile(`[^a-z0-9.-]+`)

// objectName returns a name that Kubernetes accepts for an object, from that of a topic. Names that would become the
// same get a part of their hash.
func objectName(name string) string {
	object := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(name), "-"), ".-")
	if object == name {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return object + "-" + hex.EncodeToString(sum[:4])
}
