package kafka

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/simnet"
)

// A broker whose container or pod is gone has no address any more. The group that it coordinated
// has another coordinator, which is found soon after Kafka has noticed.
func TestACoordinatorThatIsGoneIsReplaced(t *testing.T) {
	const (
		group    = "ackwire.tracker"
		noticed  = 6 * time.Second // by Kafka: its broker.session.timeout.ms
		askEvery = time.Second
		within   = 3 * time.Second // after that
	)
	bubble.Test(t, func(t *testing.T) {
		n := simnet.New()
		cluster, err := kfake.NewCluster(kfake.Ports(9092, 9093, 9094),
			kfake.ListenFn(func(network, address string) (net.Listener, error) {
				_, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				return n.Host(port).Listen(t.Context(), network, address)
			}))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		dead := ""
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == dead {
				return nil, &net.OpError{
					Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: address, IsNotFound: true},
				}
			}
			return n.Host("client").Dial(ctx, network, address)
		}
		cl, err := Config{Brokers: cluster.ListenAddrs()}.NewClient(service.Env{Log: slog.New(slog.DiscardHandler),
			Dial: dial}, "test")
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		if _, err := DescribeGroups(t.Context(), cl, group); err != nil {
			t.Fatal(err)
		}
		c := kadm.NewClient(cl).FindGroupCoordinators(t.Context(), group)[group]
		if c.Err != nil {
			t.Fatal(c.Err)
		}
		dead = net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
		n.Host(strconv.Itoa(int(c.Port))).Kill()
		for began := time.Now(); time.Since(began) < noticed; time.Sleep(askEvery) {
			if _, err := DescribeGroups(t.Context(), cl, group); err == nil {
				t.Fatal("the coordinator that was killed answers")
			}
		}
		if err := cluster.RemoveNode(c.NodeID); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); ; time.Sleep(askEvery) {
			_, err := DescribeGroups(t.Context(), cl, group)
			if err == nil {
				break
			}
			if time.Since(began) > within {
				t.Fatalf("%s after Kafka had noticed: %v", time.Since(began), err)
			}
		}
	})
}
