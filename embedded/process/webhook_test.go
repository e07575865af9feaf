package process

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/job"
)

// receiver starts the example's endpoint, which verifies with a public library.
func receiver(t *testing.T, env []string) (p *proc, port string) {
	t.Helper()
	p = &proc{t: t, name: "webhook.py", log: &tail{}}
	p.cmd = exec.Command("python3", filepath.Join(exampleDir, "webhook.py"))
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("webhook.py printed at last:\n%s", p.log)
		}
	})
	within(t, startWithin, "the endpoint listens", func() bool {
		_, rest, found := strings.Cut(p.log.String(), "listens on ")
		port, _, _ = strings.Cut(rest, "\n")
		return found && strings.Contains(rest, "\n")
	})
	return p, port
}

// TestWebhooksAreVerifiedElsewhere: an endpoint in another language refuses a webhook, the
// server is killed, and the webhook arrives after its restart: signed, once, with its log.
func TestWebhooksAreVerifiedElsewhere(t *testing.T) {
	env := python(t)
	a, data := addrs(t, 4), t.TempDir()
	allowed := []string{"--webhook-schemes", "http", "--webhook-ports", "0", "--webhook-allow", "127.0.0.0/8"}
	server := start(t, "ackwire", a[1], append(serveArgs(data, a), allowed...)...)
	code, secret := one(t, "ackwire", "webhook-secret", "--data", data, "--tenant", "local")
	if code != 0 || !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("webhook-secret: exit %d, %s", code, secret)
	}
	endpoint, port := receiver(t, append(env, "SECRET="+strings.TrimSpace(secret), "REFUSE=1"))
	ctx, c := dial(t, "http://"+a[0])
	j, err := c.Submit(ctx, "demo.echo", 1, ackwire.CallbackURL("http://127.0.0.1:"+port+"/hook"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := j.Wait(ctx); err != nil || s.State != job.Completed {
		t.Fatalf("%s, %v", s.State, err)
	}
	within(t, testWithin, "the first try is refused", func() bool {
		return strings.Contains(endpoint.log.String(), "refused")
	})
	server.kill()
	server.start()
	server.waitReady()
	within(t, testWithin, "it arrives", func() bool {
		return strings.Contains(endpoint.log.String(), "verified job.completed "+j.ID)
	})
	within(t, testWithin, "the delivery log says so", func() bool {
		_, out := one(t, "ackwire", "deliveries", "--url", "http://"+a[0], j.ID)
		return strings.Contains(out, "job.completed") && strings.Contains(out, "completed  2/12")
	})
	if out := endpoint.log.String(); strings.Contains(out, "not verified") ||
		strings.Count(out, "verified job.completed") != 1 {
		t.Errorf("the endpoint saw:\n%s", out)
	}
	// Without the allowance an address of this machine is never called.
	server.kill()
	start(t, "ackwire", a[1], serveArgs(data, a)...)
	j, err = c.Submit(ctx, "demo.echo", 2, ackwire.CallbackURL("https://127.0.0.1/hook"))
	if err != nil {
		t.Fatal(err)
	}
	within(t, testWithin, "the guard refuses it for good", func() bool {
		_, out := one(t, "ackwire", "deliveries", "--url", "http://"+a[0], j.ID)
		return strings.Contains(out, "failed") && strings.Contains(out, "webhook_blocked")
	})
	if code, out := one(t, "ackwire", "list", "--url", "http://"+a[0]); code != 0 ||
		strings.Contains(out, "ackwire.webhook") {
		t.Errorf("webhooks stand among the jobs: %s", out)
	}
	if code, out := one(t, "ackwire", "list", "--type", "ackwire.webhook", "--url", "http://"+a[0]); code != 0 ||
		strings.Count(out, "ackwire.webhook") != 2 {
		t.Errorf("asked for, webhooks are not listed: %s", out)
	}
}
