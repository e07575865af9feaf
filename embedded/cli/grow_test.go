package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// runTopics runs `ackwire topics` with arguments.
func runTopics(t *testing.T, brokers []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	env := &Env{Context: ctx, Stdout: &out, Stderr: &errs}
	var cmds struct {
		Topics TopicsCmd `cmd:""`
	}
	parser, err := kong.New(&cmds, kong.Name("ackwire"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(append([]string{"topics"}, append(args, "--kafka", strings.Join(brokers, ","))...))
	if err != nil {
		return Report(env, err), out.String(), errs.String()
	}
	code = Report(env, parsed.Run(env))
	return code, out.String(), errs.String()
}

func TestTopicsOfRequestsGrow(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "ackwire.requests.default",
		"ackwire.requests.slow", "ackwire.status", "other.requests.default"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	worker, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("ackwire.requests.slow"),
		kgo.ConsumerGroup("ackwire.processor.slow"), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.MetadataMaxAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	want := func(topics map[string]int) {
		t.Helper()
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		have, err := kadm.NewClient(cl).ListTopics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range topics {
			if len(have[name].Partitions) != n {
				t.Errorf("%s has %d partitions, want %d", name, len(have[name].Partitions), n)
			}
		}
	}
	for _, step := range []struct {
		args []string
		code int
		out  []string
	}{
		{[]string{"--requests", "0"}, 2, nil},
		{[]string{"--requests", "5", "--dry-run"}, 0, []string{
			"topic ackwire.requests.default has 3 partitions and would get 5\n",
			"topic ackwire.requests.slow has 3 partitions and would get 5\n"}},
		{[]string{"--requests", "5", "--lane", "none"}, 2, []string{"topic ackwire.requests.none does not exist\n"}},
		{[]string{"--requests", "5", "--topic-prefix", "nobody."}, 2, []string{"there is no topic nobody.requests.LANE"}},
		{[]string{"--requests", "4", "--lane", "default"}, 0, []string{
			"topic ackwire.requests.default had 3 partitions and now has 4; 0 workers share 0 of them\n"}},
		{[]string{"--requests", "3"}, 2, []string{"has 4 partitions already, and Kafka cannot remove any\n"}},
		{[]string{"--requests", "5"}, 0, []string{"had 4 partitions and now has 5; 0 workers",
			"topic ackwire.requests.slow had 3 partitions and now has 5; 1 workers share 5 of them\n"}},
		{[]string{"--requests", "5", "--json"}, 0, []string{
			`{"topic":"ackwire.requests.slow","from":5,"to":5,"workers":1,"assigned":5}`}},
	} {
		code, out, errs := runTopics(t, c.ListenAddrs(), append([]string{"grow"}, step.args...)...)
		if code != step.code {
			t.Errorf("%q: exit code %d, want %d: %s%s", step.args, code, step.code, out, errs)
		}
		for _, text := range step.out {
			if !strings.Contains(out+errs, text) {
				t.Errorf("%q printed %q, want %q", step.args, out+errs, text)
			}
		}
	}
	want(map[string]int{"ackwire.requests.default": 5, "ackwire.requests.slow": 5, "ackwire.status": 3,
		"other.requests.default": 3})
}
