package serve

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// TestDocumentedDefaultsAreTheDefaults: the command line's defaults are those of a program.
func TestDocumentedDefaultsAreTheDefaults(t *testing.T) {
	var flags Settings
	parser, err := kong.New(&flags)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	if !flags.onOwnBroker() {
		t.Errorf("without --kafka the brokers are %q", flags.Gateway.Kafka.Brokers)
	}
	d := DefaultSettings()
	if !reflect.DeepEqual(flags, d) {
		t.Errorf("flags say\n%+v, DefaultSettings\n%+v", flags, d)
	}
	// What the pages tell, and what is other here than where a service runs alone.
	if d.Broker.Data != "data" || d.Broker.Listen != "127.0.0.1:9092" || d.Gateway.Listen != "127.0.0.1:8080" ||
		d.OpsListen != "127.0.0.1:8081" || d.Tracker.Listen != "127.0.0.1:8090" || d.Worker.Grace != 5*time.Second ||
		d.Worker.Slots != 64 || !reflect.DeepEqual(d.Webhooks.Ports, []uint16{443}) {
		t.Errorf("%+v", d)
	}
}

// TestWhoIsLetIn checks that without a token only clients on loopback are let in, and none when keys were configured.
func TestWhoIsLetIn(t *testing.T) {
	for _, c := range []struct {
		what, listen string
		set          func(*Settings)
		want         string // the tenant of clients without a token
	}{
		{"loopback", "127.0.0.1:8080", func(*Settings) {}, AnonymousTenant},
		{"the network", "0.0.0.0:8080", func(*Settings) {}, ""},
		{"a tenant of one's own", "localhost:8080", func(s *Settings) { s.Gateway.Auth.AnonymousTenant = "dev" }, "dev"},
		{"a key", "127.0.0.1:8080", func(s *Settings) { s.Gateway.Auth.KeyFile = "key" }, ""},
		{"a provider", "127.0.0.1:8080", func(s *Settings) { s.Gateway.Auth.JWKSURL = "https://id.example/keys" }, ""},
		{"a provider, and a tenant", "127.0.0.1:8080", func(s *Settings) {
			s.Gateway.Auth.JWKSURL, s.Gateway.Auth.AnonymousTenant = "https://id.example/keys", "dev"
		}, "dev"},
	} {
		e := System{cfg: DefaultSettings()}
		e.cfg.Broker.Data, e.cfg.Gateway.Listen = t.TempDir(), c.listen
		c.set(&e.cfg)
		named := e.cfg.Gateway.Auth.HasKeys()
		if err := e.share(); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		auth := e.cfg.Gateway.Auth
		if auth.AnonymousTenant != c.want || !auth.HasKeys() || named && auth.Key != nil {
			t.Errorf("%s: clients without a token are %q, with a key of our own: %v", c.what, auth.AnonymousTenant,
				auth.Key != nil)
		}
	}
}

// TestHandlersNeedAProcessor: a handler that nothing could run is refused.
func TestHandlersNeedAProcessor(t *testing.T) {
	s := DefaultSettings()
	s.Handlers.Type = map[string]string{"text.count": "wc -c"}
	if err := s.Validate(); err != nil {
		t.Errorf("with a processor: %v", err)
	}
	s.NoProcessor = true
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "no-processor: ") {
		t.Errorf("without one: %v", err)
	}
}

// TestAKafkaOfOnesOwn: when brokers are configured, the process starts no embedded broker.
func TestAKafkaOfOnesOwn(t *testing.T) {
	var flags Settings
	parser, err := kong.New(&flags)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"--kafka=a:9092,b:9092"}); err != nil {
		t.Fatal(err)
	}
	if got := flags.Gateway.Kafka.Brokers; flags.onOwnBroker() || !reflect.DeepEqual(got, []string{"a:9092", "b:9092"}) {
		t.Errorf("--kafka=a:9092,b:9092 gives %q", got)
	}
}

// TestValidateTellsEveryPart: what is wrong with any part's settings is told before anything is started, and once.
func TestValidateTellsEveryPart(t *testing.T) {
	if err := DefaultSettings().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	s := DefaultSettings()
	s.Broker.Data, s.Broker.Advertise = "", "nowhere"
	s.Gateway.Partitions, s.Tracker.Advertise, s.Worker.Slots = 0, "nowhere", -1
	s.Webhooks.Schemes = []string{"gopher"}
	err := s.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"data must", "kafka-advertise", "partitions", "tracker-advertise", "slots",
		"webhook-schemes"} {
		if n := strings.Count(err.Error(), name); n != 1 {
			t.Errorf("%s is told %d times in:\n%v", name, n, err)
		}
	}
	t.Log(err)
}

// TestNoAnonymousIsClear checks that no-anonymous and anonymous-tenant are not given together.
func TestNoAnonymousIsClear(t *testing.T) {
	s := DefaultSettings()
	s.NoAnonymous = true
	if err := s.Validate(); err != nil {
		t.Errorf("alone: %v", err)
	}
	s.Gateway.Auth.AnonymousTenant = "local"
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "no-anonymous") {
		t.Errorf("with a tenant: %v", err)
	}
}
