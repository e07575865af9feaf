package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/topic"
)

// brokerProcess runs a broker and returns its address.
func brokerProcess(t *testing.T) string {
	t.Helper()
	broker := process(t, "broker", "--data="+filepath.Join(t.TempDir(), "kafka"), "--listen=127.0.0.1:0")
	stderr, err := broker.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = broker.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, stderr)
		_ = broker.Wait()
	})
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if _, after, ok := strings.Cut(lines.Text(), "address="); ok {
			return strings.Fields(after)[0]
		}
	}
	t.Fatal("the broker has ended")
	return ""
}

// ready returns what a process says of itself.
func ready(ops string) (status int, why string) {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + ops + "/readyz")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// becomes waits until a process says of itself what is wanted.
func becomes(t *testing.T, ops string, status int, why string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(endsWithin / 2); ; <-tick.C {
		got, text := ready(ops)
		if got == status && strings.Contains(text, why) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("readyz answers %d: %s", got, text)
		}
	}
}

// TestVerify runs all services on topics that somebody else makes. They make none, say what is missing, and start by
// themselves when the topics are there; doctor says the same.
func TestVerify(t *testing.T) {
	at := brokerProcess(t)
	// The broker's catalog has no topics yet.
	if code, out, stderr := run(t, "doctor", "--kafka", at, "--role=tracker"); code != 1 ||
		!strings.Contains(out, "topic ackwire.status: does not exist") {
		t.Errorf("doctor: exit code %d\n%s%s", code, out, stderr)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opsAt := free.Addr().String()
	_ = free.Close()
	serve := process(t, "serve", "--kafka="+at, "--topics=verify", "--data="+t.TempDir(), "--listen=127.0.0.1:0",
		"--ops-listen="+opsAt, "--tracker-listen=127.0.0.1:0", "--tracker-no-view")
	var said strings.Builder
	serve.Stderr = &said
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			_ = serve.Process.Kill()
			_ = serve.Wait()
			t.Log(said.String())
		}
	}()
	becomes(t, opsAt, http.StatusServiceUnavailable, "topic ackwire.status does not exist")

	cl, err := kgo.NewClient(kgo.SeedBrokers(at))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), endsWithin)
	defer cancel()
	for _, s := range (topic.Names{Prefix: topic.DefaultPrefix}).Specs([]string{"default", "reports"}, 12) {
		if _, err := kafka.EnsureTopics(ctx, cl, kafka.Topic(s)); err != nil {
			t.Fatal(err)
		}
	}
	becomes(t, opsAt, http.StatusOK, "")
	if code, out, stderr := run(t, "doctor", "--kafka", at); code != 0 {
		t.Errorf("doctor: exit code %d\n%s%s", code, out, stderr)
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := serve.Wait(); err != nil {
		t.Error(err)
	}
}

// What is printed goes to stdout, and wrong usage ends with exit code 2 and one line.
func TestTopicsArePrinted(t *testing.T) {
	for what, want := range map[string]string{"table": "ackwire.status\n", "strimzi": "kind: KafkaUser\n",
		"kafka-topics": "kafka-topics.sh --bootstrap-server b:1 --create", "terraform": `resource "kafka_topic"`,
		"acls": "--allow-principal User:gw --topic ackwire.status --operation Write"} {
		code, out, stderr := run(t, "topics", "--print", what, "--kafka=b:1", "--principal", "gateway=User:gw")
		if code != 0 || !strings.Contains(out, want) || stderr != "" {
			t.Errorf("%s: exit code %d %s\n%s", what, code, stderr, out)
		}
	}
	for _, bad := range [][]string{{"--print=xml"}, {"--partitions=0"}, {"--role=boss"}, {"--principal=gateway=x"},
		{"--job-types=/nowhere"}, {"--topic-settings=status.cleanup.policy=compact"}, {"--topic-prefix=ä"}} {
		code, out, stderr := run(t, append([]string{"topics"}, bad...)...)
		if code != 2 || out != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit code %d\n%s%s", bad, code, out, stderr)
		}
	}
}
