// Package topic defines the topics, record headers and consumer groups that Ackwire's services share. The names of
// topics and groups start with a configurable prefix.
package topic

import (
	"errors"
	"regexp"
	"strings"
)

// DefaultPrefix is the default prefix of topics and groups.
const DefaultPrefix = "ackwire."

// Names returns the names of topics and groups under one prefix.
type Names struct {
	Prefix string // usually DefaultPrefix; another one lets several Ackwires share one Kafka
}

// Requests returns the topic of a lane's requests.
func (n Names) Requests(lane string) string { return n.Prefix + "requests." + lane }

// Lane returns the lane of a topic of requests; ok is false for any other topic.
func (n Names) Lane(topic string) (lane string, ok bool) {
	return strings.CutPrefix(topic, n.Prefix+"requests.")
}

// Deferred returns the topic of requests whose start lies in the future.
func (n Names) Deferred() string { return n.Prefix + "deferred" }

// Status returns the topic that is the log: every event of every job, keyed by job ID.
func (n Names) Status() string { return n.Prefix + "status" }

// View returns the topic that is the compacted table of job documents. The embedded broker has no such topic.
func (n Names) View() string { return n.Prefix + "view" }

// Control returns the topic of orders to workers, keyed by worker.
func (n Names) Control() string { return n.Prefix + "control" }

// Dead returns the topic of dead letters: records that could not be decoded, with the reason.
func (n Names) Dead() string { return n.Prefix + "dead" }

// Streams returns the topic of what running jobs write to their streams, keyed by job ID: see package stream.
func (n Names) Streams() string { return n.Prefix + "streams" }

// Audit returns the topic of records of what was done by whom, see package audit.
func (n Names) Audit() string { return n.Prefix + "audit" }

// ProcessorGroup returns the consumer group of a lane's workers.
func (n Names) ProcessorGroup(lane string) string { return n.Prefix + "processor." + lane }

// TrackerGroup returns the consumer group of the trackers. A member's client ID contains
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

var nameRE = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// Bounds of the names of lanes and lives, in bytes.
const (
	maxLane = 63
	maxLife = 64
)

// WebhookLane is the lane of webhooks, and WebhookType the type of their jobs, which the tracker submits. Users' job
// types must not start with ReservedType.
const (
	WebhookLane  = "webhooks"
	WebhookType  = "ackwire.webhook"
	ReservedType = "ackwire."
)

// BulkLane is the lane of bulk actions, and BulkType the type of their jobs, which gateways submit and run. The lane's
// name has no dot, since that of no lane may have one.
const (
	BulkLane = "ackwire-bulk"
	BulkType = "ackwire.bulk"
)

// OwnLane reports whether a lane is one of Ackwire's own, which users' job types must not use.
func OwnLane(lane string) bool { return lane == WebhookLane || lane == BulkLane }

// ValidLane reports whether s can name a lane: 1 to 63 of the characters a-z 0-9 _ -, and the first is a letter or a
// digit.
func ValidLane(s string) bool {
	if s == "" || len(s) > maxLane || s[0] == '_' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !lower(c) && !digit(c) && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// ValidLife reports whether s can name a life of a job's ID, which becomes part of the keys of blobs: 1 to 64 of the
// characters A-Z a-z 0-9 _ -.
func ValidLife(s string) bool {
	for i := range len(s) {
		if c := s[i]; !lower(c) && !(c >= 'A' && c <= 'Z') && !digit(c) && c != '_' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxLife
}

func lower(c byte) bool { return c >= 'a' && c <= 'z' }
func digit(c byte) bool { return c >= '0' && c <= '9' }

const trackerClientPrefix = "ackwire-tracker@"

// TrackerClientID is the Kafka client ID of a tracker that serves its API at an address: host:port, or
// https://host:port if it speaks TLS. Gateways find trackers by it, and know by it how to speak to each, so that
// trackers may get TLS one after the other.
func TrackerClientID(address string) string { return trackerClientPrefix + address }

// TrackerAddress returns the address in a client ID of TrackerClientID; ok is false for any other client ID.
func TrackerAddress(clientID string) (address string, ok bool) {
	return strings.CutPrefix(clientID, trackerClientPrefix)
}

// TrackerScheme begins the address of a tracker that speaks TLS.
const TrackerScheme = "https://"

// TrackerURL returns the URL of the tracker at an address of TrackerAddress.
func TrackerURL(address string) string {
	if strings.HasPrefix(address, TrackerScheme) {
		return address
	}
	return "http://" + address
}
