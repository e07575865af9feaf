package plan

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/mattn/go-shellwords"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made is what an administrator has made.
type made struct {
	topics map[string]madeTopic
	acls   map[madeACL]bool
}

type madeTopic struct {
	partitions, copies int
	configs            map[string]string
}

type madeACL struct {
	principal, resource, name string
	prefixed                  bool
	operation                 string
}

func example() Plan {
	types := jobtypes.Default()
	types["report.generate"].Policy.Deadline = 0
	return Plan{Names: topic.Names{Prefix: "p."}, Types: types, Partitions: 4, Replication: 3,
		Settings:   []string{"requests.partitions=6", "view.segment.ms=", "dead.x.y=it's ${a}"},
		Principals: map[string]string{"gateway": "User:gw", "processor.reports": "User:rep"}}
}

// words returns the commands of a shell script, as words.
func words(t *testing.T, script string) (commands [][]string) {
	t.Helper()
	script = strings.ReplaceAll(script, "\\\n", " ")
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		command, err := shellwords.Parse(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		commands = append(commands, command)
	}
	return commands
}

// scripts reads what the scripts for Kafka's own tools make. Options that those do not have are refused.
func scripts(t *testing.T, topics, acls string) made {
	t.Helper()
	m := made{map[string]madeTopic{}, map[madeACL]bool{}}
	for _, c := range words(t, topics) {
		one, name := madeTopic{configs: map[string]string{}}, ""
		for i := 1; i < len(c); i++ {
			next := func() string { i++; return c[i] }
			switch c[i] {
			case "--create", "--if-not-exists":
			case "--bootstrap-server":
				if next() != "a:1,b:2" {
					t.Errorf("%q", c)
				}
			case "--command-config":
				if next() != "my admin.properties" {
					t.Errorf("%q", c)
				}
			case "--topic":
				name = next()
			case "--partitions":
				one.partitions, _ = strconv.Atoi(next())
			case "--replication-factor":
				one.copies, _ = strconv.Atoi(next())
			case "--config":
				k, v, _ := strings.Cut(next(), "=")
				one.configs[k] = v
			default:
				t.Errorf("%q has the unknown option %s", c, c[i])
			}
		}
		if c[0] != "kafka-topics.sh" {
			t.Errorf("%q", c)
		}
		m.topics[name] = one
	}
	for _, c := range words(t, acls) {
		var one madeACL
		for i := 1; i < len(c); i++ {
			next := func() string { i++; return c[i] }
			switch c[i] {
			case "--add":
			case "--bootstrap-server", "--command-config":
				i++
			case "--allow-principal":
				one.principal = next()
			case "--topic", "--group", "--transactional-id":
				one.resource, one.name = c[i][2:], next()
			case "--resource-pattern-type":
				one.prefixed = next() == "prefixed"
			case "--operation":
				one.operation = next()
				m.acls[one] = true
			default:
				t.Errorf("%q has the unknown option %s", c, c[i])
			}
		}
		if c[0] != "kafka-acls.sh" {
			t.Errorf("%q", c)
		}
	}
	return m
}

// printed returns what the scripts for Kafka's own tools make.
func printed(t *testing.T, p Plan) made {
	t.Helper()
	tools := Tools{Brokers: []string{"a:1", "b:2"}, CommandConfig: "my admin.properties"}
	return scripts(t, p.KafkaTopics(tools), p.KafkaACLs(tools))
}

// apply makes topics and permissions in a Kafka.
func (m made) apply(t *testing.T, adm *kadm.Client) {
	t.Helper()
	for name, one := range m.topics {
		configs := map[string]*string{}
		for k, v := range one.configs {
			configs[k] = &v
		}
		if _, err := adm.CreateTopic(t.Context(), int32(one.partitions), int16(one.copies), configs, name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for a := range m.acls {
		op, err := kmsg.ParseACLOperation(a.operation)
		if err != nil {
			t.Fatal(err)
		}
		b := kadm.NewACLs().Allow(a.principal).AllowHosts("*").Operations(op).ResourcePatternType(kadm.ACLPatternLiteral)
		if a.prefixed {
			b.ResourcePatternType(kadm.ACLPatternPrefixed)
		}
		switch a.resource {
		case topic.ResourceTopic:
			b.Topics(a.name)
		case topic.ResourceGroup:
			b.Groups(a.name)
		case topic.ResourceTransactional:
			b.TransactionalIDs(a.name)
		}
		if _, err := adm.CreateACLs(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// What the printed scripts make is all that each role needs: as its user, with topics that are only verified, it
// starts, and no permission is missing.
func TestWhatIsPrintedSuffices(t *testing.T) {
	p := example()
	p.Settings = p.Settings[:2]
	opts := []kfake.Opt{kfake.NumBrokers(3), kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.Superuser("PLAIN", "admin", "secret")}
	for _, g := range p.Grants() {
		opts = append(opts, kfake.User("PLAIN", strings.TrimPrefix(g.Principal, "User:"), "secret"))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	admin, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...),
		kgo.SASL(plain.Auth{User: "admin", Pass: "secret"}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// start is what a process does at its start.
	start := func(g Grant) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		env := service.OS(slog.New(slog.DiscardHandler))
		cfg := kafka.Config{Brokers: c.ListenAddrs(), Security: kafka.Security{SASL: "plain",
			User: strings.TrimPrefix(g.Principal, "User:"), PasswordFile: file}}
		cl, err := cfg.NewAdminClient(env)
		if err != nil {
			return err
		}
		defer cl.Close()
		keeper := kafka.NewKeeper(kafka.Topics{Mode: kafka.TopicsVerify}, string(g.Role), env)
		for _, a := range g.ACLs {
			keeper.Need(kafka.Permission(a))
		}
		own := p
		own.Roles = []topic.Role{g.Role}
		if g.Lane != "" {
			own.Lanes = []string{g.Lane}
		}
		var topics []kafka.Topic
		for _, s := range own.Topics() {
			topics = append(topics, kafka.Topic(s))
		}
		return keeper.Ensure(ctx, cl, topics...)
	}
	for _, g := range p.Grants() {
		if err := start(g); err == nil {
			t.Errorf("%s starts without topics and permissions", g.Name())
		}
	}
	printed(t, p).apply(t, kadm.NewClient(admin))
	for _, g := range p.Grants() {
		if err := start(g); err != nil {
			t.Errorf("%s: %v", g.Name(), err)
		}
	}
}

// The resources of Strimzi make the same as the scripts.
func TestStrimziMakesTheSame(t *testing.T) {
	p := example()
	text, err := p.Strimzi(Strimzi{"kafka-1", "tls"})
	if err != nil {
		t.Fatal(err)
	}
	m := made{map[string]madeTopic{}, map[madeACL]bool{}}
	names := map[string]bool{}
	dec := yaml.NewDecoder(bytes.NewReader([]byte(text)), yaml.Strict())
	for {
		var r struct {
			APIVersion string   `yaml:"apiVersion"`
			Kind       string   `yaml:"kind"`
			Metadata   metadata `yaml:"metadata"`
			Spec       struct {
				TopicName      string            `yaml:"topicName"`
				Partitions     int               `yaml:"partitions"`
				Replicas       int               `yaml:"replicas"`
				Config         map[string]string `yaml:"config"`
				Authentication map[string]string `yaml:"authentication"`
				Authorization  authorization     `yaml:"authorization"`
			} `yaml:"spec"`
		}
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if r.APIVersion != strimziVersion || r.Metadata.Labels["strimzi.io/cluster"] != "kafka-1" {
			t.Errorf("%+v", r)
		}
		if names[r.Metadata.Name] || !regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`).MatchString(r.Metadata.Name) {
			t.Errorf("the name %q", r.Metadata.Name)
		}
		names[r.Metadata.Name] = true
		switch r.Kind {
		case "KafkaTopic":
			m.topics[r.Spec.TopicName] = madeTopic{r.Spec.Partitions, r.Spec.Replicas, r.Spec.Config}
		case "KafkaUser":
			if r.Spec.Authentication["type"] != "tls" || r.Spec.Authorization.Type != "simple" {
				t.Errorf("%+v", r)
			}
			resources := map[string]string{"topic": "topic", "group": "group", "transactionalId": "transactional-id"}
			for _, a := range r.Spec.Authorization.ACLs {
				for _, op := range a.Operations {
					m.acls[madeACL{"User:" + r.Metadata.Name, resources[a.Resource.Type], a.Resource.Name,
						a.Resource.PatternType == "prefix", op}] = true
				}
			}
		default:
			t.Errorf("a %s", r.Kind)
		}
	}
	compare(t, m, printed(t, p))
	p.Principals["gateway"] = "User:Mr X"
	if _, err := p.Strimzi(Strimzi{"c", "tls"}); err == nil || !strings.Contains(err.Error(), "User:Mr X cannot be") {
		t.Errorf("a user that Kubernetes cannot have: %v", err)
	}
	// One user for all lanes is one resource.
	p.Principals = map[string]string{"processor": "User:worker"}
	text, err = p.Strimzi(Strimzi{"c", "tls"})
	if err != nil || strings.Count(text, "name: worker\n") != 1 || strings.Count(text, "name: p.requests.reports\n") != 2 {
		t.Errorf("%v\n%s", err, text)
	}
}

// Names of topics that Kubernetes cannot have become names of objects that differ.
func TestObjectNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a.requests.my-lane", "a.requests.my_lane", "A.requests.my-lane", "_", "a."} {
		object := objectName(name)
		if before, twice := seen[object]; twice || object != strings.ToLower(object) || strings.Contains(object, "_") {
			t.Errorf("%s becomes %s, as %q does", name, object, before)
		}
		seen[object] = name
	}
}

// The resources of Terraform make the same as the scripts.
func TestTerraformMakesTheSame(t *testing.T) {
	p := example()
	text, err := p.Terraform()
	if err != nil {
		t.Fatal(err)
	}
	m := made{map[string]madeTopic{}, map[madeACL]bool{}}
	labels := map[string]bool{}
	block := regexp.MustCompile(`(?m)^resource "(kafka_topic|kafka_acl)" "([A-Za-z_][A-Za-z0-9_-]*)" \{\n((?:  .*\n)*)\}\n`)
	value := regexp.MustCompile(`(?m)^ +"?([a-z._]+)"? += (?:"((?:[^"\\]|\\.)*)"|(\d+))\n`)
	rest := block.ReplaceAllStringFunc(text, func(b string) string {
		parts := block.FindStringSubmatch(b)
		if labels[parts[1]+parts[2]] {
			t.Errorf("two resources are named %s", parts[2])
		}
		labels[parts[1]+parts[2]] = true
		v := map[string]string{}
		body := value.ReplaceAllStringFunc(parts[3], func(line string) string {
			kv := value.FindStringSubmatch(line)
			v[kv[1]] = strings.NewReplacer("$${", "${", "%%{", "%{").Replace(kv[2]) + kv[3]
			return ""
		})
		if parts[1] == "kafka_acl" {
			resources := map[string]string{"Topic": "topic", "Group": "group", "TransactionalID": "transactional-id"}
			if body != "" || v["acl_permission_type"] != "Allow" || v["acl_host"] != "*" {
				t.Errorf("%s: %q", b, body)
			}
			m.acls[madeACL{v["acl_principal"], resources[v["resource_type"]], v["resource_name"],
				v["resource_pattern_type_filter"] == "Prefixed", v["acl_operation"]}] = true
			return ""
		}
		if body != "  config = {\n  }\n" {
			t.Errorf("%s: %q", b, body)
		}
		partitions, _ := strconv.Atoi(v["partitions"])
		copies, _ := strconv.Atoi(v["replication_factor"])
		name := v["name"]
		for _, own := range []string{"partitions", "replication_factor", "name"} {
			delete(v, own)
		}
		m.topics[name] = madeTopic{partitions, copies, v}
		return ""
	})
	for line := range strings.Lines(rest) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			t.Errorf("not understood: %s", line)
		}
	}
	compare(t, m, printed(t, p))
	p.Replication = 0
	if _, err := p.Terraform(); err == nil {
		t.Error("a topic without a number of copies")
	}
}

func compare(t *testing.T, got, want made) {
	t.Helper()
	for name := range want.topics {
		if !reflect.DeepEqual(got.topics[name], want.topics[name]) {
			t.Errorf("%s: %+v, want %+v", name, got.topics[name], want.topics[name])
		}
	}
	if !maps.Equal(got.acls, want.acls) || len(got.topics) != len(want.topics) || len(want.acls) == 0 {
		t.Errorf("%v\nwant %v", got.acls, want.acls)
	}
}

// Settings, lanes, roles and lives of job types decide about what is printed.
func TestPlan(t *testing.T) {
	p := example()
	m := printed(t, p)
	if s := m.topics["p.status"]; s.partitions != 4 || s.copies != 3 || s.configs["min.insync.replicas"] != "2" {
		t.Errorf("status: %+v", s)
	}
	if _, there := m.topics["p.view"].configs["segment.ms"]; there || m.topics["p.requests.reports"].partitions != 6 {
		t.Errorf("settings of the operator: %+v", m.topics)
	}
	if m.topics["p.dead"].configs["x.y"] != "it's ${a}" || m.topics["p.dead"].partitions != 1 {
		t.Errorf("dead: %+v", m.topics["p.dead"])
	}
	p.Types["report.generate"].Policy.Retention = 40 * 24 * 3600 * 1e9
	if long := printed(t, p).topics["p.status"].configs["retention.ms"]; len(long) < 10 || long < "3456000000" {
		t.Errorf("status is kept for %s ms", long)
	}
	p.Replication = 1
	if _, there := printed(t, p).topics["p.status"].configs["min.insync.replicas"]; there {
		t.Error("one copy cannot have min.insync.replicas=2")
	}
	p.Roles, p.Lanes = []topic.Role{topic.RoleProcessor}, []string{"reports"}
	var names []string
	for _, s := range p.Topics() {
		names = append(names, s.Name)
	}
	if want := []string{"p.status", "p.control", "p.dead", "p.streams", "p.requests.reports"}; !slices.Equal(names, want) {
		t.Errorf("topics of a processor: %q", names)
	}
	for _, g := range p.Grants() {
		if g.Principal != "User:rep" || g.Lane != "reports" {
			t.Errorf("%+v", g)
		}
	}
	p.Create = true
	if !strings.Contains(p.KafkaACLs(Tools{}), "--operation Create --operation AlterConfigs") {
		t.Error("processes that make topics lack Create")
	}
	table := p.Table()
	if !strings.Contains(table, "p.status\n") || !strings.Contains(table, "must be =LogAppendTime") {
		t.Errorf("%s", table)
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*Plan){
		"prefix": func(p *Plan) { p.Names.Prefix = "" }, "not a lane's name": func(p *Plan) { p.Lanes = []string{"A"} },
		"partitions": func(p *Plan) { p.Partitions = 0 }, "replication": func(p *Plan) { p.Replication = -1 },
		"not a role":                    func(p *Plan) { p.Principals = map[string]string{"gatway": "User:x"} },
		"nor processor.LANE":            func(p *Plan) { p.Principals = map[string]string{"gateway.x": "User:x"} },
		"is not TYPE:NAME":              func(p *Plan) { p.Principals = map[string]string{"gateway": "x"} },
		"topic-settings: ":              func(p *Plan) { p.Settings = []string{"status.cleanup.policy=compact"} },
		"there is no kind of topic \"x": func(p *Plan) { p.Settings = []string{"x.y=z"} },
	} {
		p := example()
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		if change(&p); p.Validate() == nil || !strings.Contains(p.Validate().Error(), want) {
			t.Errorf("%s: %v", want, p.Validate())
		}
	}
}

func TestQuote(t *testing.T) {
	for _, s := range []string{"a.b-c_1:2/,=@", "", "it's", "a b", "$x", "`x`", "a\"b", "*", "ä;|&"} {
		got, err := shellwords.Parse("x " + quote(s))
		if err != nil || len(got) != 2 || got[1] != s {
			t.Errorf("%q becomes %s: %q, %v", s, quote(s), got, err)
		}
	}
	if c := (Tools{Brokers: []string{"b:1"}}).Complete("kafka-configs.sh --alter"); c !=
		"kafka-configs.sh --bootstrap-server b:1 --alter" {
		t.Error(c)
	}
}
