package upstream

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

// MaxPageBytes bounds the documents of a merged page, in bytes. A page may always have one document.
const MaxPageBytes = 1 << 20

// List asks every tracker and merges their answers to a page of at most req.Limit jobs, newest
// first and without gaps. It sets the request's partitions and freshness. It tries again while
// a partition has no owner, until ctx ends. Its errors have Connect codes.
func (u *Upstream) List(ctx context.Context, req *trackerpb.ListRequest) (*trackerpb.ListResponse, error) {
	pages, err := scatter(ctx, u, func(c trackerpbconnect.TrackerClient, partitions []int32) (*trackerpb.ListResponse,
		error) {
		r, err := c.List(ctx, connect.NewRequest(&trackerpb.ListRequest{
			Tenant: req.Tenant, Partitions: partitions, Subjects: req.Subjects, States: req.States, Types: req.Types,
			Lanes:       req.Lanes,
			CreatedFrom: req.CreatedFrom, CreatedBefore: req.CreatedBefore, UpdatedFrom: req.UpdatedFrom,
			UpdatedBefore: req.UpdatedBefore,
			After:         req.After, Limit: req.Limit, Fresh: u.written.of(partitions), Scope: req.Scope, Brief: req.Brief,
			Tags: req.Tags,
		}))
		if err != nil {
			return nil, err
		}
		return r.Msg, heeded(req.Tags, r.Msg.Tagged)
	})
	if err != nil {
		return nil, err
	}
	merged := mergeLists(pages, int(req.Limit), MaxPageBytes)
	for _, j := range merged.Jobs {
		j.Job.Document = shown(req.Scope, j.Job.Document)
	}
	return merged, nil
}

var errTags = errors.New("a tracker of an earlier version does not know of tags")

// heeded returns an error that is worth another try if a tracker has passed over the tags that were asked for: it has
// answered about jobs that do not have them.
func heeded(tags []*trackerpb.Tag, tagged bool) error {
	if len(tags) > 0 && !tagged {
		return connect.NewError(connect.CodeUnavailable, errTags)
	}
	return nil
}

// Stats asks every tracker for the counts of the tenant's jobs that are in the scope, all of them if it is nil, and
// have all tags, and adds them up. It tries again as List does.
func (u *Upstream) Stats(
	ctx context.Context, tenant string, scope *trackerpb.Scope, tags []*trackerpb.Tag,
) (*trackerpb.StatsResponse, error) {
	all, err := scatter(ctx, u, func(c trackerpbconnect.TrackerClient, partitions []int32) (*trackerpb.StatsResponse,
		error) {
		r, err := c.Stats(ctx, connect.NewRequest(&trackerpb.StatsRequest{Tenant: tenant, Partitions: partitions,
			Scope: scope, Tags: tags, Fresh: u.written.of(partitions)}))
		if err != nil {
			return nil, err
		}
		return r.Msg, heeded(tags, r.Msg.Tagged)
	})
	if err != nil {
		return nil, err
	}
	return mergeStats(all), nil
}

// Written records that an event of this gateway is in the log: in this partition, at this version. Later lists and
// counts of this gateway wait until the trackers have folded it, so that they include it.
func (u *Upstream) Written(partition int32, version int64) { u.written.note(partition, version) }

// positions holds the highest version that this gateway has written, by partition.
type positions struct {
	mu       sync.Mutex // guards versions
	versions map[int32]int64
}

func (p *positions) note(partition int32, version int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.versions == nil {
		p.versions = map[int32]int64{}
	}
	p.versions[partition] = max(p.versions[partition], version)
}

func (p *positions) of(partitions []int32) []*trackerpb.Freshness {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fresh []*trackerpb.Freshness
	for _, partition := range partitions {
		if v := p.versions[partition]; v > 0 {
			fresh = append(fresh, &trackerpb.Freshness{Partition: partition, MinVersion: v})
		}
	}
	return fresh
}

// scatter asks the owners of all partitions in parallel, each for its own. Partitions that have moved or are being
// restored are asked for again, until ctx ends. Each partition is in exactly one answer.
func scatter[T any](
	ctx context.Context, u *Upstream, call func(trackerpbconnect.TrackerClient, []int32) (T, error),
) ([]T, error) {
	var answers []T
	answered := map[int32]bool{}
	var again error // why it tries again
	if !u.owners.known() {
		again = u.owners.refresh(ctx)
	}
	for {
		byAddr, missing := u.owners.split(answered)
		if missing && again == nil {
			again = errNoOwner
		}
		var asked sync.WaitGroup
		var mu sync.Mutex // guards answers, answered, again and refused
		var refused error
		for addr, partitions := range byAddr {
			if err := u.links.broken(addr, time.Now()); err != nil {
				refused = connect.NewError(connect.CodeUnavailable, err)
				continue
			}
			asked.Go(func() {
				answer, err := call(u.client(addr), partitions)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					answers = append(answers, answer)
					for _, p := range partitions {
						answered[p] = true
					}
				case ctx.Err() != nil, worthAnother(err) && !isRefused(err):
					missing, again = true, err
				default:
					refused = err
				}
			})
		}
		asked.Wait()
		switch {
		case refused != nil:
			return nil, refused
		case !missing:
			return answers, nil
		}
		if !pause.For(ctx, retryInterval) {
			return nil, connect.NewError(connect.CodeUnavailable, again)
		}
		again = u.owners.refresh(ctx)
	}
}

// split groups the partitions that are not answered yet by the address of their owner. missing reports that some have
// no owner.
func (o *owners) split(answered map[int32]bool) (byAddr map[string][]int32, missing bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.partitions == 0 || time.Since(o.askedAt) > o.bounds.Owners {
		return nil, true
	}
	byAddr = map[string][]int32{}
	for p := range o.partitions {
		addr, owned := o.byPart[p]
		switch {
		case answered[p]:
		case owned:
			byAddr[addr] = append(byAddr[addr], p)
		default:
			missing = true
		}
	}
	return byAddr, missing
}

// known reports whether there is a recent answer of the group.
func (o *owners) known() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.partitions != 0 && time.Since(o.askedAt) <= o.bounds.Owners
}

// comparePlaces defines the order of a list: newest first, and by ID for jobs of the same millisecond.
func comparePlaces(a, b *trackerpb.Place) int {
	return cmp.Or(cmp.Compare(b.Created, a.Created), strings.Compare(a.JobId, b.JobId))
}

func placeOf(j *trackerpb.ListedJob) *trackerpb.Place {
	return &trackerpb.Place{Created: j.Created, JobId: j.Job.JobId}
}

// mergeLists merges the pages of several trackers into one. A tracker's page is complete only up to its Through, so the
// merged page ends at the first of these places. It also ends at limit jobs, or before it would have more than maxBytes
// of documents. Its own Through is then the place of its end.
func mergeLists(pages []*trackerpb.ListResponse, limit, maxBytes int) *trackerpb.ListResponse {
	merged := &trackerpb.ListResponse{}
	var jobs []*trackerpb.ListedJob
	for i, page := range pages {
		if page.Through != nil && (merged.Through == nil || comparePlaces(page.Through, merged.Through) < 0) {
			merged.Through = page.Through
		}
		if i == 0 || page.AsOf < merged.AsOf {
			merged.AsOf = page.AsOf
		}
		jobs = append(jobs, page.Jobs...)
	}
	slices.SortFunc(jobs, func(a, b *trackerpb.ListedJob) int { return comparePlaces(placeOf(a), placeOf(b)) })
	bytes := 0
	for i, j := range jobs {
		if merged.Through != nil && comparePlaces(placeOf(j), merged.Through) > 0 {
			break
		}
		bytes += len(j.Job.Document)
		if i > 0 && (i >= limit || bytes > maxBytes) {
			merged.Through = placeOf(jobs[i-1])
			break
		}
		merged.Jobs = append(merged.Jobs, j)
	}
	return merged
}

// mergeStats adds up counts, and sorts them by type, lane and state. Every tracker measures the waits of all lanes of
// its system: the earliest counts.
func mergeStats(all []*trackerpb.StatsResponse) *trackerpb.StatsResponse {
	type key struct{ jobType, lane, state string }
	merged := &trackerpb.StatsResponse{}
	sums := map[key]int64{}
	waits := map[string]*trackerpb.LaneWait{}
	for i, s := range all {
		if i == 0 || s.AsOf < merged.AsOf {
			merged.AsOf = s.AsOf
		}
		merged.Closed = merged.Closed || s.Closed
		for _, c := range s.Counts {
			sums[key{c.Type, c.Lane, c.State}] += c.Jobs
		}
		for _, w := range s.Waits {
			if was := waits[w.Lane]; was == nil || w.Since < was.Since {
				waits[w.Lane] = w
			}
		}
	}
	for k, n := range sums {
		merged.Counts = append(merged.Counts, &trackerpb.Count{Type: k.jobType, Lane: k.lane, State: k.state, Jobs: n})
	}
	merged.Waits = slices.SortedFunc(maps.Values(waits), func(a, b *trackerpb.LaneWait) int {
		return strings.Compare(a.Lane, b.Lane)
	})
	slices.SortFunc(merged.Counts, func(a, b *trackerpb.Count) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.State, b.State))
	})
	return merged
}
