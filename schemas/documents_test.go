package schemas_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ackwire/ackwire/schemas"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/topic"
)

type object = map[string]any

// resolve follows a reference within a document.
func resolve(doc, m object) object {
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	var v any = doc
	for key := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		v = v.(object)[strings.ReplaceAll(key, "~1", "/")]
	}
	return v.(object)
}

// fits checks a value against a schema that is part of a document.
func fits(t *testing.T, c *jsonschema.Compiler, where string, schema, value any) {
	t.Helper()
	m, _ := schema.(object)
	if ref, ok := m["$ref"].(string); ok {
		if err := compile(t, c, strings.TrimSuffix(strings.TrimPrefix(ref, "./jsonschema/"), ".json")).Validate(
			value); err != nil {
			t.Errorf("%s: %v", where, err)
		}
		return
	}
	inline := jsonschema.NewCompiler()
	if err := inline.AddResource("inline.json", schema); err != nil {
		t.Fatal(err)
	}
	s, err := inline.Compile("inline.json")
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if err := s.Validate(value); err != nil {
		t.Errorf("%s: %v", where, err)
	}
}

// TestExamplesFitTheirPlace checks that each message has an example, and that each example fits the schema beside it in
// the document, not only the schema of its own type.
func TestExamplesFitTheirPlace(t *testing.T) {
	c := compiler(t)
	messages := document(t, "asyncapi.yaml")["components"].(object)["messages"].(object)
	for name, m := range messages {
		m := m.(object)
		examples, _ := m["examples"].([]any)
		if len(examples) == 0 {
			t.Errorf("asyncapi.yaml: message %s has no example", name)
		}
		for _, e := range examples {
			e := e.(object)
			fits(t, c, name+" payload", m["payload"], e["payload"])
			if (m["headers"] == nil) != (e["headers"] == nil) {
				t.Errorf("asyncapi.yaml: message %s has headers without an example, or the other way round", name)
			} else if m["headers"] != nil {
				fits(t, c, name+" headers", m["headers"], e["headers"])
			}
		}
	}
	walk(document(t, "openapi.yaml"), func(m object) {
		schema, _ := m["schema"].(object)
		named, _ := m["examples"].(object)
		if ref, _ := schema["$ref"].(string); strings.HasPrefix(ref, "./jsonschema/") && len(named) == 0 {
			t.Errorf("openapi.yaml: %s is used without an example", ref)
		}
		for name, e := range named {
			fits(t, c, "openapi.yaml: example "+name, schema, e.(object)["value"])
		}
	})
}

// TestEachCodeAnswersWithItsStatus checks that OpenAPI lists each error under the HTTP status that the table of codes
// gives it.
func TestEachCodeAnswersWithItsStatus(t *testing.T) {
	doc := document(t, "openapi.yaml")
	for _, op := range operations(doc) {
		for status, r := range op.responses {
			content, _ := resolve(doc, r.(object))["content"].(object)
			problem, ok := content["application/problem+json"].(object)
			if !ok {
				continue
			}
			for name := range problem["examples"].(object) {
				if want := strconv.Itoa(code.Code(name).Info().HTTP); !code.Code(name).Known() || status != want {
					t.Errorf("%s: code %s has status %s, not %s", op.name, name, want, status)
				}
			}
		}
	}
}

type operation struct {
	name      string // method and path
	responses object
}

func operations(doc object) (all []operation) {
	for path, item := range doc["paths"].(object) {
		for _, method := range []string{"get", "head", "post", "put", "patch", "delete"} {
			if op, ok := item.(object)[method].(object); ok {
				all = append(all, operation{strings.ToUpper(method) + " " + path, op["responses"].(object)})
			}
		}
	}
	return all
}

// TestOpenAPIHasAll checks that OpenAPI has exactly the routes of the gateway and of the ops listener.
func TestOpenAPIHasAll(t *testing.T) {
	want := []string{
		"POST /v1/jobs", "POST /v1/jobs:batch", "GET /v1/jobs", "HEAD /v1/jobs", "GET /v1/stats", "HEAD /v1/stats",
		"GET /v1/jobs/{id}/why",
		"GET /v1/jobs/{id}/history", "HEAD /v1/jobs/{id}/history", "GET /v1/jobs/{id}/payload",
		"HEAD /v1/jobs/{id}/payload",
		"GET /v1/jobs/{id}/deliveries", "HEAD /v1/jobs/{id}/why", "HEAD /v1/jobs/{id}/deliveries", "GET /v1/jobs/{id}",
		"HEAD /v1/jobs/{id}", "DELETE /v1/jobs/{id}", "POST /v1/jobs/{id}/cancel", "POST /v1/jobs/{id}/retry",
		"GET /v1/jobs/{id}/result", "HEAD /v1/jobs/{id}/result", "GET /v1/jobs/{id}/events", "HEAD /v1/jobs/{id}/events",
		"GET /v1/jobs/{id}/streams", "HEAD /v1/jobs/{id}/streams", "GET /v1/jobs/{id}/streams/{name}",
		"HEAD /v1/jobs/{id}/streams/{name}",
		"GET /v1/events", "HEAD /v1/events", "POST /v1/events", "POST /v1/ws-tickets", "POST /v1/grants",
		"GET /v1/ws", "GET /healthz", "GET /readyz",
		"GET /startupz", "GET /metrics",
		"GET /v1/job-types", "HEAD /v1/job-types", "GET /v1/activity", "HEAD /v1/activity",
		"GET /v1/workers", "HEAD /v1/workers", "GET /v1/webhooks", "HEAD /v1/webhooks",
		"GET /v1/system", "HEAD /v1/system",
		"GET /v1/audit", "HEAD /v1/audit",
		"GET /v1/dead", "HEAD /v1/dead", "GET /v1/dead/{id}", "HEAD /v1/dead/{id}", "POST /v1/dead/{id}/requeue",
		"POST /v1/bulk",
	}
	var got []string
	for _, op := range operations(document(t, "openapi.yaml")) {
		got = append(got, op.name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("openapi.yaml has\n%v, want\n%v", got, want)
	}
}

// TestOperationsReachEverything checks that each message of AsyncAPI is in a channel, that each channel's messages are
// in an operation of that channel (except those that no outside program may write or read), and that replies are in the
// channel of their operation.
func TestOperationsReachEverything(t *testing.T) {
	doc := document(t, "asyncapi.yaml")
	used := map[string]bool{}
	use := func(channel string, refs any) {
		list, _ := refs.([]any)
		for _, m := range list {
			ref := m.(object)["$ref"].(string)
			if !strings.HasPrefix(ref, channel+"/messages/") {
				t.Errorf("%s is not of channel %s", ref, channel)
			}
			used[ref] = true
		}
	}
	for _, o := range doc["operations"].(object) {
		o := o.(object)
		use(o["channel"].(object)["$ref"].(string), o["messages"])
		if reply, ok := o["reply"].(object); ok {
			use(reply["channel"].(object)["$ref"].(string), reply["messages"])
		}
	}
	inChannel := map[string]bool{}
	for name, ch := range doc["channels"].(object) {
		for message, ref := range ch.(object)["messages"].(object) {
			inChannel[ref.(object)["$ref"].(string)] = true
			if !used["#/channels/"+name+"/messages/"+message] {
				t.Errorf("no operation carries %s of channel %s", message, name)
			}
		}
	}
	for name := range doc["components"].(object)["messages"].(object) {
		if !inChannel["#/components/messages/"+name] {
			t.Errorf("message %s is in no channel", name)
		}
	}
}

// TestTopicsAreMadeAsTheyAreTold checks that the addresses, cleanup policies and retention times in AsyncAPI are those
// of the topics that the services create.
func TestTopicsAreMadeAsTheyAreTold(t *testing.T) {
	n := topic.Names{Prefix: topic.DefaultPrefix}
	const partitions = topic.DefaultPartitions
	specs := map[string]topic.Spec{
		"requests": n.RequestsSpec("{lane}", partitions), "deferred": n.DeferredSpec(partitions), "status": n.StatusSpec(
			partitions),
		"control": n.ControlSpec(partitions), "dead": n.DeadSpec(), "audit": n.AuditSpec(),
		"streams": n.StreamsSpec(partitions),
		"view":    {Name: n.View(), Configs: map[string]string{"cleanup.policy": "compact"}},
	}
	channels := document(t, "asyncapi.yaml")["channels"].(object)
	for name, spec := range specs {
		ch := channels[name].(object)
		if ch["address"] != spec.Name {
			t.Errorf("channel %s has address %v, the topic is %s", name, ch["address"], spec.Name)
		}
		conf := ch["bindings"].(object)["kafka"].(object)["topicConfiguration"].(object)
		if got := conf["cleanup.policy"].([]any); len(got) != 1 || got[0] != spec.Configs["cleanup.policy"] {
			t.Errorf("%s: cleanup.policy %v, the topic is made with %s", name, got, spec.Configs["cleanup.policy"])
		}
		if got, want := conf["retention.ms"], spec.Configs["retention.ms"]; want != "" && fmt.Sprint(got) != want {
			t.Errorf("%s: retention.ms %v, the topic is made with %s", name, got, want)
		}
		messages := ch["messages"].(object)
		for message, ref := range messages {
			m := resolve(document(t, "asyncapi.yaml"), ref.(object))
			if m["bindings"] == nil {
				t.Errorf("%s: message %s has no key", name, message)
			}
		}
	}
	if len(channels) != len(specs)+1 || channels["socket"] == nil {
		t.Errorf("channels: %v", slices.Sorted(maps.Keys(channels)))
	}
}

// TestCloseCodes checks that the socket's channel in AsyncAPI lists every close code as the table does.
func TestCloseCodes(t *testing.T) {
	const from, to = "      <!-- closes: code/codes.json -->\n", "      <!-- /closes -->\n"
	b, err := os.ReadFile("asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatal("asyncapi.yaml has no place for the close codes")
	}
	var table strings.Builder
	table.WriteString("      | code | name | reconnect | meaning |\n      |---|---|---|---|\n")
	for _, c := range code.AllCloses {
		i, _ := c.Info()
		back := "no"
		if i.Reconnect {
			back = "yes"
		}
		fmt.Fprintf(&table, "      | %d | `%s` | %s | %s |\n", c, i.Name, back, i.Meaning)
	}
	fresh := before + from + table.String() + to + after
	if *update {
		if err := os.WriteFile("asyncapi.yaml", []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if fresh != string(b) {
		t.Error("asyncapi.yaml: close codes are not those of code/codes.json (go test -run TestCloseCodes -update)")
	}
}

// headerTable returns a schema of headers as a table for people, in the schema's order.
func headerTable(t *testing.T, schema string) string {
	t.Helper()
	b, err := schemas.Files.ReadFile("jsonschema/" + schema + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Required   []string
		Properties map[string]object
	}
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	table.WriteString("| header | | meaning |\n|---|---|---|\n")
	for _, m := range regexp.MustCompile(`(?m)^    "([^"]+)": `).FindAllSubmatch(
		b[bytes.Index(b, []byte(`"properties"`)):], -1) {
		name := string(m[1])
		property := s.Properties[name]
		about, _ := property["description"].(string)
		if ref, ok := property["$ref"].(string); ok && about == "" {
			about, _ = at(t, "defs.json", strings.TrimPrefix(ref, "../defs.json#")).(object)["description"].(string)
		}
		if about == "" {
			t.Errorf("%s: header %s is not described", schema, name)
		}
		need := "may be absent"
		if slices.Contains(s.Required, name) {
			need = "always"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", name, need, strings.ReplaceAll(about, "<", "&lt;"))
	}
	return table.String()
}
