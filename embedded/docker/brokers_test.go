package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"regexp"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/ackwire/ackwire/schemas/topic"
)

// brokers of the compose file.
const brokers = 3

// coordinator is the container of the broker that coordinates the trackers' group: the one whose
// death is felt most, for gateways ask it who owns what. Brokers have no ports on this machine;
// they are reached at their containers' addresses.
func (c compose) coordinator(ctx context.Context, t *testing.T) (container string) {
	t.Helper()
	containers, seeds, addresses := map[int32]string{}, []string{}, map[string]string{}
	for id := int32(1); id <= brokers; id++ {
		name := fmt.Sprint("kafka-", id)
		containers[id] = c.containers(t, name)[0]
		seeds = append(seeds, name+":9092")
		addresses[name] = command{}.told(t, "docker", "inspect", "-f",
			"{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", containers[id])
	}
	file := func(name string) string {
		return command{}.told(t, "docker", "exec", containers[1], "cat", "/keys/"+name)
	}
	pool := x509.NewCertPool()
	user := regexp.MustCompile(`name=(ackwire-admin),password=(\w+)`).FindStringSubmatch(file("scram"))
	if !pool.AppendCertsFromPEM([]byte(file("ca.pem"))) || user == nil {
		t.Fatal("brokers have no authority or no administrator")
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...),
		kgo.SASL(scram.Auth{User: user[1], Pass: user[2]}.AsSha512Mechanism()),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			name, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			d := tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}}
			return d.DialContext(ctx, network, net.JoinHostPort(addresses[name], port))
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	group := topic.Names{Prefix: topic.DefaultPrefix}.TrackerGroup()
	found := kadm.NewClient(cl).FindGroupCoordinators(ctx, group)[group]
	if found.Err != nil || containers[found.NodeID] == "" {
		t.Fatalf("the coordinator of %s: %+v", group, found)
	}
	return containers[found.NodeID]
}
