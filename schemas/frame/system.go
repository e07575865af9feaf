package frame

import "time"

// System is the body of GET /v1/system: the gateways and trackers, and what they stand on. While jobs move to another
// topic prefix it is of both.
type System struct {
	// Gateways are this one and all others that the trackers hear of, sorted by name.
	Gateways   []Process        `json:"gateways"`
	Trackers   []SystemTracker  `json:"trackers"` // sorted by name
	Partitions SystemPartitions `json:"partitions"`
	Kafka      SystemKafka      `json:"kafka"`
	AsOf       time.Time        `json:"asOf"` // when it was asked for
	// Truncated is true if there are more than 1,000 gateways or trackers.
	Truncated bool `json:"truncated"`
}

// Process is one run of a gateway or a tracker.
type Process struct {
	Name      string     `json:"name"`                // of its host, with a random part
	Version   string     `json:"version"`             // of the release
	Revision  string     `json:"revision,omitempty"`  // of the source
	StartedAt *time.Time `json:"startedAt,omitempty"` // by its own clock
	Self      bool       `json:"self,omitempty"`      // the gateway that has answered
}

// SystemTracker is one tracker, a member of the group of trackers.
type SystemTracker struct {
	// Process is what it says of itself: absent if it does not answer, or is of an earlier release.
	*Process
	// Partitions are how many of the topic status it owns, and Restoring those of them that it still restores: jobs in
	// these wait.
	Partitions int `json:"partitions"`
	Restoring  int `json:"restoring"`
	// Answers is false if it has not answered this gateway within two seconds.
	Answers bool `json:"answers"`
}

// SystemPartitions are the partitions of the topic status.
type SystemPartitions struct {
	Total int `json:"total"` // 0 while it is not known
	// Unowned are those that no tracker owns: nothing happens to jobs in these. Absent if Kafka does not answer.
	Unowned *int `json:"unowned,omitempty"`
	// UnownedSince is the time at which this gateway first saw one of them without an owner; absent if all have one.
	UnownedSince *time.Time `json:"unownedSince,omitempty"`
}

// SystemKafka is Kafka as the gateway sees it.
type SystemKafka struct {
	Reachable bool `json:"reachable"` // it has answered
}
