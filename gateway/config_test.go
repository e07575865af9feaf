package gateway

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// letsIn is a configuration that is right: the defaults and a key.
func letsIn() Config {
	c := Defaults()
	c.Auth.Key = testKey
	return c
}

func problemsOf(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// What the protocol's documentation and package frame say of a gateway's bounds is what the flags say.
func TestDefaultsAreThoseOfTheProtocol(t *testing.T) {
	d := Defaults()
	if d.FrameBytes != frame.MaxFrameBytes || d.InlinePayload != frame.MaxFrameBytes ||
		d.Subscriptions != frame.MaxSubscriptions || d.InFlightSubmits != frame.MaxInFlightSubmits ||
		d.TopicPrefix != topic.DefaultPrefix || d.Partitions != topic.DefaultPartitions || d.Auth.Issuer != auth.Issuer {
		t.Errorf("%+v", d)
	}
	if d.FrameBytes != 256<<10 || d.Subscriptions != 1000 || d.InFlightSubmits != 64 ||
		d.FirstFrame != 10*time.Second || d.PingInterval != 25*time.Second || d.Compression.On ||
		d.Listen != "127.0.0.1:8080" {
		t.Errorf("%+v", d)
	}
}

// No client is let in by default: that must be said.
func TestDefaultsNeedAKeyOrATenant(t *testing.T) {
	if got := problemsOf(Defaults().Validate()); len(got) != 1 || !strings.Contains(got[0], "no client could") {
		t.Errorf("neither: %q", got)
	}
	if err := letsIn().Validate(); err != nil {
		t.Errorf("a key: %v", err)
	}
	anonymous := Defaults()
	anonymous.Auth.AnonymousTenant = "local"
	if err := anonymous.Validate(); err != nil {
		t.Errorf("a tenant on loopback: %v", err)
	}
}

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	short, empty, long := write("short", strings.Repeat("k", auth.MinKeyBytes-1)), write("empty", ""),
		write("long", strings.Repeat("k", auth.MinKeyBytes))
	newline, pem := write("newline", strings.Repeat("k", auth.MinKeyBytes-1)+"\n"),
		write("pem", "-----BEGIN PUBLIC KEY-----\n"+strings.Repeat("k", 64)+"\n")
	types := write("types.yaml", "types:\n  a:\n    lease: 0\n")
	for _, c := range []struct {
		what   string
		change func(*Config)
		want   string // "": no problem
	}{
		{"nothing", func(*Config) {}, ""},
		{"no broker", func(c *Config) { c.Kafka = kafka.Config{} }, "kafka: at least one broker"},
		{"an empty broker", func(c *Config) { c.Kafka.Brokers = []string{"a:1", " "} }, "kafka: an empty broker address"},
		{"no prefix", func(c *Config) { c.TopicPrefix = "" }, "topic prefix"},
		{"a prefix with a slash", func(c *Config) { c.TopicPrefix = "a/b." }, "topic prefix"},
		{"no partitions", func(c *Config) { c.Partitions = 0 }, "partitions must be between 1 and 10000, not 0"},
		{"10,001 partitions", func(c *Config) { c.Partitions = 10_001 }, "partitions must be"},
		{"a tiny frame", func(c *Config) { c.FrameBytes = 1023 }, "frame-bytes must be between 1024"},
		{"the smallest frame", func(c *Config) { c.FrameBytes = 1024 }, ""},
		{"a huge frame", func(c *Config) { c.FrameBytes = 1<<20 + 1 }, "frame-bytes must be"},
		{"no subscriptions", func(c *Config) { c.Subscriptions = 0 }, "subscriptions must be"},
		{"no submits", func(c *Config) { c.InFlightSubmits = 0 }, "in-flight-submits must be"},
		{"no sessions", func(c *Config) { c.Sessions = 0 }, "sessions must be"},
		{"negative sessions", func(c *Config) { c.Sessions = -1 }, "sessions must be"},
		{
			"a short ping interval", func(c *Config) { c.PingInterval = time.Second - 1 },
			"ping-interval, first-frame and submit-timeout must be at least 1s",
		},
		{"a short first frame", func(c *Config) { c.FirstFrame = 0 }, "first-frame"},
		{"a short submit timeout", func(c *Config) { c.SubmitTimeout = time.Millisecond }, "submit-timeout"},
		{"no submit timeout of its own", func(c *Config) { c.SubmitTimeout = 0 }, ""},
		{
			"a submit timeout that is shorter than a slow produce",
			func(c *Config) { c.Kafka.Timeouts.Profile, c.SubmitTimeout = kafka.ProfileObjectStore, 2*time.Second },
			"submit-timeout (2s) must be at least kafka-produce-timeout (5s, kafka-profile=object-store)",
		},
		{
			"timeouts of Kafka that do not fit", func(c *Config) { c.Kafka.Timeouts.Delivery = 2 * time.Second },
			"kafka-delivery-timeout (2s) must be at least kafka-produce-timeout (1s)",
		},
		{"a slow Kafka", func(c *Config) { c.Kafka.Timeouts.Profile = kafka.ProfileObjectStore }, ""},
		{
			"a long submit timeout", func(c *Config) { c.SubmitTimeout = 20*time.Second + 1 },
			"submit-timeout must be at most 20s",
		},
		{"the longest submit timeout", func(c *Config) { c.SubmitTimeout = 20 * time.Second }, ""},
		{
			"the shortest",
			func(c *Config) { c.PingInterval, c.FirstFrame, c.SubmitTimeout = time.Second, time.Second, time.Second },
			"",
		},
		{"compression", func(c *Config) { c.Compression.On = true }, ""},
		{
			"compression of everything", func(c *Config) { c.Compression.Threshold = 127 },
			"compression-threshold must be between 128 and 1048576, not 127",
		},
		{"compression of nothing", func(c *Config) { c.Compression.Threshold = 1<<20 + 1 }, "compression-threshold must be"},
		{"compression of the most and the least", func(c *Config) { c.Compression = CompressionConfig{true, 128, 1} }, ""},
		{
			"compression for nobody", func(c *Config) { c.Compression.Sockets = 0 },
			"compression-sockets must be between 1 and 10000000, not 0",
		},
		{
			"room for no submit", func(c *Config) { c.Limits.SubmitBytes = 1 << 10 },
			"submit-bytes must be at least 278528, for the largest submit that is taken",
		},
		{"room for one submit", func(c *Config) { c.Limits.SubmitBytes = 278528 }, ""},
		{"no port", func(c *Config) { c.Listen = "127.0.0.1" }, "listen: "},
		{"every interface", func(c *Config) { c.Listen = ":8080" }, ""},

		{"a short key", func(c *Config) { c.Auth.Key = testKey[:31] }, "has 31 bytes, HS256 needs 32"},
		{"an empty key", func(c *Config) { c.Auth.Key = []byte{} }, "has 0 bytes"},
		{"a key file", func(c *Config) { c.Auth.Key, c.Auth.KeyFile = nil, long }, ""},
		{
			"a key file with a line's end that makes it long enough",
			func(c *Config) { c.Auth.Key, c.Auth.KeyFile = nil, newline }, "has 31 bytes",
		},
		{"a key file in PEM", func(c *Config) { c.Auth.Key, c.Auth.KeyFile = nil, pem }, "jwt-key-file: "},
		{"a short key file", func(c *Config) { c.Auth.Key, c.Auth.KeyFile = nil, short }, "has 31 bytes"},
		{"an empty key file", func(c *Config) { c.Auth.Key, c.Auth.KeyFile = nil, empty }, "has 0 bytes"},
		{
			"an empty key file beside a tenant",
			func(c *Config) { c.Auth.Key, c.Auth.KeyFile, c.Auth.AnonymousTenant = nil, empty, "local" },
			"has 0 bytes",
		},
		{"a missing key file", func(c *Config) { c.Auth.Key, c.Auth.KeyFile = nil, "missing.key" }, "jwt-key-file: "},
		{"a key before a missing file", func(c *Config) { c.Auth.KeyFile = "missing.key" }, ""},

		{"the console on an address that is none", func(c *Config) { c.ConsoleListen = "8083" }, "console-listen"},
		{
			"the console on every interface, without tokens",
			func(c *Config) { c.Auth.AnonymousTenant, c.ConsoleListen = "local", ":8083" }, "console-listen: with anonymous",
		},
		{"the console on loopback, without tokens", func(c *Config) {
			c.Auth.AnonymousTenant, c.ConsoleListen = "local", "localhost:8083"
		}, ""},
		{"anonymous on 127.0.0.1", func(c *Config) { c.Auth.AnonymousTenant = "local" }, ""},
		{"anonymous on 127.1.2.3", func(c *Config) { c.Auth.AnonymousTenant, c.Listen = "local", "127.1.2.3:8080" }, ""},
		{"anonymous on ::1", func(c *Config) { c.Auth.AnonymousTenant, c.Listen = "local", "[::1]:8080" }, ""},
		{"anonymous on localhost", func(c *Config) { c.Auth.AnonymousTenant, c.Listen = "local", "localhost:0" }, ""},
		{
			"anonymous on every interface", func(c *Config) { c.Auth.AnonymousTenant, c.Listen = "local", ":8080" },
			"only on a loopback listener, not on :8080",
		},
		{
			"anonymous on 0.0.0.0", func(c *Config) { c.Auth.AnonymousTenant, c.Listen = "local", "0.0.0.0:8080" },
			"only on a loopback listener",
		},
		{
			"anonymous on ::", func(c *Config) { c.Auth.AnonymousTenant, c.Listen = "local", "[::]:8080" },
			"only on a loopback listener",
		},
		{
			"anonymous on the network",
			func(c *Config) { c.Auth.AnonymousTenant, c.Listen = "local", "192.0.2.1:8080" }, "only on a loopback listener",
		},
		{
			"anonymous on a name",
			func(c *Config) { c.Auth.AnonymousTenant, c.Listen = "local", "localhost.example.com:8080" },
			"only on a loopback listener",
		},

		{"origins", func(c *Config) { c.AllowedOrigins = []string{"app.example.com", "*.example.com:8443", "*"} }, ""},
		{"an origin with its scheme", func(c *Config) { c.AllowedOrigins = []string{"https://app.example.com"} }, ""},
		{
			"an origin with a path", func(c *Config) { c.AllowedOrigins = []string{"https://app.example.com/"} },
			`allowed-origins: "https://app.example.com/"`,
		},
		{"an empty origin", func(c *Config) { c.AllowedOrigins = []string{""} }, `allowed-origins: ""`},
		{"an origin that is no pattern", func(c *Config) { c.AllowedOrigins = []string{"[a"} }, `allowed-origins: "[a"`},

		{"bad job types", func(c *Config) { c.JobTypes = types }, types + ":3: a: lease: "},
		{"missing job types", func(c *Config) { c.JobTypes = "missing.yaml" }, "missing.yaml"},
	} {
		cfg := letsIn()
		c.change(&cfg)
		got := problemsOf(cfg.Validate())
		if c.want == "" && got != nil || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: want %q, got %q", c.what, c.want, got)
		}
	}
}

// All problems are told at once.
func TestValidateJoinsAllProblems(t *testing.T) {
	c := Config{
		Listen: "here", Auth: auth.Config{AnonymousTenant: "local", KeyFile: "missing.key"},
		JobTypes: "missing.yaml", AllowedOrigins: []string{"a/b"},
	}
	got := strings.Join(problemsOf(c.Validate()), "\n")
	for _, want := range []string{
		"kafka:", "topic prefix", "partitions", "frame-bytes", "subscriptions", "in-flight-submits", "sessions",
		"compression-threshold", "compression-sockets",
		"ping-interval", "listen:", "missing.key", "anonymous-tenant", "allowed-origins", "missing.yaml",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing of %s in\n%s", want, got)
		}
	}
}

func TestLanesOfTheJobTypes(t *testing.T) {
	for want, of := range map[string][]string{
		"default reports webhooks": {"demo.echo", "report.generate"}, "default webhooks": {"demo.echo", "demo.sleep"},
		"webhooks": {"my.type"},
	} {
		if lanes, err := LanesOf("", of...); err != nil || strings.Join(lanes, " ") != want {
			t.Errorf("lanes of %q: got %q, %v", of, lanes, err)
		}
	}
	if _, err := LanesOf("missing.yaml"); err == nil {
		t.Error("a missing file was taken")
	}
}

func TestSignedTokensAreTaken(t *testing.T) {
	signed, err := SignToken(testKey, "alice", "s", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cfg := command.Defaults[auth.Config]()
	cfg.Key = testKey
	v, err := auth.New(cfg, certs.Env{Log: slog.New(slog.DiscardHandler)}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := v.Verify(signed)
	if err != nil || id.Tenant != "alice" || id.Subject != "s" {
		t.Errorf("got %+v, %v", id, err)
	}
}

// TestTheAckFollowsTheProfile: a submit may take as long as writing a record to Kafka, within what trackers expect.
func TestTheAckFollowsTheProfile(t *testing.T) {
	for profile, want := range map[string]time.Duration{
		"": 5 * time.Second, kafka.ProfileLocal: 5 * time.Second, kafka.ProfileRegional: 10 * time.Second,
		kafka.ProfileObjectStore: 20 * time.Second,
	} {
		cfg := Defaults()
		cfg.Kafka.Timeouts.Profile = profile
		bounds := cfg.Kafka.Bounds()
		if got := cfg.submitTimeout(); got != want || got < bounds.Delivery || got > job.MaxSubmit {
			t.Errorf("%q: a submit may take %s, want %s", profile, got, want)
		}
		cfg.SubmitTimeout = 7 * time.Second
		if got := cfg.submitTimeout(); got != 7*time.Second {
			t.Errorf("%q: it may take %s, and 7s is set", profile, got)
		}
	}
	cfg := Defaults()
	cfg.Kafka.Timeouts.Delivery = time.Minute
	if got := cfg.submitTimeout(); got != job.MaxSubmit {
		t.Errorf("with a delivery of a minute it may take %s", got)
	}
}
