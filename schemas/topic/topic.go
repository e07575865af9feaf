// Package topic names the topics, record headers and consumer groups that Ackwire's
// services share. All names start with a configurable prefix.
package topic

import (
	"errors"
	"regexp"
	"strings"
)

// DefaultPrefix is the prefix of topics and groups where none is configured.
const DefaultPrefix = "ackwire."

// Names gives the names under one prefix.
type Names struct {
	Prefix string // starts each name; DefaultPrefix, unless several systems share one Kafka
}

// Requests is the topic of a lane's requests.
func (n Names) Requests(lane string) string { return n.Prefix + "requests." + lane }

// Lane is the inverse of Requests; ok is false for any other topic.
func (n Names) Lane(topic string) (lane string, ok bool) {
	return strings.CutPrefix(topic, n.Prefix+"requests.")
}

// Deferred holds requests whose start lies in the future.
func (n Names) Deferred() string { return n.Prefix + "deferred" }

// Status is the log: every event of every job, keyed by job ID.
func (n Names) Status() string { return n.Prefix + "status" }

// View is the compacted table of job documents (real Kafka only).
func (n Names) View() string { return n.Prefix + "view" }

// Control carries orders to workers, keyed by worker.
func (n Names) Control() string { return n.Prefix + "control" }

// Dead holds records that nobody could decode, with their reason.
func (n Names) Dead() string { return n.Prefix + "dead" }

// ProcessorGroup is the consumer group of a lane's workers.
func (n Names) ProcessorGroup(lane string) string { return n.Prefix + "processor." + lane }

// TrackerGroup is the consumer group of the trackers. A member's client ID carries
// its address: see TrackerClientID.
func (n Names) TrackerGroup() string { return n.Prefix + "tracker" }

// Validate checks that the prefix makes legal topic names (Kafka allows letters,
// digits, '.', '_' and '-').
func (n Names) Validate() error {
	if !nameRE.MatchString(n.Prefix) || len(n.Prefix) > 64 {
		return errors.New("topic prefix must be 1 to 64 of the characters a-z A-Z 0-9 . _ -")
	}
	return nil
}

var (
	nameRE = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)
	laneRE = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	lifeRE = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// The lane of webhooks and the type of its jobs: the tracker submits them. Names that
// begin with ReservedType are not for users' types.
const (
	WebhookLane  = "webhooks"
	WebhookType  = "ackwire.webhook"
	ReservedType = "ackwire."
)

// ValidLane reports whether s can name a lane.
func ValidLane(s string) bool { return laneRE.MatchString(s) }

// ValidLife reports whether s can name a life of a job's ID: it is a part of the keys of blobs.
func ValidLife(s string) bool { return lifeRE.MatchString(s) }

const trackerClientPrefix = "ackwire-tracker@"

// TrackerClientID is the Kafka client ID of a tracker that serves its API at the
// given host:port. Gateways find trackers by it.
func TrackerClientID(hostPort string) string { return trackerClientPrefix + hostPort }

// TrackerAddress is the inverse of TrackerClientID; ok is false for another client.
func TrackerAddress(clientID string) (hostPort string, ok bool) {
	return strings.CutPrefix(clientID, trackerClientPrefix)
}
