package processor

import (
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	p, err := New(Config{}, quiet())
	if err != nil {
		t.Fatalf("the zero configuration: %v", err)
	}
	if p.cfg.Slots != 64 || p.cfg.Grace != 10*time.Second || p.names.Prefix != "ackwire." || p.WorkerID() == "" {
		t.Errorf("defaults are %+v", p.cfg)
	}
	bad := Config{
		Brokers: []string{" "}, TopicPrefix: "a b", Partitions: -1,
		Lanes: []string{"A", "x", "x"}, Slots: -1, WorkerID: "two words", ProgressRate: 1e6,
		ResultLimit: 1 << 30, Grace: -1,
	}
	_, err = New(bad, quiet())
	if err == nil {
		t.Fatal("accepted")
	}
	for _, word := range []string{"broker", "prefix", "partitions", `"A"`, "twice", "slots", "worker-id", "progress-rate",
		"result-limit", "grace"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in %q", word, err)
		}
	}
}
