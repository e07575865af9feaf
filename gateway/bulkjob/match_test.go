package bulkjob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// listed lists n jobs, in pages as trackers do; those in bulks are bulk actions.
type listed struct {
	n     int
	bulks map[int]bool
	asked []*trackerpb.ListRequest
	fails error
}

func listedID(i int) string { return fmt.Sprintf("019c1db0-01c0-7a54-9d8e-%012d", i) }

func (l *listed) List(_ context.Context, req *trackerpb.ListRequest) (*trackerpb.ListResponse, error) {
	l.asked = append(l.asked, req)
	from := 0
	if req.After != nil {
		from = int(req.After.Created)
	}
	page := &trackerpb.ListResponse{}
	for i := from; i < l.n; i++ {
		if len(page.Jobs) == int(req.Limit) {
			page.Through = &trackerpb.Place{Created: int64(i)}
			break
		}
		if slices.Contains(req.Types, topic.BulkType) && !l.bulks[i] {
			continue
		}
		page.Jobs = append(page.Jobs, &trackerpb.ListedJob{Job: &trackerpb.Job{JobId: listedID(i)}, Round: int64(i % 5)})
	}
	if page.Through == nil && l.fails != nil {
		return nil, l.fails
	}
	return page, nil
}

// TestMatchListsAll: all pages are read, as brief lists, with the rounds, and without bulk actions unless these are
// asked for.
func TestMatchListsAll(t *testing.T) {
	l := &listed{n: 2*pageJobs + 3, bulks: map[int]bool{1: true, pageJobs: true}}
	asked := &trackerpb.ListRequest{Tenant: "acme", States: []string{"failed"}}
	plan, err := match(t.Context(), l, asked)
	if err != nil || plan.Len() != l.n-2 {
		t.Fatalf("%d jobs, %v", plan.Len(), err)
	}
	at := 0
	for i := range l.n {
		if l.bulks[i] {
			continue
		}
		if id, round := plan.Job(at); id != listedID(i) || round != int64(i%5) {
			t.Fatalf("place %d has %s in round %d", at, id, round)
		}
		at++
	}
	for _, req := range l.asked {
		if !req.Brief || req.Limit != pageJobs || req.Tenant != "acme" || !slices.Equal(req.States, []string{"failed"}) {
			t.Errorf("asked %v", req)
		}
	}
	if asked.Brief || len(asked.Types) != 0 {
		t.Errorf("the caller's request was changed: %v", asked)
	}
	plan, err = match(t.Context(), l, &trackerpb.ListRequest{Types: []string{topic.BulkType}})
	if err != nil || plan.Len() != 2 {
		t.Errorf("%d bulk actions, %v", plan.Len(), err)
	}
}

// TestMatchIsBounded: more jobs than a bulk action may have are refused, and an error of the trackers is told.
func TestMatchIsBounded(t *testing.T) {
	plan, err := matchUpTo(t.Context(), &listed{n: 3000}, &trackerpb.ListRequest{}, 3000)
	if err != nil || plan.Len() != 3000 {
		t.Errorf("as many as there may be: %v", err)
	}
	_, err = matchUpTo(t.Context(), &listed{n: 3001}, &trackerpb.ListRequest{}, 3000)
	var p frame.Problem
	if !errors.As(err, &p) || p.Code != code.LimitExceeded {
		t.Errorf("too many: %v", err)
	}
	away := errors.New("away")
	if _, err := match(t.Context(), &listed{n: 10, fails: away}, &trackerpb.ListRequest{}); !errors.Is(err, away) {
		t.Errorf("trackers that are away: %v", err)
	}
}

// TestAPlanOfAHundredThousandIsSmall: its payload has 23 bytes for each job, and it is read as it was written.
func TestAPlanOfAHundredThousandIsSmall(t *testing.T) {
	const all = 100_000
	plan := Plan{}
	for i := range all {
		if err := plan.add(listedID(i), int64(i%200)); err != nil {
			t.Fatal(err)
		}
	}
	o := Order{V: orderVersion, Action: frame.BulkRetry, Filter: frame.BulkFilter{}, Plan: plan}
	b, err := o.encode()
	if err != nil || len(b) > 24*all {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	got, err := decodeOrder(b)
	if err != nil || got.Plan.Len() != all {
		t.Fatalf("%v", err)
	}
	for _, i := range []int{0, 127, 128, all - 1} {
		if id, round := got.Plan.Job(i); id != listedID(i) || round != int64(i%200) {
			t.Errorf("job %d is %s in round %d", i, id, round)
		}
	}
}
