package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/topic"
)

// connect examines each address, and connects. It returns false if no broker can be asked.
func (d *doctor) connect(ctx context.Context) bool {
	var good []string
	for _, address := range d.Kafka.Brokers {
		if d.address(ctx, address) {
			good = append(good, address)
		}
	}
	if len(good) == 0 {
		return false
	}
	cfg := d.Kafka
	cfg.Brokers = good
	var err error
	if d.client, err = cfg.NewAdminClient(d.Env, kgo.RetryTimeout(askTimeout)); err != nil {
		d.say(Unreachable, CheckAddress, strings.Join(good, ","), "%v", err)
		return false
	}
	err = ask(ctx, func(ctx context.Context) error {
		meta, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, d.client)
		if err == nil {
			d.brokers = meta.Brokers
		}
		return err
	})
	if err != nil {
		d.say(Unreachable, CheckAddress, strings.Join(good, ","), "the cluster does not say which brokers it has: %v", err)
		d.client.Close()
		return false
	}
	for _, b := range d.brokers {
		d.advertised(ctx, fmt.Sprintf("%s:%d", b.Host, b.Port))
	}
	return true
}

// address connects to one address as a client does: TCP, TLS, authentication.
func (d *doctor) address(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if !d.reach(ctx, address, "kafka") {
		return false
	}
	cfg := d.Kafka
	cfg.Brokers = []string{address}
	cl, err := cfg.NewAdminClient(d.Env)
	if err != nil {
		d.say(Unreachable, CheckAddress, address, "%v", err)
		return false
	}
	defer cl.Close()
	pinger := kafka.NewPinger(cl)
	defer pinger.Wait()
	err = pinger.Ping(ctx)
	if trouble := kafka.Trouble(cl); err != nil && trouble != nil {
		err = trouble
	}
	problem, known := errors.AsType[*kafka.Problem](err)
	switch {
	case known && problem.TLS():
		d.say(Unreachable, CheckTLS, address, "%v", problem)
		return false
	case known:
		d.say(Unreachable, CheckAuthentication, address, "%v", problem)
		return false
	case err != nil:
		d.say(Unreachable, CheckAddress, address, "no Kafka answers there: %v", err)
		return false
	}
	if d.Kafka.Security.TLS {
		d.say(OK, CheckTLS, address, "encrypted by TLS, and the broker's certificate is trusted")
	} else {
		d.say(Advice, CheckTLS, address, "the connection is not encrypted (kafka-tls)")
	}
	if d.Kafka.Security.SASL != "" {
		d.say(OK, CheckAuthentication, address, "%s accepts %s", d.Kafka.Security.SASL, cmp.Or(d.me(), "the token"))
	}
	return true
}

// reach makes a connection and nothing more. setting is where the address comes from.
func (d *doctor) reach(ctx context.Context, address, setting string) bool {
	conn, err := d.Env.Dial(ctx, "tcp", address)
	if err != nil {
		d.say(Unreachable, CheckAddress, address, "cannot be reached: %v (%s)", err, setting)
		return false
	}
	_ = conn.Close()
	d.say(OK, CheckAddress, address, "reachable")
	return true
}

// advertised examines an address that the cluster has given, unless it was examined.
func (d *doctor) advertised(ctx context.Context, address string) {
	for _, known := range d.Kafka.Brokers {
		if known == address {
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := d.Env.Dial(ctx, "tcp", address)
	if err != nil {
		d.say(Wrong, CheckAddress, address, "a broker advertises this address, which cannot be reached from here: %v "+
			"(advertised.listeners of the broker)", err)
		return
	}
	_ = conn.Close()
	d.say(OK, CheckAddress, address, "advertised by a broker, and reachable")
}

// me returns the principal as which the doctor is connected, as far as its settings tell; empty if they do not.
func (d *doctor) me() string {
	s := d.Kafka.Security
	switch {
	case s.SASL == "oauthbearer" || s.SASL == "aws-msk-iam":
		return ""
	case s.SASL != "":
		return "User:" + s.User
	case s.CertFile != "":
		text, err := os.ReadFile(s.CertFile)
		if block, _ := pem.Decode(text); err == nil && block != nil {
			if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
				return "User:" + cert.Subject.String()
			}
		}
		return ""
	}
	return "User:ANONYMOUS"
}

// request is a request that a broker must know.
type request struct {
	key   kmsg.Key
	least int16 // the version that is needed
	roles []topic.Role
	state State  // if it is missing
	why   string // what does not work then
}

var (
	services = []topic.Role{topic.RoleGateway, topic.RoleTracker, topic.RoleProcessor}
	members  = []topic.Role{topic.RoleTracker, topic.RoleProcessor}
	trackers = []topic.Role{topic.RoleTracker}
)

var requests = []request{
	{kmsg.Produce, 3, topic.Roles, Wrong, "nothing can be written"},
	{kmsg.Fetch, 4, topic.Roles, Wrong, "nothing can be read"},
	{kmsg.ListOffsets, 1, topic.Roles, Wrong, "the ends of partitions are not known"},
	{kmsg.Metadata, 5, topic.Roles, Wrong, "topics are not known"},
	{kmsg.Metadata, 8, topic.Roles, Advice, "missing permissions for topics are noticed late"},
	{kmsg.FindCoordinator, 0, topic.Roles, Wrong, "there are no groups"},
	{kmsg.DescribeConfigs, 0, services, Wrong, "settings of topics cannot be verified: start with --topics off"},
	{kmsg.InitProducerID, 0, services, Wrong, "records may be written twice"},
	{kmsg.JoinGroup, 0, members, Wrong, "processes cannot share partitions"},
	{kmsg.OffsetCommit, 2, members, Wrong, "positions are not kept"},
	{kmsg.OffsetFetch, 1, members, Wrong, "positions are not kept"},
	{kmsg.DescribeGroups, 0, []topic.Role{topic.RoleGateway}, Wrong, "gateways do not find trackers"},
	{kmsg.IncrementalAlterConfigs, 0, services, Advice,
		"a topic's retention is not raised when a job type needs it (--topics create)"},
}

// transactional are the requests with which the topic view is written.
var transactional = []request{
	{kmsg.AddPartitionsToTxn, 0, trackers, Wrong, "there are no transactions: start trackers with --tracker-no-view"},
	{kmsg.EndTxn, 0, trackers, Wrong, "there are no transactions: start trackers with --tracker-no-view"},
}

// fetchesFromFollowers is the version of Fetch that names racks (KIP-392).
const fetchesFromFollowers = 11

// versions examines which requests the broker knows.
func (d *doctor) versions(ctx context.Context) {
	var resp *kmsg.ApiVersionsResponse
	err := ask(ctx, func(ctx context.Context) (err error) {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "ackwire-doctor", "1"
		resp, err = req.RequestWith(ctx, d.client)
		return err
	})
	if err != nil {
		d.say(Unknown, CheckVersion, "broker", "it does not say which requests it knows: %v", err)
		return
	}
	d.keys = map[int16]int16{}
	for _, k := range resp.ApiKeys {
		d.keys[k.ApiKey] = k.MaxVersion
	}
	bad, needed := 0, requests
	if !d.Plan.NoView {
		needed = slices.Concat(requests, transactional)
	}
	for _, r := range needed {
		if have, known := d.keys[r.key.Int16()]; d.has(r.roles...) && (!known || have < r.least) {
			bad++
			d.say(r.state, CheckVersion, r.key.Name(), "the broker does not know version %d of this request: %s", r.least,
				r.why)
		}
	}
	if have := d.keys[kmsg.Fetch.Int16()]; d.Kafka.Rack != "" && have < fetchesFromFollowers {
		bad++
		d.say(Advice, CheckVersion, kmsg.Fetch.Name(), "the broker does not know version %d of this request: kafka-rack has "+
			"no effect", fetchesFromFollowers)
	}
	if bad == 0 {
		guess := kversion.FromApiVersionsResponse(resp).VersionGuess()
		d.say(OK, CheckVersion, "broker", "knows all requests that are needed; as Kafka %s", guess)
	}
}
