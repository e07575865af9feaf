package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// put makes a job of the fake tracker's, as the test wants it.
func (f *fakeTracker) put(tenant string, created int64, lane, subject string, doc job.Document) {
	b, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	if subject == "" {
		subject = testSubject
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs[doc.JobID] = &fakeJob{
		tenant: tenant, version: 1, document: b, terminal: doc.State.Terminal(), created: created, lane: lane,
		subject: subject,
	}
}

// refuseNext has the next lists and counts answered with these codes.
func (f *fakeTracker) refuseNext(codes ...connect.Code) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = codes
}

// refused takes the next refusal; it is called with f.mu held.
func (f *fakeTracker) refused() error {
	if len(f.refuse) == 0 {
		return nil
	}
	code := f.refuse[0]
	f.refuse = f.refuse[1:]
	return connect.NewError(code, nil)
}

// fresh waits until all is folded that a question asks for.
func (f *fakeTracker) fresh(ctx context.Context, wanted []*trackerpb.Freshness) error {
	for {
		f.mu.Lock()
		behind := slices.ContainsFunc(wanted, func(w *trackerpb.Freshness) bool { return f.next[w.Partition] < w.MinVersion })
		f.mu.Unlock()
		if !behind {
			return nil
		}
		if !pause.For(ctx, 10*time.Millisecond) {
			return connect.NewError(connect.CodeUnavailable, ctx.Err())
		}
	}
}

// found is what a question's partitions hold of a tenant; it is called with f.mu held.
func (f *fakeTracker) found(
	tenant string, scope *trackerpb.Scope, partitions []int32, take func(*fakeJob, *job.Document),
) {
	for id, j := range f.jobs {
		var doc job.Document
		if j.tenant == tenant && j.in(tenant, scope) && slices.Contains(partitions, kafka.Partition(id, testPartitions)) &&
			json.Unmarshal(j.document, &doc) == nil {
			take(j, &doc)
		}
	}
}

// tagged reports whether a job has all tags. A tracker of an earlier version passes over them.
func (f *fakeTracker) tagged(tags []*trackerpb.Tag, doc *job.Document) bool {
	return f.untagged || !slices.ContainsFunc(tags, func(t *trackerpb.Tag) bool { return doc.Tags[t.Key] != t.Value })
}

// List implements trackerpbconnect.TrackerHandler.
func (f *fakeTracker) List(
	ctx context.Context, r *connect.Request[trackerpb.ListRequest],
) (*connect.Response[trackerpb.ListResponse], error) {
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	if err := f.fresh(ctx, r.Msg.Fresh); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists = append(f.lists, r.Msg)
	if err := f.refused(); err != nil {
		return nil, err
	}
	among := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	answer := &trackerpb.ListResponse{AsOf: f.asOf, Tagged: !f.untagged}
	f.found(r.Msg.Tenant, r.Msg.Scope, r.Msg.Partitions, func(j *fakeJob, doc *job.Document) {
		if among(r.Msg.States, string(doc.State)) && among(r.Msg.Types, doc.Type) && among(r.Msg.Lanes, j.lane) &&
			among(r.Msg.Subjects, j.subject) && f.tagged(r.Msg.Tags, doc) &&
			j.created >= r.Msg.CreatedFrom && (r.Msg.CreatedBefore == 0 || j.created < r.Msg.CreatedBefore) {
			answer.Jobs = append(answer.Jobs, &trackerpb.ListedJob{Job: j.proto(doc.JobID), Created: j.created})
		}
	})
	slices.SortFunc(answer.Jobs, func(a, b *trackerpb.ListedJob) int {
		return cmp.Or(cmp.Compare(b.Created, a.Created), strings.Compare(a.Job.JobId, b.Job.JobId))
	})
	if after := r.Msg.After; after != nil {
		answer.Jobs = slices.DeleteFunc(answer.Jobs, func(j *trackerpb.ListedJob) bool {
			return j.Created > after.Created || j.Created == after.Created && j.Job.JobId <= after.JobId
		})
	}
	if n := int(r.Msg.Limit); len(answer.Jobs) > n {
		answer.Jobs = answer.Jobs[:n]
		answer.Through = &trackerpb.Place{Created: answer.Jobs[n-1].Created, JobId: answer.Jobs[n-1].Job.JobId}
	}
	return connect.NewResponse(answer), nil
}

// Stats implements trackerpbconnect.TrackerHandler.
func (f *fakeTracker) Stats(
	ctx context.Context, r *connect.Request[trackerpb.StatsRequest],
) (*connect.Response[trackerpb.StatsResponse], error) {
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	if err := f.fresh(ctx, r.Msg.Fresh); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats = append(f.stats, r.Msg)
	if err := f.refused(); err != nil {
		return nil, err
	}
	answer := &trackerpb.StatsResponse{AsOf: f.asOf, Tagged: !f.untagged, Waits: f.waits}
	f.found(r.Msg.Tenant, r.Msg.Scope, r.Msg.Partitions, func(j *fakeJob, doc *job.Document) {
		if !f.tagged(r.Msg.Tags, doc) {
			return
		}
		answer.Counts = append(answer.Counts, &trackerpb.Count{
			Type: doc.Type, Lane: j.lane, State: string(doc.State), Jobs: 1,
		})
	})
	return connect.NewResponse(answer), nil
}
