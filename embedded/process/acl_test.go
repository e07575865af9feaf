package process

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/embedded/internal/doctor"
	"github.com/ackwire/ackwire/embedded/internal/plan"
	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/kafkatest"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
)

// permitted is a broker that permits each user only what the role of the user's name needs.
type permitted struct {
	t     *testing.T
	s     *secured
	names topic.Names
	types string // file of job types
}

// Users; a worker's user has the name of its lane.
const (
	userGateway, userTracker, userCommands = "gateway", "tracker", "commands"
	webhooksLane, pythonLane               = topic.WebhookLane, "python"
)

// role returns the role of a user.
func (p *permitted) role(user string) topic.Role {
	switch user {
	case userGateway:
		return topic.RoleGateway
	case userTracker:
		return topic.RoleTracker
	case userCommands:
		return topic.RoleCommands
	}
	return topic.RoleProcessor
}

// grants returns all permissions of a user.
func (p *permitted) grants(user string) (all []kafkatest.Grant) {
	for _, a := range p.names.ACLs(p.role(user), []string{user}) {
		for _, op := range a.Operations {
			all = append(all, kafkatest.Grant{User: user, Resource: a.Resource, Name: a.Name, Prefixed: a.Prefixed,
				Operation: op})
		}
	}
	return all
}

// flags returns the flags by which a process is a user of the broker.
func (p *permitted) flags(user string, more ...string) []string {
	return append(more, "--kafka", p.s.broker.SASL, "--kafka-tls", "--kafka-tls-ca", filepath.Join(p.s.dir, "ca.pem"),
		"--kafka-sasl", "scram-sha-512", "--kafka-user", user,
		"--kafka-password-file", filepath.Join(p.s.dir, user+".password"))
}

// security is the same for a client in this process.
func (p *permitted) security(user string) kafka.Config {
	return kafka.Config{Brokers: []string{p.s.broker.SASL}, Security: kafka.Security{
		TLS: true, CAFile: filepath.Join(p.s.dir, "ca.pem"), SASL: "scram-sha-512", User: user,
		PasswordFile: filepath.Join(p.s.dir, user+".password"),
	}}
}

// service returns a process that is not started, as a user, and its arguments.
func (p *permitted) service(t *testing.T, user string) *proc {
	t.Helper()
	a := addrs(t, 2)
	verify := []string{"--topics", "verify", "--partitions", "2"}
	one := &proc{t: t, log: &tail{}, ready: "http://" + a[1] + "/readyz"}
	switch user {
	case userGateway:
		one.name, one.args = "gateway", p.flags(user, append(verify, "--listen", a[0], "--ops-listen", a[1],
			"--anonymous-tenant", "local", "--job-types", p.types, "--bulk=on")...)
	case userTracker:
		one.name, one.args = "tracker", p.flags(user, append(verify, "--tracker-listen", a[0], "--ops-listen", a[1],
			"--data", t.TempDir(), "--tracker-session-timeout", "6s")...)
	case webhooksLane:
		one.name, one.args = "processor", p.flags(user, append(verify, "--ops", a[1], "--lanes", user, "--webhooks",
			"--webhook-key-file", filepath.Join(p.s.dir, "webhook.key"), "--webhook-schemes", "http", "--webhook-ports", "0",
			"--webhook-allow", "127.0.0.0/8")...)
	default:
		one.name, one.args = "processor", p.flags(user, append(verify, "--ops", a[1], "--lanes", user, "--demo")...)
	}
	t.Cleanup(func() {
		if one.cmd != nil {
			one.kill()
		}
		if t.Failed() {
			t.Logf("%s as user %s printed at last:\n%s", one.name, user, one.log)
		}
	})
	return one
}

const permittedTypes = `
defaults: {lane: default, attempts: 3, backoff: {initial: 0.2s}, lease: 5s, retention: 1h}
types:
  demo.echo: {schema: {}, retention: 2s}
  demo.sleep: {schema: {}}
  demo.flaky: {schema: {}}
  demo.fail: {schema: {}}
  report.generate: {lane: reports, schema: {}}
  text.count: {lane: python, schema: {}}
`

// TestEachRoleNeedsExactlyItsPermissions runs all services on a broker with an authorizer. Each role has a user of its
// own, with the permissions that topic.ACLs lists for it.
func TestEachRoleNeedsExactlyItsPermissions(t *testing.T) {
	kafkatest.Require(t)
	p := &permitted{t: t, s: startSecured(t, kafkatest.Credentials{Authorize: true}),
		names: topic.Names{Prefix: topic.DefaultPrefix}, types: jobTypes(t, permittedTypes)}
	certstest.Write(t, filepath.Join(p.s.dir, "webhook.key"), []byte(strings.Repeat("k", 32)))
	admin, err := kgo.NewClient(kgo.SeedBrokers(p.s.broker.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for _, spec := range p.names.Specs([]string{"default", "reports", pythonLane}, 2) {
		if _, err := kafka.EnsureTopics(t.Context(), admin, kafka.Topic(spec)); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{userGateway, userTracker, userCommands, "default", "reports", webhooksLane, pythonLane} {
		p.s.broker.SetPassword(t, user, secretOf(user))
		certstest.Write(t, filepath.Join(p.s.dir, user+".password"), []byte(secretOf(user)+"\n"))
		p.s.broker.Grant(t, p.grants(user)...)
	}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"the whole system works", p.works},
		{"a stolen credential of a lane", p.stolen},
		{"each missing permission is named", p.eachMissing},
	} {
		began := time.Now()
		t.Run(step.name, step.run)
		t.Logf("%s: %s", step.name, time.Since(began).Round(100*time.Millisecond))
	}
}

// denials are what services print of permissions that they lack.
var denials = regexp.MustCompile(`(?i)[^\n]*(authoriz|permission missing)[^\n]*`)

// works has jobs of every kind of life, and a tracker's partitions taken over.
func (p *permitted) works(t *testing.T) {
	var all []*proc
	for _, user := range []string{userTracker, userTracker, userGateway, "default", "reports", webhooksLane} {
		one := p.service(t, user)
		one.start()
		all = append(all, one)
	}
	for _, one := range all {
		one.waitReady()
	}
	url := "http://" + all[2].args[indexOf(all[2].args, "--listen")+1]
	var hooks atomic.Int32
	endpoint := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hooks.Add(1) }))
	defer endpoint.Close()
	ctx, c := dial(t, url)
	submit := func(jobType string, payload any, opts ...ackwire.SubmitOption) *ackwire.Job {
		t.Helper()
		j, err := c.Submit(ctx, jobType, payload, opts...)
		if err != nil {
			t.Fatalf("%s: %v", jobType, err)
		}
		return j
	}
	ends := func(j *ackwire.Job, want job.State) {
		t.Helper()
		if s, err := j.Wait(ctx); err != nil || s.State != want {
			t.Errorf("job %s ended %s: %+v, %v", j.ID, s.State, s.Error, err)
		}
	}
	expires := submit("demo.echo", 1, ackwire.CallbackURL(endpoint.URL))
	later := submit("demo.sleep", map[string]any{"seconds": 0.1, "steps": 2}, ackwire.RunAt(time.Now().Add(time.Second)))
	cancelled := submit("demo.sleep", map[string]any{"seconds": 600})
	flaky, failed := submit("demo.flaky", map[string]any{"failures": 1}), submit("demo.fail", map[string]any{})
	report := submit("report.generate", map[string]any{"reportType": "sales", "from": "2026-01-01", "to": "2026-01-31"})
	ends(expires, job.Completed)
	ends(flaky, job.Completed)
	ends(report, job.Completed)
	ends(failed, job.Failed)
	if _, err := failed.Retry(ctx); err != nil {
		t.Errorf("retry: %v", err)
	}
	ends(failed, job.Failed)
	if _, err := cancelled.Cancel(ctx); err != nil {
		t.Errorf("cancel: %v", err)
	}
	ends(cancelled, job.Cancelled)
	ends(later, job.Completed)
	within(t, testWithin, "the webhook arrives", func() bool { return hooks.Load() > 0 })
	within(t, testWithin, "a job expires", func() bool {
		_, err := getJob(ctx, url, expires.ID)
		return errors.Is(err, ackwire.ErrNotFound)
	})

	all[0].kill()
	within(t, testWithin, "the other tracker has taken over", func() bool {
		for _, j := range []*ackwire.Job{flaky, report, failed} {
			if _, err := getJob(ctx, url, j.ID); err != nil {
				return false
			}
		}
		return true
	})
	var after *ackwire.Job
	within(t, testWithin, "the other tracker has taken over the partition of any job", func() bool {
		var err error
		after, err = c.Submit(ctx, "demo.sleep", map[string]any{"seconds": 0.1})
		return err == nil
	})
	ends(after, job.Completed)
	p.requeues(t)
	t.Run("a worker in Python", func(t *testing.T) {
		env := append(python(t), "KAFKA_TLS=1", "KAFKA_CA="+filepath.Join(p.s.dir, "ca.pem"), "KAFKA_SASL=SCRAM-SHA-512",
			"KAFKA_USER="+pythonLane, "KAFKA_PASSWORD_FILE="+filepath.Join(p.s.dir, pythonLane+".password"))
		startPython(t, env, p.s.broker.SASL, "snake")
		ends(submit("text.count", map[string]any{"text": "one two three"}), job.Completed)
	})
	for _, one := range all[1:] {
		_ = one.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, one := range all[1:] {
		_ = one.cmd.Wait()
	}
	for _, one := range all {
		if found := denials.FindString(one.log.String()); found != "" {
			t.Errorf("%s: %s", one.name, found)
		}
	}
}

func indexOf(all []string, one string) int {
	for i, s := range all {
		if s == one {
			return i
		}
	}
	return -1
}

// requeues has a record that is no request set aside, and writes it back by the command line.
func (p *permitted) requeues(t *testing.T) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(p.s.broker.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	rec := &kgo.Record{Topic: p.names.Requests("default"), Key: []byte("junk"), Value: []byte("junk")}
	if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
	dead := func(args ...string) (int, string) {
		return one(t, append(append([]string{"ackwire", "dead"}, args...), p.flags(userCommands)...)...)
	}
	within(t, startWithin, "the record is a dead letter", func() bool {
		code, out := dead("list")
		return code == 0 && strings.Contains(out, "0/0")
	})
	if code, out := dead("requeue", "0/0"); code != 0 || !strings.Contains(out, "is written to "+rec.Topic) {
		t.Errorf("requeue: exit code %d, %s", code, out)
	}
}

// stolen has the credential of the lane default: with it nobody reads what is of other lanes, or writes what is not
// a worker's. Only status keeps workers of different lanes not apart (docs/security.md).
func (p *permitted) stolen(t *testing.T) {
	cl, err := p.security("default").NewClient(service.OS(slog.New(slog.DiscardHandler)), "thief")
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	others := []string{p.names.Requests("reports"), p.names.Requests(webhooksLane), p.names.View(), p.names.Deferred()}
	for _, name := range append(others, p.names.Status(), p.names.Dead()) {
		reader, err := p.security("default").NewClient(service.OS(slog.New(slog.DiscardHandler)), "thief",
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: kgo.NewOffset().AtStart()}}))
		if err != nil {
			t.Fatal(err)
		}
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); !errors.Is(err, kerr.TopicAuthorizationFailed) || fetches.NumRecords() > 0 {
			t.Errorf("read %s: %d records, %v", name, fetches.NumRecords(), err)
		}
		reader.Close()
	}
	for _, name := range append(others, p.names.Control(), p.names.Requests("default")) {
		err := cl.ProduceSync(ctx, &kgo.Record{Topic: name, Value: []byte("forged")}).FirstErr()
		if !errors.Is(err, kerr.TopicAuthorizationFailed) {
			t.Errorf("write %s: %v", name, err)
		}
	}
	adm := kadm.NewClient(cl)
	group := p.names.ProcessorGroup("reports")
	committed := adm.FetchManyOffsets(ctx, group)
	if err := committed[group].Err; !errors.Is(err, kerr.GroupAuthorizationFailed) {
		t.Errorf("group of another lane: %v", err)
	}
	if topics, err := adm.ListTopics(ctx); err != nil || topics.Has(others[0]) {
		t.Errorf("it sees another lane's topic among %v, %v", topics.Names(), err)
	}
	// What the permissions can not prevent, and the documentation says.
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: p.names.Status(), Value: []byte("forged")}).FirstErr(); err != nil {
		t.Errorf("write status: %v", err)
	}
}

// eachMissing takes each permission of each role away, one at a time, and starts the role's process, which names it in
// one line and is not ready. With the first permission back it becomes ready without a restart.
func (p *permitted) eachMissing(t *testing.T) {
	for _, user := range []string{userGateway, userTracker, "default"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			for i, g := range p.grants(user) {
				p.missing(t, g, i == 0)
			}
		})
	}
	t.Run(userCommands, func(t *testing.T) {
		t.Parallel()
		for _, g := range p.grants(userCommands) {
			p.missingAtCommands(t, g)
		}
	})
}

// named returns how a missing grant is named. A permission for a prefix is named at one of its topics.
func named(g kafkatest.Grant) *regexp.Regexp {
	name := regexp.QuoteMeta(g.Name)
	if g.Prefixed {
		name += `[a-z.-]*`
	}
	return regexp.MustCompile(`permission missing: this process's user needs ` + g.Operation + ` on ` + g.Resource + ` ` +
		name + ` to `)
}

func (p *permitted) missing(t *testing.T, g kafkatest.Grant, mend bool) {
	p.s.broker.Revoke(t, g)
	one := p.service(t, g.User)
	one.start()
	defer one.kill()
	p.doctor(t, g)
	want := named(g)
	var body string
	await := time.Now().Add(startWithin)
	for !want.MatchString(body) {
		if time.Now().After(await) {
			t.Errorf("%s without %+v says at last: %s", one.name, g, body)
			break
		}
		var code int
		if code, body = get(one.ready); code == http.StatusOK {
			t.Errorf("%s is ready without %+v", one.name, g)
			break
		}
		settled(50 * time.Millisecond)
	}
	p.s.broker.Grant(t, g)
	if lines := want.FindAllString(one.log.String(), -1); len(lines) != 1 {
		t.Errorf("%s without %+v logs it %d times", one.name, g, len(lines))
	}
	if mend {
		one.waitReady()
	}
}

// doctor has ackwire doctor, as the user, name the missing grant and no other.
func (p *permitted) doctor(t *testing.T, g kafkatest.Grant) {
	t.Helper()
	types, err := jobtypes.Load(p.types)
	if err != nil {
		t.Error(err)
		return
	}
	what := plan.Plan{Names: p.names, Types: types, Lanes: []string{"default"}, Partitions: 2,
		Roles: []topic.Role{p.role(g.User)}}
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	var found []string
	doctor.Run(ctx, doctor.Config{Kafka: p.security(g.User), Plan: what,
		Env: service.OS(slog.New(slog.DiscardHandler))}, func(f doctor.Finding) {
		if f.Check == doctor.CheckPermission && f.State == doctor.Wrong {
			found = append(found, f.Subject+": "+f.Setting)
		}
	})
	subject := g.Resource + " " + g.Name
	if g.Prefixed {
		subject += "*"
	}
	if want := subject + ": " + g.Operation; len(found) != 1 || found[0] != want {
		t.Errorf("doctor finds %q, want %s", found, want)
	}
}

// settled returns after d.
func settled(d time.Duration) { <-time.After(d) }

// missingAtCommands asks as the commands do.
func (p *permitted) missingAtCommands(t *testing.T, g kafkatest.Grant) {
	p.s.broker.Revoke(t, g)
	defer p.s.broker.Grant(t, g)
	p.doctor(t, g)
	cl, err := p.security(userCommands).NewAdminClient(service.OS(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Error(err)
		return
	}
	defer cl.Close()
	var needed []kafka.Permission
	for _, a := range p.names.ACLs(topic.RoleCommands, nil) {
		needed = append(needed, kafka.Permission(a))
	}
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	var topics []string
	for _, s := range p.names.Specs([]string{"default"}, 1) {
		topics = append(topics, s.Name)
	}
	missing, err := kafka.Missing(ctx, cl, topics, needed...)
	if err != nil || len(missing) == 0 {
		t.Errorf("without %+v: %v, %v", g, missing, err)
	}
	for _, m := range missing {
		if !named(g).MatchString(m.Error()) {
			t.Errorf("without %+v: %v", g, m)
		}
	}
	if g.Name == p.names.Dead() {
		cmd := exec.Command(filepath.Join(binaries, "ackwire"), append([]string{"dead", "list"}, p.flags(userCommands)...)...)
		out, err := cmd.CombinedOutput()
		if err == nil || !named(g).Match(out) {
			t.Errorf("dead list without %+v: %v, %s", g, err, out)
		}
	}
}
