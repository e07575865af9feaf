package ackwire

import (
	"context"
	"net/url"

	"github.com/ackwire/ackwire/schemas/frame"
)

// StatsOption says which jobs Stats counts.
type StatsOption func(url.Values)

// CountTags counts only jobs that have all of these tags; at most 4.
func CountTags(tags map[string]string) StatsOption {
	return func(q url.Values) {
		for key, value := range tags {
			q.Add("tag", key+":"+value)
		}
	}
}

// CountTenant counts the jobs of another tenant than the token's. The token needs the permission operate.
func CountTenant(tenant string) StatsOption {
	return func(q url.Values) { q.Set("tenant", tenant) }
}

// stats counts jobs (GET /v1/stats).
func (r *rest) stats(ctx context.Context, opts []StatsOption) (stats frame.Stats, err error) {
	q := url.Values{}
	for _, option := range opts {
		option(q)
	}
	err = r.readInto(ctx, "stats", withQuery("/v1/stats", q), &stats)
	return stats, err
}
