package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// DescribeGroups asks groups' coordinators about them. The library remembers a coordinator, for
// this request also one that it can not reach, until the broker is no longer in its list of
// brokers, which it reads every five minutes and when records find no leader: a gateway without
// records was blind for that long. So a failure has the list read at once, and who asks again,
// once Kafka has noticed that the broker is gone, asks the next coordinator.
func DescribeGroups(ctx context.Context, cl *kgo.Client, groups ...string) (kadm.DescribedGroups, error) {
	described, err := kadm.NewClient(cl).DescribeGroups(ctx, groups...)
	if err != nil {
		cl.ForceMetadataRefresh()
	}
	return described, err
}
