// Package kafkatest runs a real Apache Kafka in containers for tests: one broker or three,
// at addresses that survive a stop and a start.
//
// Without Docker a test is skipped; with ACKWIRE_REQUIRE_KAFKA=1 it fails instead.
package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bounds and names of a cluster.
const (
	startTimeout = 2 * time.Minute
	callTimeout  = time.Minute
	logTail      = 16 << 10 // bytes of each broker's log that a failed test shows

	clusterID = "5L6g3nShT-eMCtK--X86sw"
	hostPort  = "29092"
)

// Cluster is a running cluster. Its methods fail the test on an error or after a timeout.
type Cluster struct {
	network *testcontainers.DockerNetwork
	brokers []*broker
}

type broker struct {
	addr      string
	container *testcontainers.DockerContainer
}

// Start runs a cluster of one or three brokers until the test ends.
func Start(t testing.TB, brokers int) *Cluster {
	t.Helper()
	Require(t)
	return run(t, brokers, options{})
}

// options are what a cluster has beside the usual.
type options struct {
	env   map[string]string
	files map[string][]byte // by their path in the container
	ports map[string]int    // port of the container → port of this host
}

// run starts a cluster that ends with the test.
func run(t testing.TB, brokers int, opts options) *Cluster {
	t.Helper()
	c, err := start(brokers, opts)
	if err != nil {
		t.Fatalf("start Kafka: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.logs(t)
		}
		if err := c.terminate(); err != nil {
			t.Errorf("terminate Kafka: %v", err)
		}
	})
	return c
}

// Require skips the test when no container can be started; with ACKWIRE_REQUIRE_KAFKA=1 it fails it.
func Require(t testing.TB) {
	t.Helper()
	err := available()
	switch {
	case err == nil:
	case os.Getenv("ACKWIRE_REQUIRE_KAFKA") == "1":
		t.Fatalf("a real Kafka is required (ACKWIRE_REQUIRE_KAFKA=1): %v", err)
	default:
		t.Skipf("needs a real Kafka: %v", err)
	}
}

func start(n int, opts options) (_ *Cluster, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	img, err := image()
	if err != nil {
		return nil, err
	}
	c := &Cluster{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.terminate())
		}
	}()
	if c.network, err = network.New(ctx); err != nil {
		return c, fmt.Errorf("network: %w", err)
	}
	ports, err := freePorts(n)
	if err != nil {
		return c, err
	}
	c.brokers = make([]*broker, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			c.brokers[i] = &broker{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i]))}
			env := environment(i, n, c.brokers[i].addr)
			advertised := env["KAFKA_ADVERTISED_LISTENERS"]
			maps.Copy(env, opts.env)
			if more := opts.env["KAFKA_ADVERTISED_LISTENERS"]; more != "" {
				env["KAFKA_ADVERTISED_LISTENERS"] = advertised + "," + more
			}
			bind := map[string]int{hostPort: ports[i]}
			maps.Copy(bind, opts.ports)
			c.brokers[i].container, errs[i] = testcontainers.Run(ctx, img,
				testcontainers.WithLogger(quiet{}),
				testcontainers.WithEnv(env),
				testcontainers.WithExposedPorts(slices.Collect(maps.Keys(bind))...),
				testcontainers.WithFiles(opts.containerFiles()...),
				network.WithNetwork([]string{hostname(i)}, c.network),
				testcontainers.WithHostConfigModifier(func(hc *container.HostConfig) {
					hc.PortBindings = mobynet.PortMap{}
					for inside, outside := range bind {
						hc.PortBindings[mobynet.MustParsePort(inside+"/tcp")] = []mobynet.PortBinding{
							{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: strconv.Itoa(outside)},
						}
					}
				}),
			)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return c, err
	}
	return c, c.waitReady(ctx)
}

// containerFiles returns the files as testcontainers takes them.
func (o options) containerFiles() []testcontainers.ContainerFile {
	var all []testcontainers.ContainerFile
	for path, content := range o.files {
		all = append(all, testcontainers.ContainerFile{
			Reader: bytes.NewReader(content), ContainerFilePath: path, FileMode: 0o644,
		})
	}
	return all
}

// rack returns the rack of broker i.
func rack(i int) string { return fmt.Sprintf("rack-%d", i+1) }

func hostname(i int) string { return fmt.Sprintf("kafka-%d", i+1) }

// environment returns the variables that configure broker i of n, as the public image's documentation
// describes them.
func environment(i, n int, addr string) map[string]string {
	voters := make([]string, n)
	for j := range n {
		voters[j] = fmt.Sprintf("%d@%s:9093", j+1, hostname(j))
	}
	replicas, inSync := strconv.Itoa(min(n, 3)), strconv.Itoa(max(1, n-1))
	return map[string]string{
		"CLUSTER_ID":                                             clusterID,
		"KAFKA_NODE_ID":                                          strconv.Itoa(i + 1),
		"KAFKA_PROCESS_ROLES":                                    "broker,controller",
		"KAFKA_CONTROLLER_QUORUM_VOTERS":                         strings.Join(voters, ","),
		"KAFKA_LISTENERS":                                        "PLAINTEXT://:9092,CONTROLLER://:9093,HOST://:" + hostPort,
		"KAFKA_ADVERTISED_LISTENERS":                             "PLAINTEXT://" + hostname(i) + ":9092,HOST://" + addr,
		"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP":                   "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,HOST:PLAINTEXT",
		"KAFKA_INTER_BROKER_LISTENER_NAME":                       "PLAINTEXT",
		"KAFKA_CONTROLLER_LISTENER_NAMES":                        "CONTROLLER",
		"KAFKA_LOG_DIRS":                                         "/var/lib/kafka/data",
		"KAFKA_DEFAULT_REPLICATION_FACTOR":                       replicas,
		"KAFKA_MIN_INSYNC_REPLICAS":                              inSync,
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":                 replicas,
		"KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS":                     "3",
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR":         replicas,
		"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":                    inSync,
		"KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS":             "3",
		"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": replicas,
		"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR":            inSync,
		"KAFKA_AUTO_CREATE_TOPICS_ENABLE":                        "false",
		"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":                 "0",
		"KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS":                     "1000",
		// As in the compose file, and explained in docs/deploy.md: a lost broker is noticed soon.
		"KAFKA_BROKER_SESSION_TIMEOUT_MS":                 "1200",
		"KAFKA_BROKER_HEARTBEAT_INTERVAL_MS":              "300",
		"KAFKA_CONTROLLER_QUORUM_FETCH_TIMEOUT_MS":        "1000",
		"KAFKA_CONTROLLER_QUORUM_ELECTION_TIMEOUT_MS":     "500",
		"KAFKA_CONTROLLER_QUORUM_ELECTION_BACKOFF_MAX_MS": "300",
		"KAFKA_CONTROLLER_QUORUM_REQUEST_TIMEOUT_MS":      "1000",
		"KAFKA_REPLICA_FETCH_BACKOFF_MS":                  "100",
		"KAFKA_SOCKET_CONNECTION_SETUP_TIMEOUT_MS":        "1000",
		"KAFKA_SOCKET_CONNECTION_SETUP_TIMEOUT_MAX_MS":    "2000",
		"KAFKA_CONTROLLED_SHUTDOWN_ENABLE":                "true",
		"KAFKA_HEAP_OPTS":                                 "-Xms128m -Xmx320m",
		// Each broker is in a rack of its own, and lets clients with a rack read from the nearest replica (KIP-392).
		"KAFKA_BROKER_RACK":            rack(i),
		"KAFKA_REPLICA_SELECTOR_CLASS": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
	}
}

// Brokers returns the bootstrap addresses, host:port. They stay the same over stops and starts.
func (c *Cluster) Brokers() []string {
	addrs := make([]string, len(c.brokers))
	for i, b := range c.brokers {
		addrs[i] = b.addr
	}
	return addrs
}

// Kill ends broker i with SIGKILL.
func (c *Cluster) Kill(t testing.TB, i int) {
	t.Helper()
	c.docker(t, "kill", i, func(ctx context.Context, d *testcontainers.DockerClient, id string) error {
		_, err := d.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "SIGKILL"})
		return err
	})
}

// Controller returns the number of the broker that is the active controller.
func (c *Cluster) Controller(t testing.TB) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, cl)
	if err == nil && (len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1) {
		err = errors.New("an answer without the quorum's partition")
	}
	if err != nil {
		t.Fatalf("describe the quorum: %v", err)
	}
	return int(resp.Topics[0].Partitions[0].LeaderID) - 1
}

// Stop ends broker i with SIGTERM, and with SIGKILL after half a minute.
func (c *Cluster) Stop(t testing.TB, i int) {
	t.Helper()
	c.docker(t, "stop", i, func(ctx context.Context, d *testcontainers.DockerClient, id string) error {
		seconds := 30
		_, err := d.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &seconds})
		return err
	})
}

// Restart starts broker i, which was stopped or killed, on the data that it had. It does
// not wait until the broker serves: see WaitReady.
func (c *Cluster) Restart(t testing.TB, i int) {
	t.Helper()
	c.docker(t, "start", i, func(ctx context.Context, d *testcontainers.DockerClient, id string) error {
		_, err := d.ContainerStart(ctx, id, client.ContainerStartOptions{})
		return err
	})
}

// Pause freezes every process of broker i, which keeps its connections open.
func (c *Cluster) Pause(t testing.TB, i int) {
	t.Helper()
	c.docker(t, "pause", i, func(ctx context.Context, d *testcontainers.DockerClient, id string) error {
		_, err := d.ContainerPause(ctx, id, client.ContainerPauseOptions{})
		return err
	})
}

// Unpause lets broker i go on.
func (c *Cluster) Unpause(t testing.TB, i int) {
	t.Helper()
	c.docker(t, "unpause", i, func(ctx context.Context, d *testcontainers.DockerClient, id string) error {
		_, err := d.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
		return err
	})
}

func (c *Cluster) docker(
	t testing.TB, what string, i int, call func(context.Context, *testcontainers.DockerClient, string) error,
) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	d, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		t.Fatalf("docker: %v", err)
	}
	defer d.Close()
	if err := call(ctx, d, c.brokers[i].container.GetContainerID()); err != nil {
		t.Fatalf("%s broker %d: %v", what, i, err)
	}
}

// WaitReady waits until every broker is registered and answers.
func (c *Cluster) WaitReady(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := c.waitReady(ctx); err != nil {
		c.logs(t)
		t.Fatal(err)
	}
}

func (c *Cluster) waitReady(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.DialTimeout(time.Second),
		kgo.RetryTimeout(2*time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.allReady(ctx, cl)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d brokers are not ready: %w (last: %w)", len(c.brokers), ctx.Err(), err)
		}
	}
}

// allReady asks every broker whether it knows all of them. The answer of one broker does not tell that the others serve
// already, nor does a connection to a published port, which Docker's proxy takes by itself.
func (c *Cluster) allReady(ctx context.Context, cl *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for i, b := range cl.SeedBrokers() {
		resp, err := b.Request(ctx, kmsg.NewPtrMetadataRequest())
		if err != nil {
			return fmt.Errorf("broker %d: %w", i, err)
		}
		if n := len(resp.(*kmsg.MetadataResponse).Brokers); n != len(c.brokers) {
			return fmt.Errorf("broker %d knows %d brokers", i, n)
		}
	}
	return nil
}

// logs shows the end of every broker's log.
func (c *Cluster) logs(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	for i, b := range c.brokers {
		if b == nil || b.container == nil {
			continue
		}
		r, err := b.container.Logs(ctx)
		if err != nil {
			t.Logf("log of broker %d: %v", i, err)
			continue
		}
		all, _ := io.ReadAll(r)
		_ = r.Close()
		t.Logf("log of broker %d ends:\n%s", i, all[max(0, len(all)-logTail):])
	}
}

func (c *Cluster) terminate() error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	var errs []error
	for _, b := range c.brokers {
		if b != nil && b.container != nil {
			errs = append(errs, b.container.Terminate(ctx, testcontainers.StopTimeout(0)))
		}
	}
	if c.network != nil {
		errs = append(errs, c.network.Remove(ctx))
	}
	return errors.Join(errs...)
}

// freePorts returns ports that are not in use now.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a port: %w", err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// quiet drops testcontainers' progress messages.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

var _ log.Logger = quiet{}
