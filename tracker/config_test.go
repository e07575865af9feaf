package tracker

import (
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/kafka"
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
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	c := good
	c.Listen, c.Advertise = ":8090", "tracker-1:8090"
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Data, c.Partitions = "", 0
	if err := c.Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %v, want both problems", err)
	}
}
