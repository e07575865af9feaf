package fold

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestARetryStormIsSpreadOut: 5,000 jobs that fail in the same instant come back over the
// whole backoff, not in a wave.
func TestARetryStormIsSpreadOut(t *testing.T) {
	const jobs, buckets = 5000, 20
	policy := &job.Policy{
		Attempts: 3,
		Backoff:  job.Backoff{Initial: job.Seconds(10 * time.Second), Factor: 2, Cap: job.Seconds(time.Minute)},
	}
	request := &event.Position{Topic: "requests.default"}
	failed := time.Unix(1000, 0).UTC()
	histogram := make([]int, buckets)
	for n := range jobs {
		id := fmt.Sprintf("0198c0de-0000-7000-8000-%012d", n)
		var j *Job
		for offset, e := range []event.Event{
			{Type: event.Claimed, Job: "t", Tenant: "acme", PayloadHash: "h", Policy: policy, Request: request, Worker: "w"},
			{Type: event.Failed, Error: &event.Failure{Error: job.Error{Code: "x", Retryable: true}}},
		} {
			e.V = event.Version
			e.JobID = id
			e.Dispatch = 1
			e.Run = "r"
			j = Fold(j, &e, Meta{Offset: int64(offset), Time: failed}).Job
		}
		wait := j.Doc.RetryAt.Sub(failed)
		if wait < 0 || wait > 10*time.Second {
			t.Fatalf("job %s waits %s", id, wait)
		}
		histogram[min(int(wait*buckets/(10*time.Second)), buckets-1)]++
	}
	var picture strings.Builder
	for i, n := range histogram {
		fmt.Fprintf(&picture, "\n%5.1fs %4d %s", float64(i)*10/buckets, n, strings.Repeat("#", n/10))
		if n < jobs/buckets/2 || n > jobs/buckets*2 {
			t.Errorf("%d of %d jobs come back within one %dth of the backoff", n, jobs, buckets)
		}
	}
	t.Log(picture.String())
}
