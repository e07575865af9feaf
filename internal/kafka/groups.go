package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// metadataMaxAge is how long partitions that were added to a topic may go unnoticed: by producers, and by the leader of
// a consumer group, which then has them assigned. The library's default is five minutes.
const metadataMaxAge = 10 * time.Second

// DescribeGroups asks the coordinators of groups to describe them. After an error it refreshes the client's
// metadata.
//
// The library remembers a group's coordinator until that broker is no longer in its list of brokers, even
// if it cannot reach the broker. It reads that list only every metadataMaxAge and when records find no leader,
// so a gateway that produced nothing could not learn a new coordinator for so long. With the refresh, a later
// call asks the new coordinator as soon as Kafka has noticed that the old one is gone.
func DescribeGroups(ctx context.Context, cl *kgo.Client, groups ...string) (kadm.DescribedGroups, error) {
	described, err := kadm.NewClient(cl).DescribeGroups(ctx, groups...)
	if err != nil {
		cl.ForceMetadataRefresh()
	}
	return described, err
}
