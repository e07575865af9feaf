package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// auditExamples are the records that schemas pins.
func auditExamples(t *testing.T) (all [][]byte) {
	t.Helper()
	for _, name := range []string{"erase", "grantMade"} {
		b, err := os.ReadFile("../../schemas/testdata/wire/audit." + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bytes.TrimSpace(b))
	}
	return all
}

// TestAudit prints the records of the topic, all or those asked for.
func TestAudit(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "ackwire.audit"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, value := range append(auditExamples(t), []byte("garbage\x1b[2J")) {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "ackwire.audit", Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string][]string{
		"": {
			"2026-02-02T09:31:00Z  erase      ok             acme/carol  019c1db0-01c0-7a54-9d8e-3f1b5c7a9e02  8c1d6f0e-",
			"2026-02-02T09:31:00Z  grantMade  ok             acme/carol  grant NCDYHPLS3EGJ5KQ2WXM7TBVRZ4  8c1d6f0e-",
		},
		"--json --job=019c1db0-01c0-7a54-9d8e-3f1b5c7a9e02": {`{"v":1,"at":"2026-02-02T09:31:00Z","deed":"erase"`},
		"--tenant=globex": nil,
		"--since=1s":      nil,
	} {
		var out, errs bytes.Buffer
		env := &Env{Context: ctx, Stdout: &out, Stderr: &errs}
		var cmds struct {
			Audit AuditCmd `cmd:""`
		}
		parser, err := kong.New(&cmds, kong.Name("ackwire"))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.Parse(append([]string{"audit", "--kafka", c.ListenAddrs()[0]}, strings.Fields(args)...))
		if err != nil {
			t.Fatal(err)
		}
		code := Report(env, parsed.Run(env))
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		ok := code == 0 && (len(lines) == len(want) || want == nil && out.Len() == 0)
		for i, w := range want {
			ok = ok && strings.HasPrefix(lines[i], w)
		}
		if !ok || !strings.Contains(errs.String(), "record 2") || strings.Contains(errs.String(), "\x1b") {
			t.Errorf("%q: exit code %d\n%s%s", args, code, out.String(), errs.String())
		}
	}
}

// TestAuditInPython shows the same records as a table, by the example in Python.
func TestAuditInPython(t *testing.T) {
	const program = `import sys; sys.path.insert(0, "../../tracker/examples/python"); import audit
print("\n".join(audit.table([audit.row(line) for line in sys.stdin])))`
	cmd := exec.CommandContext(t.Context(), "python3", "-B", "-c", program)
	cmd.Stdin = bytes.NewReader(append(bytes.Join(auditExamples(t), []byte("\n")), '\n'))
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[0], "at  ") ||
		!strings.Contains(lines[1], "erase      ok       acme/carol") || !strings.Contains(lines[1], "acme/alice") ||
		!strings.Contains(lines[2], "grantMade  ok       acme/carol") {
		t.Errorf("%v\n%s", err, out)
	}
}
