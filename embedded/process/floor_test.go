package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/internal/kafkatest"
)

// BenchmarkFloorOnKafka compares Ackwire with plain Kafka clients on one real broker, which both use in turns: over its
// plaintext listener, and over TLS with SCRAM. It prints the reports of `loadtest bench floor`. Run it by
// `make bench-kafka`, on a machine that does nothing else.
func BenchmarkFloorOnKafka(b *testing.B) {
	kafkatest.Require(b)
	loadtest := filepath.Join(b.TempDir(), "loadtest")
	build := exec.Command("go", "build", "-o", loadtest, "./loadtest/cmd/loadtest")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	s := startSecured(b, kafkatest.Credentials{})
	listeners := []struct {
		name  string
		flags []string
	}{
		{"plaintext", []string{"--kafka", s.broker.Brokers()[0]}},
		{"SASL_SSL", append([]string{"--kafka", s.broker.SASL}, s.flags()...)},
	}
	measure := func(name string, flags []string, more ...string) string {
		out, err := exec.CommandContext(b.Context(), loadtest,
			append(append([]string{"bench", "floor"}, flags...), more...)...).CombinedOutput()
		if err != nil {
			b.Fatalf("%s: %v\n%s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for b.Loop() {
		for _, l := range listeners { // a JVM that has just started is several times slower
			measure(l.name, l.flags, "--rate", "500", "--duration", "15s")
		}
		for _, rate := range []string{"200", "500"} {
			for _, l := range listeners {
				report := measure(l.name, l.flags, "--rate", rate, "--duration", "20s")
				fmt.Fprintf(os.Stdout, "\n%s, %s jobs/s\n%s\n", l.name, rate, report)
			}
		}
	}
}
