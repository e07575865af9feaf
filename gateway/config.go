// Package gateway is the edge: it takes jobs in from sockets and HTTP, acks them once they
// are durable, and carries their statuses back. It keeps no state but its sockets.
package gateway

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Config is what a gateway needs to know.
type Config struct {
	Kafka       kafka.Config `embed:""`
	TopicPrefix string       `help:"Prefix of all topics and consumer groups." default:"ackwire."`
	Partitions  int32        `help:"Partitions of topics that do not exist yet." default:"12"`
	Listen      string       `help:"Address for clients: WebSocket and HTTP." default:"127.0.0.1:8080"`

	Blobs         service.BlobStore `embed:""`
	InlinePayload int               `help:"Largest payload that travels in Kafka, in bytes; larger ones go through the blob store." default:"262144"`

	JobTypes string `help:"YAML file of job types; the demo types when empty." placeholder:"FILE"`

	Auth           auth.Config `embed:""`
	AllowedOrigins []string    `help:"Hosts, with * as a wildcard, whose pages may open a socket and use the HTTP API, besides the gateway's own." placeholder:"PATTERN"`

	Limits limits.Config `embed:""`

	Waiting WaitingConfig `embed:""`

	Compression CompressionConfig `embed:""`

	FrameBytes       int           `help:"Largest frame or body, in bytes." default:"262144"`
	Subscriptions    int           `help:"Jobs that one session may watch." default:"1000"`
	InFlightSubmits  int           `help:"Submits of one session that may wait for their ack." default:"64"`
	FrameRate        float64       `help:"Frames that one session may send per second, with bursts of twice as many." default:"500"`
	Sessions         int           `help:"Sockets that may be open." default:"50000"`
	Connections      int           `help:"Connections that may be open besides sockets, for HTTP and event streams." default:"20000"`
	Strangers        int           `help:"Connections and sockets on which nobody has proved yet who they are: above it, the one that has waited for longest is closed." default:"10000"`
	AddressStrangers int           `help:"Those of one address, or of one /64 of IPv6, that may wait. 0 sets no bound, as behind a load balancer." default:"1000"`
	HandshakeRate    float64       `help:"Sockets and event streams that are taken per second, with bursts of as many; more wait for their turn, and are told when to come back if that were long. 0 takes all at once." default:"2500"`
	PingInterval     time.Duration `help:"How often sockets are pinged; one that answers none is closed." default:"25s"`
	FirstFrame       time.Duration `help:"How long a socket without an identity may take to send auth." default:"10s"`
	DrainWait        time.Duration `help:"How long a gateway that is to stop goes on as before, but not ready, so that load balancers turn elsewhere." default:"0s"`
	SubmitTimeout    time.Duration `help:"Bound of one submit; after it the outcome is indeterminate." default:"5s"`
	TraceClients     bool          `help:"Sample a trace that a client sends (traceparent) when the client says so; else trace-ratio decides, as for those that begin here."`
}

// CompressionConfig says which sockets' frames are compressed.
type CompressionConfig struct {
	On        bool `name:"compression" help:"Let sockets have compression (permessage-deflate, RFC 7692) that ask for it, as browsers do. It saves bytes and costs processor time and memory."`
	Threshold int  `name:"compression-threshold" help:"Smallest frame to a client that is compressed, in bytes." default:"1024"`
	Sockets   int  `name:"compression-sockets" help:"Sockets that may have compression; those that come after do without. One that sends a compressed frame takes 45 KB while that is read, and keeps 4 KB." default:"10000"`
}

// Validate joins all problems of the configuration.
func (c Config) Validate() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	within := func(name string, v, low, high int) {
		if v < low || v > high {
			problem("%s must be between %d and %d, not %d", name, low, high, v)
		}
	}
	problems = append(problems, c.Kafka.Check(), topic.Names{Prefix: c.TopicPrefix}.Validate())
	if c.Blobs.URL != "" {
		problems = append(problems, blobs.CheckURL(c.Blobs.URL))
	}
	within("partitions", int(c.Partitions), 1, 10_000)
	within("frame-bytes", c.FrameBytes, 1<<10, 1<<20)
	within("inline-payload", c.InlinePayload, 1, 512<<10)
	within("subscriptions", c.Subscriptions, 1, 100_000)
	within("in-flight-submits", c.InFlightSubmits, 1, 10_000)
	within("sessions", c.Sessions, 1, 10_000_000)
	within("connections", c.Connections, 1, 10_000_000)
	within("strangers", c.Strangers, 1, 10_000_000)
	within("address-strangers", c.AddressStrangers, 0, 10_000_000)
	within("compression-threshold", c.Compression.Threshold, 128, 1<<20)
	within("compression-sockets", c.Compression.Sockets, 1, 10_000_000)
	if !(c.HandshakeRate == 0 || c.HandshakeRate >= 1 && c.HandshakeRate <= 1e6) {
		problem("handshake-rate must be 0, or between 1 and 1000000")
	}
	if !(c.FrameRate >= 1 && c.FrameRate <= 1e6) {
		problem("frame-rate must be between 1 and 1000000")
	}
	problems = append(problems, c.Limits.Validate(), c.Waiting.Validate())
	if c.DrainWait < 0 || c.DrainWait > 10*time.Minute {
		problem("drain-wait must be between 0 and 10m")
	}
	if c.PingInterval < time.Second || c.FirstFrame < time.Second || c.SubmitTimeout < time.Second {
		problem("ping-interval, first-frame and submit-timeout must be at least 1s")
	}
	if c.SubmitTimeout > job.MaxSubmit {
		problem("submit-timeout must be at most %s: a request that is older has no accepted any more", job.MaxSubmit)
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		problem("listen: %w", err)
	}
	problems = append(problems, c.Auth.Validate(c.Listen))
	for _, pattern := range c.AllowedOrigins {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" || strings.Contains(pattern, "/") {
			problem("allowed-origins: %q is not a host with or without a port, such as *.example.com:8443", pattern)
		}
	}
	types, err := jobtypes.Load(c.JobTypes)
	if err != nil {
		problems = append(problems, err)
	}
	for _, t := range types {
		if t.MaxPayload > c.InlinePayload && c.Blobs.URL == "" {
			problem("job type %s takes payloads of %d bytes: above inline-payload (%d) a blob store is needed, set blobs",
				t.Name, t.MaxPayload, c.InlinePayload)
		}
	}
	if largest := c.largestBody(types); c.Limits.SubmitBytes < largest {
		problem("submit-bytes must be at least %d, for the largest submit that is taken", largest)
	}
	return errors.Join(problems...)
}

// largestBody is the length of the largest body that a submit over HTTP may have, in bytes.
func (c Config) largestBody(types jobtypes.Set) int64 {
	return int64(max(c.FrameBytes, types.MaxPayload()) + bodyOverhead)
}

// SignToken makes a token that a gateway with the same key accepts for ttl. Without
// permissions it has those that gateways give by default.
func SignToken(key []byte, tenant, subject string, ttl time.Duration, permissions ...string) (string, error) {
	return auth.Sign(key, tenant, subject, time.Now(), ttl, permissions...)
}

// Defaults returns the configuration of a gateway that is given no flags, which is what the tags of
// Config say. It lets no client in: for that there is no default.
func Defaults() Config { return command.Defaults[Config]() }

// TypesOf are the names of the job types in a file, sorted; an empty name means the built-in file.
func TypesOf(jobTypes string) ([]string, error) {
	types, err := jobtypes.Load(jobTypes)
	return slices.Sorted(maps.Keys(types)), err
}

// LanesOf are the lanes of the named job types, as a file of job types has them, and that of
// webhooks; an empty name means the built-in file.
func LanesOf(jobTypes string, names ...string) ([]string, error) {
	types, err := jobtypes.Load(jobTypes)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(types, func(name string, _ *jobtypes.Type) bool { return !slices.Contains(names, name) })
	return types.Lanes(), nil
}
