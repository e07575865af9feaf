package cli

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/embedded/internal/doctor"
	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/schemas/topic"
)

// What the command makes is all that the doctor looks for: topics and the permissions of each role's user. To repeat it
// changes nothing.
func TestTopicsApply(t *testing.T) {
	e := newExamined(t, "ackwire-gateway", "ackwire-tracker", "ackwire-processor-reports", "ackwire-cli")
	file := filepath.Join(t.TempDir(), "password")
	certstest.Write(t, file, []byte("secret\n"))
	login := func(user string) []string {
		return []string{"--kafka", strings.Join(e.cluster.ListenAddrs(), ","), "--kafka-sasl", "plain", "--kafka-user", user,
			"--kafka-password-file", file, "--lanes", "reports,webhooks"}
	}
	for i := range 2 {
		code, _, stderr := runCommand(t,
			slices.Concat([]string{"topics", "apply", "--replication", "1"}, login("admin"))...)
		made, given := strings.Count(stderr, " is made"), strings.Count(stderr, "permissions of the")
		if code != 0 || made != 10-10*i || given != 5 {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
	}
	for role, user := range map[topic.Role]string{
		topic.RoleGateway: "ackwire-gateway", topic.RoleTracker: "ackwire-tracker",
		topic.RoleProcessor: "ackwire-processor-reports", topic.RoleCommands: "ackwire-cli",
	} {
		e.flags = login(user)
		if role == topic.RoleProcessor {
			e.flags[len(e.flags)-1] = "reports"
		}
		code, found, stderr := e.examine("--role", string(role), "--replication", "1")
		if wrong := with(found, doctor.Wrong); code != 0 || wrong != "" {
			t.Errorf("%s: exit code %d %s\n%s", role, code, stderr, wrong)
		}
	}
}

// A user who may not make topics is told so.
func TestTopicsApplyNeedsAnAdministrator(t *testing.T) {
	e := newExamined(t, "svc")
	file := filepath.Join(t.TempDir(), "password")
	certstest.Write(t, file, []byte("secret\n"))
	code, _, stderr := runCommand(t, "topics", "apply", "--kafka", strings.Join(e.cluster.ListenAddrs(), ","),
		"--kafka-sasl", "plain", "--kafka-user", "svc", "--kafka-password-file", file)
	if code == 0 || !strings.Contains(stderr, "svc may not make topics and permissions") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
