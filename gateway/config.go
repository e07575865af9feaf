package gateway

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/gateway/api"
	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/console/login"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/origin"
	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/peers"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Values of Config.Audit.
const (
	AuditOn  = "on"
	AuditOff = "off"
)

// Values of Config.AckQueue.
const (
	AckQueueRounded = "rounded"
	AckQueueExact   = "exact"
	AckQueueOff     = "off"
)

// Values of BulkConfig.Mode.
const (
	BulkAuto = "auto"
	BulkOn   = "on"
	BulkOff  = "off"
)

// Config holds the settings of a gateway.
type Config struct {
	Kafka        kafka.Config `embed:""`
	Topics       kafka.Topics `embed:""`
	TopicPrefix  string       `help:"Prefix of all topics and consumer groups." default:"ackwire."`
	Partitions   int32        `help:"Number of partitions of topics that this process makes. All processes must have the same number: existing topics are compared with it, status and view exactly, while those of requests may have more." default:"12"`
	FormerPrefix string       `name:"former-topic-prefix" help:"Prefix of topics from which jobs move to topic-prefix, to have more partitions: its jobs are found here too, and it gets new jobs until 'ackwire topics grow --close'." placeholder:"PREFIX"`
	Listen       string       `help:"Address for clients: WebSocket and HTTP." default:"127.0.0.1:8080"`

	// Console also serves the console on Listen. Only a program that starts everything sets it.
	Console       bool   `kong:"-"`
	ConsoleListen string `help:"Address of a listener of its own for the console, a web page for operators, at /console. It also has the API, which the page uses with the operator's token. Without it there is none." placeholder:"HOST:PORT"`

	ConsoleLogin login.Config `embed:"" prefix:"console-oidc-"`

	Cert string `name:"tls-cert" help:"Certificate, with its chain, in PEM, by which the listener for clients speaks TLS. It is read again when it changes." placeholder:"FILE"`
	Key  string `name:"tls-key" help:"Private key of tls-cert, in PEM." placeholder:"FILE"`

	Blobs         service.BlobStore `embed:""`
	InlinePayload int               `help:"Largest payload that is stored in Kafka, in bytes. Larger ones are stored in the blob store." default:"262144"`

	JobTypes string `help:"YAML file that declares the job types; without it there are the demo types." placeholder:"FILE"`

	Auth           auth.Config `embed:""`
	AllowedOrigins []string    `help:"Origins whose pages may open a socket and use the HTTP API, such as https://app.example or https://*.app.example:8443; * alone means all. Without a scheme http and https are meant, without a port the scheme's own; a port * means any. Pages of the gateway's own host always may." placeholder:"ORIGIN"`

	IDKeyFile string `name:"id-key-file" help:"File with the secret from which the IDs of jobs with an idempotency key are made, a line of at least 32 bytes; all gateways need the same. A second line is the secret of before or after a change, whose jobs are found by their keys, too; the word none is IDs without a secret. Read again when it changes. Without it such IDs have no secret." placeholder:"FILE"`

	Internal peers.Config `embed:""`

	Limits limits.Config `embed:""`

	Bulk BulkConfig `embed:""`

	Waiting WaitingConfig `embed:""`

	Compression CompressionConfig `embed:""`

	FrameBytes       int           `help:"Largest frame or body, in bytes." default:"262144"`
	Subscriptions    int           `help:"Jobs that one session may watch." default:"1000"`
	InFlightSubmits  int           `help:"Submits of one session that may wait for their acks. A batch counts as one." default:"64"`
	FrameRate        float64       `help:"Frames that one session may send per second, with bursts of twice as many." default:"500"`
	Sessions         int           `help:"Sockets that may be open at the same time." default:"50000"`
	Connections      int           `help:"Connections for HTTP and event streams that may be open at the same time." default:"20000"`
	Strangers        int           `help:"Connections and sockets whose client has not authenticated yet. Above it the oldest of them is closed." default:"10000"`
	AddressStrangers int           `help:"Connections and sockets of one address (one /64 in IPv6) whose client has not authenticated yet. 0 means no bound; use that behind a load balancer." default:"1000"`
	HandshakeRate    float64       `help:"Sockets and event streams that are accepted per second, with bursts of as many. More wait for up to a second, and beyond that are refused with a time to come back. 0 means no bound." default:"2500"`
	PingInterval     time.Duration `help:"Interval of pings to sockets. A socket that does not answer a ping is closed." default:"25s"`
	FirstFrame       time.Duration `help:"How long a socket without a token in its handshake may take to send its auth frame." default:"10s"`
	DrainWait        time.Duration `help:"How long a gateway that is told to stop goes on to serve while it reports that it is not ready, so that load balancers stop using it." default:"0s"`
	SubmitTimeout    time.Duration `help:"Longest time for a submit. After it the answer is indeterminate. By default kafka-delivery-timeout, which is 5s unless kafka-profile or that flag says otherwise." placeholder:"DURATION"`
	Audit            string        `help:"Whether the topic audit records who made grants, ordered others' jobs and erased jobs: on or off." default:"on" enum:"on,off"`
	AckQueue         string        `help:"What the acks of submits say of the queue (ahead, estimate): exact numbers only to tokens with the permission operate and their magnitude to others (rounded), exact numbers to all (exact), or nothing (off). A lane's queue has the jobs of all tenants." default:"rounded" enum:"rounded,exact,off"`
	TraceClients     bool          `help:"Sample a client's trace if its traceparent says that it is sampled. By default trace-ratio decides for these traces too."`
}

// BulkConfig holds the settings of bulk actions.
type BulkConfig struct {
	Mode string  `name:"bulk" help:"Whether this gateway takes bulk actions (POST /v1/bulk) and runs them: on, off, or auto, which is on in 'ackwire serve' and off elsewhere. To run them it takes jobs from the lane ackwire-bulk, whose topic and permissions in Kafka it needs then." default:"auto" enum:"auto,on,off"`
	Rate float64 `name:"bulk-rate" help:"Most jobs per second that one bulk action retries, cancels or erases. It slows down by itself while orders take longer than they did." default:"300"`
}

// CompressionConfig holds the settings of compression (permessage-deflate).
type CompressionConfig struct {
	On        bool `name:"compression" help:"Compress frames (permessage-deflate, RFC 7692) on sockets that ask for it, as browsers do. It saves bandwidth and costs CPU time and memory."`
	Threshold int  `name:"compression-threshold" help:"Smallest frame to a client that is compressed, in bytes." default:"1024"`
	Sockets   int  `name:"compression-sockets" help:"Sockets that may have compression at the same time; others are served without. A socket uses 45 KB while it receives a compressed frame, and 4 KB afterwards." default:"10000"`
}

// Validate reports every problem of the configuration.
func (c Config) Validate() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	within := func(name string, v, low, high int) {
		if v < low || v > high {
			problem("%s must be between %d and %d, not %d", name, low, high, v)
		}
	}
	problems = append(problems, c.Kafka.Check(), topic.Names{Prefix: c.TopicPrefix}.Validate(),
		c.Topics.Check(), topic.CheckOverrides(c.Topics.Settings))
	if c.FormerPrefix != "" {
		if err := (topic.Names{Prefix: c.FormerPrefix}).Validate(); err != nil {
			problem("former-topic-prefix: %w", err)
		}
		if c.FormerPrefix == c.TopicPrefix {
			problem("former-topic-prefix must not be topic-prefix: it is where jobs move from")
		}
	}
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
	if !(c.Bulk.Rate >= 1 && c.Bulk.Rate <= 1e5) {
		problem("bulk-rate must be between 1 and 100000")
	}
	problems = append(problems, c.Limits.Validate(), c.Waiting.Validate())
	if c.DrainWait < 0 || c.DrainWait > 10*time.Minute {
		problem("drain-wait must be between 0 and 10m")
	}
	submit, produce := c.submitTimeout(), c.Kafka.Bounds().Produce
	if c.PingInterval < time.Second || c.FirstFrame < time.Second || submit < time.Second {
		problem("ping-interval, first-frame and submit-timeout must be at least 1s")
	} else if submit < produce {
		problem("submit-timeout (%s) must be at least kafka-produce-timeout (%s, kafka-profile=%s), or acks are "+
			"indeterminate while Kafka is only slow", submit, produce, c.Kafka.Timeouts.Profile)
	}
	if submit > job.MaxSubmit {
		problem("submit-timeout must be at most %s: trackers do not expect the accepted event of an older request",
			job.MaxSubmit)
	}
	if (c.Cert == "") != (c.Key == "") {
		problem("tls-cert and tls-key must be set together")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		problem("listen: %w", err)
	}
	problems = append(problems, c.Auth.Validate(c.Listen), c.Internal.Validate(), c.checkConsole(),
		c.ConsoleLogin.Validate())
	for _, pattern := range c.AllowedOrigins {
		if err := origin.Check(pattern); err != nil {
			problem("allowed-origins: %q: %w", pattern, err)
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

// checkConsole returns what is wrong with the console's listener, or nil.
func (c Config) checkConsole() error {
	if c.ConsoleListen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.ConsoleListen)
	switch {
	case err != nil:
		return fmt.Errorf("console-listen: %w", err)
	case c.Auth.AnonymousTenant != "" && !service.Loopback(host):
		return fmt.Errorf("console-listen: with anonymous-tenant it must be a loopback address, not %s", c.ConsoleListen)
	}
	return nil
}

// submitTimeout returns the longest time for a submit: SubmitTimeout, or as long as writing a record to Kafka may take.
func (c Config) submitTimeout() time.Duration {
	if c.SubmitTimeout != 0 {
		return c.SubmitTimeout
	}
	return min(c.Kafka.Bounds().Delivery, job.MaxSubmit)
}

// largestBody is the length of the largest body that a submit over HTTP may have, in bytes.
func (c Config) largestBody(types jobtypes.Set) int64 {
	return int64(max(c.FrameBytes, types.MaxPayload()) + api.BodyOverhead)
}

// largestBatch is the length of the largest body that a batch may have, in bytes.
func (c Config) largestBatch(types jobtypes.Set) int64 {
	return min(c.Limits.SubmitBytes, max(api.BatchBytes, c.largestBody(types)))
}

// SignToken makes a token that a gateway with the same key and the default claims accepts for ttl. Without permissions
// the token lists none, and has the gateway's default ones.
func SignToken(key []byte, tenant, subject string, ttl time.Duration, permissions ...string) (string, error) {
	return auth.Sign(key, tenant, subject, time.Now(), ttl, permissions...)
}

// Defaults returns the configuration of a gateway without flags. It is not valid yet, since it has no keys to
// authenticate clients with.
func Defaults() Config { return command.Defaults[Config]() }

// TypesOf returns the names of the job types in a file, sorted. If jobTypes is empty it reads the built-in file.
func TypesOf(jobTypes string) ([]string, error) {
	types, err := jobtypes.Load(jobTypes)
	return slices.Sorted(maps.Keys(types)), err
}

// LanesOf returns the lanes of the named job types in a file, and the lane of webhooks, sorted. If jobTypes is empty it
// reads the built-in file.
func LanesOf(jobTypes string, names ...string) ([]string, error) {
	types, err := jobtypes.Load(jobTypes)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(types, func(name string, _ *jobtypes.Type) bool { return !slices.Contains(names, name) })
	return types.Lanes(), nil
}
