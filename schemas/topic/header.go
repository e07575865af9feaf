package topic

// Headers of a request record. The record's value is the payload, unchanged. Headers that start with ce_ are
// CloudEvents 1.0 in binary mode (Kafka protocol binding §3.2). The last two are also headers of an event in status
// if the job's trace is sampled.
const (
	HeaderSpecVersion = "ce_specversion" // "1.0"
	HeaderID          = "ce_id"          // the job ID
	HeaderSource      = "ce_source"      // CloudEventsSource
	HeaderType        = "ce_type"        // the job type
	HeaderTime        = "ce_time"        // when the gateway accepted the submit, RFC 3339
	HeaderContentType = "content-type"   // "application/json"

	HeaderVersion  = "ackwire-v"        // RequestVersion
	HeaderDispatch = "ackwire-dispatch" // decimal, 1 for the first
	HeaderAttempt  = "ackwire-attempt"  // decimal, 1 for the first
	HeaderTenant   = "ackwire-tenant"   // of the submitter's token
	// HeaderLife names the life of the job's ID to which the request belongs (event.Event.Life). It is absent for a
	// job without an idempotency key, whose ID has only one life.
	HeaderLife        = "ackwire-life"
	HeaderSubject     = "ackwire-subject"      // absent when the token has none
	HeaderPolicy      = "ackwire-policy"       // job.Policy as JSON
	HeaderPayloadHash = "ackwire-payload-hash" // as in the accepted event
	HeaderRunAt       = "ackwire-run-at"       // RFC 3339; only in the topic deferred
	HeaderLane        = "ackwire-lane"         // the lane the job runs on
	HeaderCallbackURL = "ackwire-callback-url" // absent when there is none
	// HeaderCallbackEvents is a list of states, separated by commas; absent for the terminal ones.
	HeaderCallbackEvents = "ackwire-callback-events"
	HeaderTags           = "ackwire-tags" // job.Tags as JSON; absent when there are none
	// HeaderPayloadBlob is the key of the payload in the blob store; the record's value is then empty.
	HeaderPayloadBlob = "ackwire-payload-blob"
	HeaderTraceparent = "traceparent" // W3C Trace Context §3.2
	HeaderTracestate  = "tracestate"  // W3C Trace Context §3.3
)

// Headers that a dead letter carries beside the original record's own.
const (
	HeaderDeadReason    = "ackwire-dead-reason"    // one word of a fixed set
	HeaderDeadDetail    = "ackwire-dead-detail"    // for people
	HeaderDeadTopic     = "ackwire-dead-topic"     // the topic of the original record
	HeaderDeadPartition = "ackwire-dead-partition" // its partition, decimal
	HeaderDeadOffset    = "ackwire-dead-offset"    // its offset, decimal
	HeaderDeadBy        = "ackwire-dead-by"        // the service that could not decode it
)

// Headers of a record of view. The records without a HeaderViewKind are the table of jobs: the key is the job ID and
// the value the job's document.
const (
	HeaderJobVersion = "ackwire-version" // of the document, decimal
	HeaderJobRow     = "ackwire-row"     // the tracker's internal row, opaque
	// HeaderViewKind marks the records that are not jobs: one of the ViewKind constants.
	HeaderViewKind = "ackwire-kind"
)

// Values of HeaderViewKind. The key of such a record is the value, a slash and the partition, but for ViewErased.
const (
	// ViewCheckpoint marks a record that says up to which offset of status the records before it are complete.
	ViewCheckpoint = "checkpoint"
	// ViewOwner marks a record that says which tracker writes the records after it.
	ViewOwner = "owner"
	// ViewErased marks the marker of an erased job, which keeps its ID from being used again. Its key is the job ID.
	// Each follows a tombstone, so readers of the table pass over it as over the others.
	ViewErased = "erased"
)

// HeaderMark marks a record of status that is no event of a job; its value says what it is. Readers of events pass over
// such records.
const HeaderMark = "ackwire-mark"

// MarkClosed is the HeaderMark of a record after which its partition makes no jobs of new idempotency keys any more,
// because their place is under another topic prefix: see `ackwire topics grow --to`. Its value is that prefix.
const MarkClosed = "closed"

// RequestVersion is the value of HeaderVersion.
const RequestVersion = "1"

// CloudEventsSource is the value of HeaderSource.
const CloudEventsSource = "/ackwire/gateway"
