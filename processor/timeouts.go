package processor

import "time"

// Timeouts says how long this process waits for Kafka. They are the commands' --kafka-profile and --kafka-…-timeout. A
// bound that is zero is the profile's. All other times that depend on how quickly Kafka answers follow from these.
type Timeouts struct {
	// Profile is a set of bounds: "local" for a Kafka in the same zone, "regional" for one in other zones, "object-store"
	// for brokers that write to an object store and take hundreds of milliseconds. Default "local".
	Profile string
	// Dial bounds connecting to a broker. Default 1s, 2s or 5s.
	Dial time.Duration
	// Request bounds a broker's answer to a request, on top of the time that the request grants the broker. Default
	// 1.5s, 3s or 5s.
	Request time.Duration
	// Produce is the time that a request to write records grants the brokers for writing them to all replicas in sync.
	// Default 1s, 2s or 5s.
	Produce time.Duration
	// Delivery bounds the writing of a record, with all tries. Default 5s, 10s or 20s.
	Delivery time.Duration
	// Session is the time without a heartbeat after which other workers take this one's requests. Default 10s, 15s or
	// 30s.
	Session time.Duration
}
