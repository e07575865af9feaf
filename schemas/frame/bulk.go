package frame

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/ackwire/ackwire/schemas/job"
)

// BulkAction is what a bulk action does to each job.
type BulkAction string

// The actions. Each does what the order for one job does.
const (
	BulkRetry  BulkAction = "retry"
	BulkCancel BulkAction = "cancel"
	BulkErase  BulkAction = "erase"
)

// BulkActions lists every action.
var BulkActions = []BulkAction{BulkRetry, BulkCancel, BulkErase}

// Takes reports whether the action is possible for a job in a state.
func (a BulkAction) Takes(s job.State) bool { return s.Terminal() == (a != BulkCancel) }

// States returns the states of the jobs that a bulk action takes if its filter names none: those that have not ended
// for cancel, those that have for erase, and failed and cancelled for retry, which runs completed jobs again only if it
// is told so.
func (a BulkAction) States() []job.State {
	if a == BulkRetry {
		return []job.State{job.Failed, job.Cancelled}
	}
	return slices.DeleteFunc(slices.Clone(job.States), func(s job.State) bool { return !a.Takes(s) })
}

// Bounds of bulk actions.
const (
	MaxBulk         = 1_000_000 // jobs
	MaxBulkExamples = 10        // IDs in an answer
	MaxBulkSkipped  = 100       // skipped jobs in a result; the stream BulkStream has all
)

// BulkStream is the stream of a bulk action's job that has every job that was skipped, each a BulkSkipped.
const BulkStream = "skipped"

// BulkRequest is the body of POST /v1/bulk.
type BulkRequest struct {
	Action BulkAction `json:"action"` // what is done to each job
	// Filter has the parameters of GET /v1/jobs but limit and cursor.
	Filter BulkFilter `json:"filter"`
	// Expect is how many jobs are meant to match. An order needs it; if it is another number nothing is done.
	Expect *int64 `json:"expect,omitempty"`
	// Preview only counts.
	Preview bool `json:"preview,omitempty"`
	// Key is the idempotency key, which may also stand in the header; at most MaxKeyChars. The same order again is
	// answered with the same job.
	Key string `json:"key,omitempty"`
}

// BulkFilter selects jobs by the parameters of GET /v1/jobs. In JSON a value is a text, a boolean or a list of texts.
type BulkFilter url.Values

// UnmarshalJSON implements json.Unmarshaler.
func (f *BulkFilter) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil || all == nil {
		return errors.New("filter must be an object")
	}
	*f = BulkFilter{}
	for name, raw := range all {
		values, ok := filterValues(raw)
		if !ok {
			return fmt.Errorf("filter: %.64q must be a text, a boolean or a list of texts", name)
		}
		(*f)[name] = values
	}
	return nil
}

func filterValues(raw json.RawMessage) (values []string, ok bool) {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil, false
	}
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case bool:
		return []string{fmt.Sprint(v)}, true
	case []any:
		for _, one := range v {
			s, ok := one.(string)
			if !ok {
				return nil, false
			}
			values = append(values, s)
		}
		return values, true
	}
	return nil, false
}

// BulkAnswer is the answer to a BulkRequest.
type BulkAnswer struct {
	Action   BulkAction `json:"action"`   // that of the request
	Count    int64      `json:"count"`    // the jobs that match
	Examples []string   `json:"examples"` // IDs of the newest of them, at most MaxBulkExamples
	// The job that does it; absent in the answer to a preview.
	JobID     string `json:"jobId,omitempty"`
	State     string `json:"state,omitempty"`
	StatusURL string `json:"statusUrl,omitempty"`
}

// BulkReason says why a bulk action has skipped a job.
type BulkReason string

// The reasons.
const (
	BulkGone    BulkReason = "not_found" // it was erased, or its retention ended
	BulkChanged BulkReason = "changed"   // it is not as it was when the bulk action was ordered: another order came first
	BulkRefused BulkReason = "refused"   // the order is not possible for this job
)

// BulkReasons lists every reason.
var BulkReasons = []BulkReason{BulkGone, BulkChanged, BulkRefused}

// BulkSkipped is a job that a bulk action has skipped.
type BulkSkipped struct {
	JobID  string     `json:"jobId"`  // the job
	Reason BulkReason `json:"reason"` // why it was skipped
}

// BulkResult is the result of a bulk action's job. Done and all of Skipped add up to Matched.
type BulkResult struct {
	Action  BulkAction           `json:"action"`  // that of the order
	Matched int64                `json:"matched"` // the jobs for which it was ordered
	Done    int64                `json:"done"`    // those that it has retried, cancelled or erased
	Skipped map[BulkReason]int64 `json:"skipped"` // the others, by why they were skipped
	// Jobs are the first MaxBulkSkipped of the jobs that were skipped. The job's stream BulkStream has all.
	Jobs []BulkSkipped `json:"jobs"`
}
