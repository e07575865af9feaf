package topic

// Headers of a request record. The value is the payload, untouched. Headers that
// start with ce_ are CloudEvents 1.0 in binary mode (Kafka protocol binding §3.2). The last
// two are also those of an event in status, when its job's trace is sampled.
const (
	HeaderSpecVersion = "ce_specversion" // "1.0"
	HeaderID          = "ce_id"          // the job ID
	HeaderSource      = "ce_source"      // CloudEventsSource
	HeaderType        = "ce_type"        // the job type
	HeaderTime        = "ce_time"        // when the gateway took it, RFC 3339
	HeaderContentType = "content-type"   // "application/json"

	HeaderVersion  = "ackwire-v"        // RequestVersion
	HeaderDispatch = "ackwire-dispatch" // decimal, 1 for the first
	HeaderAttempt  = "ackwire-attempt"  // decimal, 1 for the first
	HeaderTenant   = "ackwire-tenant"   //
	// HeaderLife names the life of the job's ID that the request begins, or belongs to; absent
	// where the ID is of one life only.
	HeaderLife        = "ackwire-life"
	HeaderSubject     = "ackwire-subject"      // absent when the token has none
	HeaderPolicy      = "ackwire-policy"       // job.Policy as JSON
	HeaderPayloadHash = "ackwire-payload-hash" // as in the accepted event
	HeaderRunAt       = "ackwire-run-at"       // RFC 3339; only in the topic deferred
	HeaderLane        = "ackwire-lane"         // the lane the job runs on
	HeaderCallbackURL = "ackwire-callback-url" // absent when there is none
	// HeaderCallbackEvents are states, with commas between them; absent for the terminal ones.
	HeaderCallbackEvents = "ackwire-callback-events"
	// HeaderPayloadBlob is the key of the payload in the blob store; the record's value is then empty.
	HeaderPayloadBlob = "ackwire-payload-blob"
	HeaderTraceparent = "traceparent" // W3C Trace Context §3.2
	HeaderTracestate  = "tracestate"  // §3.3
)

// Headers that a dead letter carries beside the original record's own.
const (
	HeaderDeadReason    = "ackwire-dead-reason"    // one word of a fixed set
	HeaderDeadDetail    = "ackwire-dead-detail"    // for people
	HeaderDeadTopic     = "ackwire-dead-topic"     // where the record lay
	HeaderDeadPartition = "ackwire-dead-partition" //
	HeaderDeadOffset    = "ackwire-dead-offset"    //
	HeaderDeadBy        = "ackwire-dead-by"        // the service that met it
)

// Headers of a record of view. Its key is the job ID and its value the job's document; the
// records without a HeaderViewKind are the table.
const (
	HeaderJobVersion = "ackwire-version" // of the document, decimal
	HeaderJobRow     = "ackwire-row"     // the tracker's own, opaque
	// HeaderViewKind marks the records that are not jobs: one of the ViewKind constants.
	HeaderViewKind = "ackwire-kind"
)

// Values of HeaderViewKind. The records' keys are the value, a slash and the partition.
const (
	// ViewCheckpoint says which position of status the records before it reflect.
	ViewCheckpoint = "checkpoint"
	// ViewOwner says which tracker writes the records after it.
	ViewOwner = "owner"
)

// RequestVersion is the value of HeaderVersion.
const RequestVersion = "1"

// CloudEventsSource is the value of HeaderSource.
const CloudEventsSource = "/ackwire/gateway"
