package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/ackwire/ackwire/embedded/internal/doctor"
	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/schemas/topic"
)

// examined is a Kafka for the doctor.
type examined struct {
	t       *testing.T
	cluster *kfake.Cluster
	admin   *kadm.Client
	flags   []string
}

// examine runs the command and returns what it found.
func (e *examined) examine(args ...string) (code int, found []doctor.Finding, stderr string) {
	e.t.Helper()
	code, out, stderr := runCommand(e.t, append([]string{"doctor", "--json"}, append(args, e.flags...)...)...)
	for line := range strings.Lines(out) {
		var f doctor.Finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			e.t.Fatalf("%q: %v", line, err)
		}
		found = append(found, f)
	}
	return code, found, stderr
}

// runCommand runs doctor or topics.
func runCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	env := &Env{Context: ctx, Stdout: &out, Stderr: &errs}
	var cmds struct {
		Doctor DoctorCmd `cmd:""`
		Topics TopicsCmd `cmd:""`
	}
	parser, err := kong.New(&cmds, kong.Name("ackwire"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	code = Report(env, parsed.Run(env))
	return code, out.String(), errs.String()
}

// with returns the findings of a state, one per line.
func with(found []doctor.Finding, state doctor.State) string {
	var b strings.Builder
	for _, f := range found {
		if f.State == state {
			fmt.Fprintf(&b, "%s %s: %s: %s | %s\n", f.Check, f.Subject, f.Setting, f.Text, f.Command)
		}
	}
	return b.String()
}

// newExamined returns a Kafka of one broker, with an authorizer if there is a user beside the administrator.
func newExamined(t *testing.T, users ...string) *examined {
	t.Helper()
	opts := []kfake.Opt{kfake.NumBrokers(1)}
	if len(users) > 0 {
		opts = append(opts, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "secret"))
	}
	for _, u := range users {
		opts = append(opts, kfake.User("PLAIN", u, "secret"))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	e := &examined{t: t, cluster: c, flags: []string{"--kafka", strings.Join(c.ListenAddrs(), ",")}}
	connect := []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}
	if len(users) > 0 {
		connect = append(connect, kgo.SASL(plain.Auth{User: "admin", Pass: "secret"}.AsMechanism()))
	}
	cl, err := kgo.NewClient(connect...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	e.admin = kadm.NewClient(cl)
	return e
}

// makeTopics makes all topics of the demo types.
func (e *examined) makeTopics() {
	e.t.Helper()
	names := topic.Names{Prefix: topic.DefaultPrefix}
	for _, s := range names.Specs([]string{"default", "reports"}, topic.DefaultPartitions) {
		configs := map[string]*string{}
		for k, v := range s.Configs {
			configs[k] = &v
		}
		if _, err := e.admin.CreateTopic(e.t.Context(), s.Partitions, 1, configs, s.Name); err != nil {
			e.t.Fatal(err)
		}
	}
}

func (e *examined) alter(name, setting, value string) {
	e.t.Helper()
	if _, err := e.admin.AlterTopicConfigs(e.t.Context(), []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: setting, Value: &value}}, name); err != nil {
		e.t.Fatal(err)
	}
}

func TestDoctorNamesWhatIsMissingOfTopics(t *testing.T) {
	e := newExamined(t)
	code, found, _ := e.examine()
	wrong := with(found, doctor.Wrong)
	const create = "topic ackwire.status: topic: does not exist | kafka-topics.sh --bootstrap-server "
	if code != ExitFailed || strings.Count(wrong, "does not exist") != 11 || !strings.Contains(wrong, create) {
		t.Errorf("an empty cluster: %d\n%s", code, wrong)
	}
	e.makeTopics()
	if code, found, stderr := e.examine(); code != 0 || with(found, doctor.Wrong) != "" || stderr != "" {
		t.Errorf("with all topics: %d %s\n%s", code, stderr, with(found, doctor.Wrong))
	}
	for _, c := range []struct{ topic, setting, value, good, text string }{
		{"ackwire.status", "cleanup.policy", "compact", "delete", "cleanup.policy is compact and must be delete"},
		{"ackwire.requests.reports", "retention.ms", "1000", "691200000", "retention.ms is 1000 and must be at least"},
		{"ackwire.deferred", "max.message.bytes", "1000", "1048588", "max.message.bytes is 1000 and must be at least"},
	} {
		e.alter(c.topic, c.setting, c.value)
		code, found, _ := e.examine()
		wrong := with(found, doctor.Wrong)
		command := "kafka-configs.sh --bootstrap-server " + e.cluster.ListenAddrs()[0] + " --alter --topic " + c.topic +
			" --add-config " + c.setting + "="
		if code != ExitFailed || strings.Count(wrong, "\n") != 1 || !strings.Contains(wrong, c.text) ||
			!strings.Contains(wrong, command) || !strings.Contains(wrong, "topic "+c.topic+": "+c.setting) {
			t.Errorf("%s of %s: %d\n%s", c.setting, c.topic, code, wrong)
		}
		e.alter(c.topic, c.setting, c.good)
	}
	if code, found, _ := e.examine("--partitions", "5"); code != ExitFailed || !strings.Contains(with(found, doctor.Wrong),
		"topic ackwire.status: partitions: partitions is 12 and must be 5") {
		t.Errorf("other partitions: %d\n%s", code, with(found, doctor.Wrong))
	}
	// A role has only its own topics.
	if _, found, _ := e.examine("--role", "processor", "--lanes", "reports", "--topic-prefix", "x."); strings.Contains(
		fmt.Sprint(found), "x.deferred") || strings.Contains(fmt.Sprint(found), "x.requests.default") {
		t.Errorf("topics of other roles: %v", found)
	}
}

// Where trackers run with --tracker-no-view nothing of the topic view is missing: not the topic, nor transactions, nor
// the permissions for them.
func TestDoctorWithoutTheView(t *testing.T) {
	e := newExamined(t)
	e.makeTopics()
	if _, err := e.admin.DeleteTopic(t.Context(), "ackwire.view"); err != nil {
		t.Fatal(err)
	}
	if code, found, _ := e.examine(); code != ExitFailed || !strings.Contains(with(found, doctor.Wrong), "ackwire.view") {
		t.Errorf("trackers that write the view: %d\n%s", code, with(found, doctor.Wrong))
	}
	code, found, stderr := e.examine("--tracker-no-view", "--probe")
	if code != 0 || stderr != "" || strings.Contains(fmt.Sprint(found), "ackwire.view") {
		t.Errorf("trackers that do not: %d %s\n%v", code, stderr, found)
	}
	for _, what := range []string{"kafka-topics", "acls", "strimzi", "terraform", "table"} {
		code, out, _ := runCommand(t, "topics", "--tracker-no-view", "--print", what)
		if code != 0 || out == "" || strings.Contains(out, "ackwire.view") {
			t.Errorf("topics --print %s: %d\n%s", what, code, out)
		}
	}
}

// Each permission that is taken away is named with its command, for the user that connects as well as for another one
// whose name is given.
func TestDoctorNamesMissingPermissions(t *testing.T) {
	e := newExamined(t, "svc")
	e.makeTopics()
	file := filepath.Join(t.TempDir(), "password")
	certstest.Write(t, file, []byte("secret\n"))
	names := topic.Names{Prefix: topic.DefaultPrefix}
	login := func(user string) []string {
		return []string{"--kafka", strings.Join(e.cluster.ListenAddrs(), ","), "--kafka-sasl", "plain", "--kafka-user", user,
			"--kafka-password-file", file}
	}
	for _, role := range topic.Roles {
		lanes := []string{"reports"}
		acls := names.ACLs(role, lanes)
		for missing := -1; missing < len(acls); missing++ {
			if missing > 1 && testing.Short() {
				break
			}
			var granted []*kadm.ACLBuilder
			for i, a := range acls {
				if i != missing {
					granted = append(granted, builder(t, a))
				}
			}
			for _, b := range granted {
				if _, err := e.admin.CreateACLs(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			// svc cannot list permissions and looks at its own; the administrator lists those of svc.
			for user, more := range map[string][]string{"svc": nil, "admin": {"--principal", string(role) + "=User:svc"}} {
				e.flags = login(user)
				code, found, stderr := e.examine(append(more, "--role", string(role), "--lanes", "reports")...)
				wrong := with(found, doctor.Wrong)
				if missing < 0 {
					if code != 0 || wrong != "" {
						t.Errorf("%s as %s with all permissions: %d %s\n%s", role, user, code, stderr, wrong)
					}
					continue
				}
				a := acls[missing]
				want := fmt.Sprintf("permission %s %s", a.Resource, a.Name)
				command := "--add --allow-principal User:svc --" + a.Resource + " " + a.Name
				if code != ExitFailed || !strings.Contains(wrong, want) || !strings.Contains(wrong, command) {
					t.Errorf("%s as %s without %+v: %d %s\n%s", role, user, a, code, stderr, wrong)
				}
			}
			for _, b := range granted {
				if _, err := e.admin.DeleteACLs(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	e.flags = login("svc")
	_, found, _ := e.examine("--role", "gateway", "--principal", "gateway=User:other")
	if unknown := with(found, doctor.Unknown); !strings.Contains(unknown,
		"what User:other may do cannot be listed by User:svc") {
		t.Errorf("permissions of another user: %s", unknown)
	}
}

// builder returns a permission of the user svc.
func builder(t *testing.T, a topic.ACL) *kadm.ACLBuilder {
	t.Helper()
	b := kadm.NewACLs().Allow("User:svc").AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral)
	if a.Prefixed {
		b.ResourcePatternType(kadm.ACLPatternPrefixed)
	}
	var ops []kadm.ACLOperation
	for _, name := range a.Operations {
		op, err := kmsg.ParseACLOperation(name)
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, op)
	}
	b.Operations(ops...)
	switch a.Resource {
	case topic.ResourceTopic:
		b.Topics(a.Name)
	case topic.ResourceGroup:
		b.Groups(a.Name)
	case topic.ResourceTransactional:
		b.TransactionalIDs(a.Name)
	}
	return b
}

// What keeps a process from connecting is told, and ends with exit code 2.
func TestDoctorCannotConnect(t *testing.T) {
	e := newExamined(t, "svc")
	wrong := filepath.Join(t.TempDir(), "password")
	certstest.Write(t, wrong, []byte("wr0ng\n"))
	brokers := e.cluster.ListenAddrs()[0]
	for name, c := range map[string]struct {
		flags []string
		check string
		want  string
	}{
		"nobody listens": {[]string{"--kafka", "127.0.0.1:1"}, doctor.CheckAddress, "cannot be reached"},
		"wrong password": {[]string{"--kafka", brokers, "--kafka-sasl", "plain", "--kafka-user", "svc",
			"--kafka-password-file", wrong}, doctor.CheckAuthentication, "user svc; check kafka-user and kafka-password-file"},
		"no TLS there": {[]string{"--kafka", brokers, "--kafka-tls"}, doctor.CheckTLS, "TLS"},
	} {
		e.flags = c.flags
		code, found, stderr := e.examine()
		last := found[len(found)-1]
		if code != ExitRefused || last.State != doctor.Unreachable || last.Check != c.check ||
			!strings.Contains(last.Text, c.want) || strings.Count(stderr, "\n") != 1 || strings.Contains(last.Text, "wr0ng") {
			t.Errorf("%s: %d %s: %+v", name, code, stderr, found)
		}
	}
	e.flags = []string{"--kafka", brokers}
	if code, _, stderr := e.examine("--role", "nobody"); code != ExitRefused || !strings.Contains(stderr, `"nobody"`) {
		t.Errorf("wrong usage: %d %s", code, stderr)
	}
}

// Nothing is written unless it is asked for; then the probe measures, and leaves only orders that nobody takes.
func TestDoctorWritesOnlyIfAsked(t *testing.T) {
	e := newExamined(t)
	e.makeTopics()
	written := func() (n int64) {
		ends, err := e.admin.ListEndOffsets(t.Context(), "ackwire.status", "ackwire.control", "ackwire.dead")
		if err != nil {
			t.Fatal(err)
		}
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n
	}
	requests := map[int16]bool{}
	e.cluster.ControlKey(kmsg.InitProducerID.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		e.cluster.KeepControl()
		requests[kmsg.InitProducerID.Int16()] = true
		return nil, nil, false
	})
	if code, _, stderr := e.examine(); code != 0 || written() != 0 || len(requests) > 0 {
		t.Errorf("%d %s: %d records are written, %v", code, stderr, written(), requests)
	}
	code, found, stderr := e.examine("--probe")
	good := with(found, doctor.OK)
	if code != 0 || written() == 0 || !strings.Contains(good, "start processes with --kafka-profile local") ||
		!strings.Contains(good, "clock ackwire.control") || !strings.Contains(good, "transactions work") {
		t.Errorf("%d %s\n%s%v", code, stderr, good, found)
	}
}

// A rack without brokers is told.
func TestDoctorLooksForRacks(t *testing.T) {
	e := newExamined(t)
	e.makeTopics()
	code, found, _ := e.examine("--kafka-rack", "moon")
	advice := with(found, doctor.Advice)
	if code != 0 || !strings.Contains(advice, "rack moon: : no broker is in this rack") {
		t.Errorf("%d %s", code, advice)
	}
	meta, err := e.admin.BrokerMetadata(t.Context())
	if err != nil || meta.Brokers[0].Rack == nil {
		t.Fatalf("%v %v", meta, err)
	}
	code, found, _ = e.examine("--kafka-rack", *meta.Brokers[0].Rack)
	if good := with(found, doctor.OK); code != 0 || !strings.Contains(good, "brokers are in this rack") {
		t.Errorf("%d %s", code, good)
	}
}

// The lines for people have everything in one line.
func TestDoctorsLines(t *testing.T) {
	e := newExamined(t)
	code, out, _ := runCommand(t, "doctor", "--kafka", e.cluster.ListenAddrs()[0], "--role", "gateway")
	const want = "\nwrong       topic ackwire.status: does not exist | kafka-topics.sh "
	if code != ExitFailed || !strings.Contains(out, want) ||
		!strings.HasSuffix(out, " wrong\n") {
		t.Errorf("%d\n%s", code, out)
	}
}
