package vendors

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/kafka"
)

// Options are those of a kfake cluster that is to be the vendor's. Its ports are 9092 and those that follow.
func (v Vendor) Options() []kfake.Opt {
	ports := make([]int, v.Brokers)
	for i := range ports {
		ports[i] = 9092 + i
	}
	return []kfake.Opt{kfake.NumBrokers(v.Brokers), kfake.Ports(ports...), kfake.MaxVersions(v.Versions)}
}

// Rules refuse what a vendor refuses.
type Rules struct {
	vendor  Vendor
	cluster *kfake.Cluster

	mu     sync.Mutex // guards all below
	portal bool       // topics are being made by Make
	topics map[string]map[string]string
}

// Apply makes a cluster with the options of v refuse what the vendor refuses.
func (v Vendor) Apply(c *kfake.Cluster) *Rules {
	r := &Rules{vendor: v, cluster: c, topics: map[string]map[string]string{}}
	control := func(key kmsg.Key, f func(kmsg.Request) (kmsg.Response, error, bool)) {
		c.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			r.mu.Lock()
			defer r.mu.Unlock()
			return f(req)
		})
	}
	control(kmsg.CreateTopics, r.create)
	control(kmsg.DescribeConfigs, r.describe)
	control(kmsg.FindCoordinator, r.coordinator)
	control(kmsg.Produce, r.produce)
	return r
}

// Make makes topics as the vendor's portal does: with the settings that they need, as far as the vendor allows.
func (r *Rules) Make(ctx context.Context, cl *kgo.Client, topics ...kafka.Topic) error {
	r.mu.Lock()
	r.portal = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.portal = false
		r.mu.Unlock()
	}()
	for _, t := range topics {
		configs := map[string]*string{}
		for k, v := range t.Configs {
			if ms, err := strconv.ParseInt(v, 10, 64); k == "retention.ms" && err == nil && r.vendor.Topics.MaxRetention > 0 {
				v = strconv.FormatInt(min(ms, r.vendor.Topics.MaxRetention), 10)
			}
			configs[k] = &v
		}
		_, err := kadm.NewClient(cl).CreateTopic(ctx, t.Partitions, -1, configs, t.Name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return err
		}
	}
	return nil
}

// create refuses topics, or takes settings out that the vendor ignores, and remembers the others.
func (r *Rules) create(req kmsg.Request) (kmsg.Response, error, bool) {
	creates := req.(*kmsg.CreateTopicsRequest)
	resp := creates.ResponseKind().(*kmsg.CreateTopicsResponse)
	rules := r.vendor.Topics
	for i := range creates.Topics {
		t := &creates.Topics[i]
		if code, text := r.refuses(t); code != nil {
			for _, all := range creates.Topics {
				st := kmsg.NewCreateTopicsResponseTopic()
				st.Topic, st.ErrorCode, st.ErrorMessage = all.Topic, code.Code, &text
				resp.Topics = append(resp.Topics, st)
			}
			return resp, nil, true
		}
		has := map[string]string{}
		for k, v := range rules.Defaults {
			has[k] = v
		}
		for _, c := range t.Configs {
			_, known := rules.Settings[c.Name]
			if c.Value != nil && (known || rules.Settings == nil) {
				has[c.Name] = *c.Value
			}
		}
		if r.topics[t.Topic] == nil {
			r.topics[t.Topic] = has
		}
		if rules.Replicas > 0 {
			t.ReplicationFactor = rules.Replicas
		}
	}
	return nil, nil, false
}

// refuses returns why a topic is not made; nil if it is.
func (r *Rules) refuses(t *kmsg.CreateTopicsRequestTopic) (*kerr.Error, string) {
	rules := r.vendor.Topics
	if r.portal {
		return nil, ""
	}
	if rules.Never != "" {
		return kerr.PolicyViolation, rules.Never
	}
	if rules.Replication > 0 && t.ReplicationFactor != -1 && t.ReplicationFactor != rules.Replication {
		return kerr.InvalidReplicationFactor, "Topic replication factor must be " + strconv.Itoa(int(rules.Replication))
	}
	if rules.Settings == nil || rules.Ignores {
		return nil, ""
	}
	for _, c := range t.Configs {
		value := ""
		if c.Value != nil {
			value = *c.Value
		}
		b, known := rules.Settings[c.Name]
		n, err := strconv.ParseInt(value, 10, 64)
		if !known || err == nil && (n != -1 && n < b.Min || b.Max > 0 && n > b.Max) {
			return rules.Refusal, rules.Text(c.Name, value, b)
		}
	}
	return nil, ""
}

// describe tells what the vendor tells of topics.
func (r *Rules) describe(req kmsg.Request) (kmsg.Response, error, bool) {
	asked := req.(*kmsg.DescribeConfigsRequest)
	resp := asked.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for _, a := range asked.Resources {
		res := kmsg.NewDescribeConfigsResponseResource()
		res.ResourceType, res.ResourceName = a.ResourceType, a.ResourceName
		has, ok := r.topics[a.ResourceName]
		switch {
		case a.ResourceType != kmsg.ConfigResourceTypeTopic:
			res.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		case !ok:
			res.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		for k, v := range has {
			if r.vendor.Topics.Tells == nil || slices.Contains(r.vendor.Topics.Tells, k) {
				c := kmsg.NewDescribeConfigsResponseResourceConfig()
				c.Name, c.Value = k, &v
				res.Configs = append(res.Configs, c)
			}
		}
		resp.Resources = append(resp.Resources, res)
	}
	return resp, nil, true
}

// coordinator refuses the coordinator of transactions.
func (r *Rules) coordinator(req kmsg.Request) (kmsg.Response, error, bool) {
	find := req.(*kmsg.FindCoordinatorRequest)
	if find.CoordinatorType != 1 || r.vendor.Coordinator == "" {
		return nil, nil, false
	}
	resp := find.ResponseKind().(*kmsg.FindCoordinatorResponse)
	resp.ErrorCode, resp.ErrorMessage = kerr.InvalidRequest.Code, &r.vendor.Coordinator
	for _, key := range find.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.ErrorCode, c.ErrorMessage = key, kerr.InvalidRequest.Code, &r.vendor.Coordinator
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return resp, nil, true
}

// Where a batch has its attributes (KIP-98), of which the lowest three bits are the codec.
const (
	attributesAt = 21
	codecBits    = 7
)

// errTooLarge closes the connection.
var errTooLarge = errors.New("the request is too large")

// produce refuses batches by their compression, and requests by their size.
func (r *Rules) produce(req kmsg.Request) (kmsg.Response, error, bool) {
	produce := req.(*kmsg.ProduceRequest)
	size, refused := 0, false
	for _, t := range produce.Topics {
		for _, p := range t.Partitions {
			size += len(p.Records)
			if r.vendor.Codecs != nil && len(p.Records) > attributesAt+2 {
				codec := Codec(binary.BigEndian.Uint16(p.Records[attributesAt:]) & codecBits)
				refused = refused || !slices.Contains(r.vendor.Codecs, codec)
			}
		}
	}
	if limit := r.vendor.MaxRequest; limit > 0 && size > limit {
		return nil, errTooLarge, true
	}
	if !refused {
		return nil, nil, false
	}
	resp := produce.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range produce.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, kerr.UnsupportedForMessageFormat.Code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil, true
}
