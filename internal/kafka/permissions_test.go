package kafka

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/ackwire/ackwire/internal/service"
)

// permissions has one of each kind.
func permissions() []Permission {
	return []Permission{
		{resourceTopic, "p.log", false, []string{"Read", "Write", "DescribeConfigs"}, "fold events"},
		{resourceTopic, "p.requests.", true, []string{"Write"}, "hand jobs to workers"},
		{resourceGroup, "p.group", false, []string{"Read"}, "share partitions"},
		{resourceGroup, "p.worker.", true, []string{"Describe"}, "count workers"},
		{resourceTransactional, "p.view-", true, []string{"Write"}, "write the table"},
	}
}

// grants returns the permissions as a broker has them, without the one at index without.
func grants(t *testing.T, without int) (all []kfake.ACL, left string) {
	t.Helper()
	for _, p := range permissions() {
		resource, err := kmsg.ParseACLResourceType(p.Resource)
		if err != nil {
			t.Fatal(err)
		}
		pattern := kmsg.ACLResourcePatternTypeLiteral
		if p.Prefixed {
			pattern = kmsg.ACLResourcePatternTypePrefixed
		}
		for _, o := range p.Operations {
			operation, err := kmsg.ParseACLOperation(o)
			if err != nil {
				t.Fatal(err)
			}
			without--
			if without == -1 {
				left = o + " on " + p.Resource + " " + p.Name
				continue
			}
			acl := kfake.ACL{Resource: resource, Name: p.Name, Pattern: pattern, Operation: operation, Allow: true}
			all = append(all, acl)
		}
	}
	return all, left
}

// TestEachMissingPermissionIsNamed takes each permission away from a user in turn.
func TestEachMissingPermissionIsNamed(t *testing.T) {
	for without := -1; ; without++ {
		acls, left := grants(t, without)
		if without >= 0 && left == "" {
			break
		}
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "p.log", "p.requests.a", "p.requests.b"),
			kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "root", "r"),
			kfake.User("PLAIN", "svc", "s", acls...))
		if err != nil {
			t.Fatal(err)
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...),
			kgo.SASL(plain.Auth{User: "svc", Pass: "s"}.AsMechanism()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), local.Ask)
		k := NewKeeper(Topics{Mode: TopicsOff}, "tracker", service.Env{Log: slog.New(slog.DiscardHandler)})
		k.needed = permissions()
		err = k.Ensure(ctx, cl, Topic{Name: "p.log"}, Topic{Name: "p.requests.b"})
		switch {
		case left == "" && err != nil:
			t.Errorf("with all permissions: %v", err)
		case left != "" && err == nil:
			t.Errorf("without %s: nothing is said", left)
		case left != "":
			left = strings.Replace(left, "p.requests.", "p.requests.b", 1)
			if got := err.Error(); !strings.HasPrefix(got, "permission missing: this process's user needs "+left+" to ") ||
				strings.Contains(got, "; ") {
				t.Errorf("without %s: %s", left, got)
			}
		}
		cancel()
		cl.Close()
		cluster.Close()
	}
}

// Several missing permissions are one line.
func TestMissingPermissionsAreOneLine(t *testing.T) {
	err := Denials([]*Denied{
		{"Read", "topic", "a", "fold", nil}, {"Write", "topic", "b", "", nil},
	})
	want := "permission missing: this process's user needs Read on topic a to fold; needs Write on topic b"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if Denials(nil) != nil {
		t.Error("no missing permission is an error")
	}
}

// Without a check of topics' settings nobody needs to read them.
func TestUncheckedTopicsNeedNoDescribeConfigs(t *testing.T) {
	k := NewKeeper(Topics{Mode: TopicsOff}, "tracker", service.Env{Log: slog.New(slog.DiscardHandler)})
	k.Need(permissions()...)
	if slices.Contains(k.needed[0].Operations, "DescribeConfigs") || len(k.needed[0].Operations) != 2 {
		t.Errorf("%v", k.needed[0].Operations)
	}
}
