package bulkjob

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Lister lists jobs; upstream.Pair implements it.
type Lister interface {
	List(ctx context.Context, req *trackerpb.ListRequest) (*trackerpb.ListResponse, error)
}

// pageJobs is how many jobs are asked for at a time.
const pageJobs = 2000

// match lists all jobs of a request, the newest first. Jobs that are bulk actions themselves are left out unless the
// request names their type, so that an order to cancel all does not end the others.
func match(ctx context.Context, from Lister, asked *trackerpb.ListRequest) (*Plan, error) {
	return matchUpTo(ctx, from, asked, frame.MaxBulk)
}

// matchUpTo is match for at most that many jobs: it fails when there are more.
func matchUpTo(ctx context.Context, from Lister, asked *trackerpb.ListRequest, most int) (*Plan, error) {
	req := proto.CloneOf(asked)
	req.Brief, req.Limit = true, pageJobs
	// The trackers cannot leave a type out, so bulk actions are listed apart and taken out. They are few.
	var without map[string]bool
	if len(req.Types) == 0 {
		own := proto.CloneOf(req)
		own.Types = []string{topic.BulkType}
		without = map[string]bool{}
		err := each(ctx, from, own, func(j *trackerpb.ListedJob) error {
			without[j.Job.JobId] = true
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	plan := &Plan{}
	err := each(ctx, from, req, func(j *trackerpb.ListedJob) error {
		if without[j.Job.JobId] {
			return nil
		}
		if plan.Len() == most {
			return frame.NewProblem(code.LimitExceeded, fmt.Sprintf(
				"more than %d jobs match: a bulk action takes no more, give it a narrower filter", most))
		}
		return plan.add(j.Job.JobId, j.Round)
	})
	return plan, err
}

// each calls f for all jobs of a list, page after page.
func each(ctx context.Context, from Lister, req *trackerpb.ListRequest, f func(*trackerpb.ListedJob) error) error {
	for {
		page, err := from.List(ctx, req)
		if err != nil {
			return err
		}
		for _, j := range page.Jobs {
			if err := f(j); err != nil {
				return err
			}
		}
		if page.Through == nil {
			return nil
		}
		req.After = page.Through
	}
}
