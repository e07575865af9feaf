package tracker

import (
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/peers"
)

func TestConfigValidate(t *testing.T) {
	good := Config{Kafka: kafka.Config{Brokers: []string{"b:9092"}}, TopicPrefix: "p.", Partitions: 12,
		Data: "data", Settings: command.Defaults[Settings]()}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"at least one broker":                     func(c *Config) { c.Kafka.Brokers = nil },
		"topic prefix":                            func(c *Config) { c.TopicPrefix = "no/slash" },
		"partitions must be between":              func(c *Config) { c.Partitions = 0 },
		"tracker-listen: ":                        func(c *Config) { c.Listen = "8090" },
		`tracker-listen ":8090" means all`:        func(c *Config) { c.Listen = ":8090" },
		`tracker-listen "0.0.0.0:8090" means all`: func(c *Config) { c.Listen = "0.0.0.0:8090" },
		`tracker-listen "[::]:8090" means all`:    func(c *Config) { c.Listen = "[::]:8090" },
		`host:port, not "tracker-1"`:              func(c *Config) { c.Advertise = "tracker-1" },
		"data must name a folder":                 func(c *Config) { c.Data = "" },
		"tracker-session-timeout must be betwee":  func(c *Config) { c.SessionTimeout = time.Second },
		"tracker-session-timeout (10s) must be more than twice kafka-request-timeout (5s, kafka-profile=object-store)": func(
			c *Config) {
			c.Kafka.Timeouts.Profile, c.SessionTimeout = kafka.ProfileObjectStore, 10*time.Second
		},
		"kafka-profile must be one of": func(c *Config) { c.Kafka.Timeouts.Profile = "fast" },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	c := good
	c.Listen, c.Advertise, c.Internal.KeyFile = ":8090", "tracker-1:8090", "secret"
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Data, c.Partitions = "", 0
	if err := c.Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %v, want both problems", err)
	}
}

// TestWhoMayStartBeyondLoopback checks that a tracker that others can reach starts only if it knows its callers, or if
// that was given up in words.
func TestWhoMayStartBeyondLoopback(t *testing.T) {
	const refused = "set internal-key-file, or internal-tls-cert, internal-tls-key and internal-tls-ca"
	for _, c := range []struct {
		listen   string
		internal peers.Config
		want     string // "" if it may start
	}{
		{"127.0.0.1:8090", peers.Config{}, ""},
		{"[::1]:8090", peers.Config{}, ""},
		{"localhost:8090", peers.Config{}, ""},
		{":8090", peers.Config{}, refused},
		{"0.0.0.0:8090", peers.Config{}, refused},
		{"10.0.0.7:8090", peers.Config{}, refused},
		{"tracker-1:8090", peers.Config{}, refused},
		{":8090", peers.Config{Cert: "c", Key: "k"}, refused}, // encrypted, for anybody
		{":8090", peers.Config{CA: "ca"}, refused},
		{":8090", peers.Config{Cert: "c", Key: "k", CA: "ca"}, ""},
		{":8090", peers.Config{KeyFile: "s"}, ""},
		{":8090", peers.Config{Insecure: true}, ""},
		{"127.0.0.1:8090", peers.Config{Cert: "c"}, "internal-tls-cert and internal-tls-key must be set together"},
		{"127.0.0.1:8090", peers.Config{Key: "k"}, "internal-tls-cert and internal-tls-key must be set together"},
	} {
		cfg := Config{Kafka: kafka.Config{Brokers: []string{"b:9092"}}, TopicPrefix: "p.", Partitions: 12,
			Data: "data", Settings: command.Defaults[Settings](), Internal: c.internal}
		cfg.Listen, cfg.Advertise = c.listen, "tracker-1:8090"
		err := cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: %v, want %q", c.listen, c.internal, err, c.want)
		}
	}
}
