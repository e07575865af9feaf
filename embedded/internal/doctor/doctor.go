// Package doctor examines a Kafka for Ackwire and says what is missing: connections, versions, topics, permissions,
// groups, clocks and speed. It changes nothing; only if it is asked to, it writes a few records that nobody reads.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/embedded/internal/plan"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/topic"
)

// State says how a finding is to be taken.
type State string

// States of findings.
const (
	OK          State = "ok"
	Advice      State = "advice"      // works, but is not as it should be
	Unknown     State = "unknown"     // could not be found out
	Wrong       State = "wrong"       // something is missing or wrong
	Unreachable State = "unreachable" // no connection, so nothing further can be examined there
)

// Finding is one thing that was examined.
type Finding struct {
	State   State  `json:"state"`
	Check   string `json:"check"`             // what was examined: one of the constants Check…
	Subject string `json:"subject"`           // the address, topic, resource or group
	Setting string `json:"setting,omitempty"` // of a topic; an operation, for a permission
	Text    string `json:"text"`              // what was found, for people
	Command string `json:"command,omitempty"` // by which an administrator mends it
}

// What is examined, in this order.
const (
	CheckAddress        = "address"
	CheckTLS            = "tls"
	CheckAuthentication = "authentication"
	CheckVersion        = "version"
	CheckTopic          = "topic"
	CheckPermission     = "permission"
	CheckGroup          = "group"
	CheckClock          = "clock"
	CheckLatency        = "latency"
	CheckRack           = "rack"
)

// Config says what to examine.
type Config struct {
	Kafka kafka.Config
	Plan  plan.Plan
	Tools plan.Tools
	Probe bool        // write records
	Env   service.Env // how to connect
}

// Run examines Kafka, and calls found for each finding as soon as it is known. It returns false if no broker could be
// asked.
func Run(ctx context.Context, cfg Config, found func(Finding)) (reached bool) {
	d := &doctor{Config: cfg, found: found}
	if !d.connect(ctx) {
		return false
	}
	defer d.client.Close()
	d.versions(ctx)
	d.topics(ctx)
	d.permissions(ctx)
	d.groups(ctx)
	d.speed(ctx)
	d.racks(ctx)
	return true
}

// doctor is one examination.
type doctor struct {
	Config
	found func(Finding)

	client  *kgo.Client
	keys    map[int16]int16 // the highest version of each request that the broker knows
	brokers []kmsg.MetadataResponseBroker
}

func (d *doctor) say(state State, check, subject, format string, args ...any) {
	d.found(Finding{State: state, Check: check, Subject: subject, Text: fmt.Sprintf(format, args...)})
}

// Bounds of one question to Kafka, and of the connection to one address.
const (
	askTimeout     = 10 * time.Second
	connectTimeout = 8 * time.Second
)

// ask runs a question with its own time.
func ask(ctx context.Context, question func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return question(ctx)
}

// has reports whether one of the roles is examined.
func (d *doctor) has(roles ...topic.Role) bool {
	for _, g := range d.Plan.Grants() {
		if slices.Contains(roles, g.Role) {
			return true
		}
	}
	return false
}
