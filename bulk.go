package ackwire

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// BulkAction says what a bulk action does to each job.
type BulkAction = frame.BulkAction

// The actions of bulk actions.
const (
	BulkRetry  = frame.BulkRetry
	BulkCancel = frame.BulkCancel
	BulkErase  = frame.BulkErase
)

// BulkResult is the result of a bulk action's job; see [BulkResultOf].
type BulkResult = frame.BulkResult

// BulkOrder is a bulk action: retry, cancel or erase all jobs that match a filter.
type BulkOrder struct {
	Action BulkAction // what is done to each job
	// Filter selects the jobs; Limit and Cursor have no meaning. Without States a retry takes the failed and the
	// cancelled jobs, a cancel those that have not ended, and an erasure those that have. Bulk actions themselves match
	// only if Types names their type, ackwire.bulk.
	Filter ListOptions
	// Tenant is another tenant whose jobs are meant. The token needs the permission operate.
	Tenant string
}

// BulkPreview says which jobs match a bulk action now.
type BulkPreview struct {
	Count    int64    // exact
	Examples []string // IDs of the newest of them, at most 10
}

// PreviewBulk counts the jobs of a bulk action, and changes nothing.
func (c *Client) PreviewBulk(ctx context.Context, o BulkOrder) (BulkPreview, error) {
	return c.api.previewBulk(ctx, o)
}

// Bulk orders a bulk action (POST /v1/bulk). It is done by a job of its own, whose handle Bulk returns: its progress
// counts jobs, to cancel it stops it, and its result, which BulkResultOf reads, says how many were done and which were
// skipped and why. It does to each job what the single order would, once, whatever else happens.
//
// expect is the Count of a preview. If another number of jobs matches, nothing is done, and the error has the code
// count_differs and the number. The token needs the permissions read and that of the single order; the bulk action then
// has them until its end. A bulk action takes at most a million jobs.
//
// When the connection is lost the order is sent again with the same key until its outcome is known or ctx ends.
func (c *Client) Bulk(ctx context.Context, o BulkOrder, expect int64) (*Job, error) {
	return c.api.bulk(ctx, c.ctx, o, expect, c)
}

// PreviewBulk counts the jobs of a bulk action; see Client.PreviewBulk.
func (c *HTTPClient) PreviewBulk(ctx context.Context, o BulkOrder) (BulkPreview, error) {
	return c.api.previewBulk(ctx, o)
}

// Bulk orders a bulk action; see Client.Bulk.
func (c *HTTPClient) Bulk(ctx context.Context, o BulkOrder, expect int64) (*Job, error) {
	return c.api.bulk(ctx, context.Background(), o, expect, c)
}

// BulkResultOf reads the result of a bulk action's job that has completed.
func BulkResultOf(st Status) (r BulkResult, err error) {
	if st.State != job.Completed {
		return r, fmt.Errorf("ackwire: the bulk action %s is %s: it has no result", st.JobID, st.State)
	}
	if err := json.Unmarshal(st.Result, &r); err != nil {
		return r, fmt.Errorf("ackwire: result of the bulk action %s: %w", st.JobID, err)
	}
	return r, nil
}

func (o BulkOrder) request() frame.BulkRequest {
	filter := o.Filter
	filter.Limit, filter.Cursor = 0, ""
	q := filter.query()
	if o.Tenant != "" {
		q.Set("tenant", o.Tenant)
	}
	return frame.BulkRequest{Action: o.Action, Filter: frame.BulkFilter(q)}
}

func (r *rest) previewBulk(ctx context.Context, o BulkOrder) (BulkPreview, error) {
	asked := o.request()
	asked.Preview = true
	answer, _, err := r.postBulk(ctx, asked)
	return BulkPreview{Count: answer.Count, Examples: answer.Examples}, err
}

func (r *rest) bulk(ctx, life context.Context, o BulkOrder, expect int64, via transport) (*Job, error) {
	asked := o.request()
	key := rand.Text()
	asked.Expect, asked.Key = &expect, key
	return r.submitUntilKnown(ctx, life, key, func() (*Job, bool, error) {
		answer, unknown, err := r.postBulk(ctx, asked)
		if err != nil {
			if _, answered := errors.AsType[*Error](err); unknown && !answered {
				err = &IndeterminateError{Key: key, Err: err}
			}
			return nil, unknown, err
		}
		j := newJob(via, answer.JobID)
		j.Ack = Ack{State: job.State(answer.State), StatusURL: answer.StatusURL}
		return j, false, nil
	})
}

// postBulk sends a request for a bulk action. unknown reports that it may have taken effect though there was no answer.
func (r *rest) postBulk(ctx context.Context, asked frame.BulkRequest) (
	answer frame.BulkAnswer, unknown bool, err error,
) {
	what := "bulk " + string(asked.Action)
	q := request{what: what, method: http.MethodPost, path: "/v1/bulk"}
	if q.body, err = plainjson.Marshal(asked); err != nil {
		return answer, false, fmt.Errorf("ackwire: %s: %w", what, err)
	}
	body, unknown, err := r.postKnown(ctx, q)
	if err != nil {
		return answer, unknown, err
	}
	if json.Unmarshal(body, &answer) != nil || answer.Action != asked.Action || !asked.Preview && answer.JobID == "" {
		return answer, true, fmt.Errorf("ackwire: %s: %w", what, errBadAnswer)
	}
	return answer, false, nil
}
