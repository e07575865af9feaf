package event

// Writer is the kind of program that appends events of a type.
type Writer string

// The writers.
const (
	ByGateway  Writer = "gateway"
	ByWorker   Writer = "worker"
	ByTracker  Writer = "tracker"
	ByOperator Writer = "operator" // somebody with the command line
)

// Writers lists every writer.
var Writers = []Writer{ByGateway, ByWorker, ByTracker, ByOperator}

// Writer returns who appends events of the type; it is empty for an unknown one.
func (t Type) Writer() Writer {
	switch t {
	case Accepted, CancelRequested, RetryRequested, Erased:
		return ByGateway
	case Claimed, Beat, Progress, Completed, Failed, Released:
		return ByWorker
	case LeaseExpired, AttemptTimedOut, Requeued, CancelForced, DeadlineExceeded, Expired, CallbackQueued, PayloadLost:
		return ByTracker
	case RequestLost:
		return ByOperator
	}
	return ""
}
