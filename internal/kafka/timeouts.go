package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Profiles of Timeouts.
const (
	ProfileLocal       = "local"        // Kafka is in the same zone, and answers in milliseconds
	ProfileRegional    = "regional"     // other zones or a near region: tens of milliseconds
	ProfileObjectStore = "object-store" // brokers that write to an object store, as WarpStream's: hundreds of milliseconds
)

// Timeouts says how long this process waits for Kafka: a profile, and single bounds that differ from the profile's.
type Timeouts struct {
	Profile  string        `name:"kafka-profile" help:"Set of timeouts for Kafka: local for a cluster in the same zone; regional for one in other zones; object-store for brokers that write to an object store, such as WarpStream's, and take hundreds of milliseconds. The flags kafka-…-timeout change single timeouts." enum:"local,regional,object-store" default:"local"`
	Dial     time.Duration `name:"kafka-dial-timeout" help:"Longest time to connect to a broker. By default that of kafka-profile: 1s, 2s or 5s." placeholder:"DURATION"`
	Request  time.Duration `name:"kafka-request-timeout" help:"Longest time for a broker's answer to a request, on top of the time that the request grants the broker. By default that of kafka-profile: 1.5s, 3s or 5s." placeholder:"DURATION"`
	Produce  time.Duration `name:"kafka-produce-timeout" help:"Time that a request to write records grants the brokers for writing them to all replicas in sync. By default that of kafka-profile: 1s, 2s or 5s." placeholder:"DURATION"`
	Delivery time.Duration `name:"kafka-delivery-timeout" help:"Longest time to write a record, with all tries. After it the outcome is unknown. By default that of kafka-profile: 5s, 10s or 20s." placeholder:"DURATION"`
	Session  time.Duration `name:"kafka-session-timeout" help:"Time without a heartbeat after which the members of a consumer group take over from one. By default that of kafka-profile: 10s, 15s or 30s." placeholder:"DURATION"`
}

// profiles are the bounds that each profile sets; the others follow from them. With the library's defaults a record in
// flight to a hung broker ignores its context for over 28 s. With these its request is given up after Produce and
// Request, and goes to the partition's next leader while at least half of Delivery is left, even when the broker's
// machine has failed without closing connections.
var profiles = map[string]Timeouts{
	ProfileLocal: {
		Dial: time.Second, Request: 1500 * time.Millisecond, Produce: time.Second,
		Delivery: 5 * time.Second, Session: 10 * time.Second,
	},
	ProfileRegional: {
		Dial: 2 * time.Second, Request: 3 * time.Second, Produce: 2 * time.Second,
		Delivery: 10 * time.Second, Session: 15 * time.Second,
	},
	ProfileObjectStore: {
		Dial: 5 * time.Second, Request: 5 * time.Second, Produce: 5 * time.Second,
		Delivery: 20 * time.Second, Session: 30 * time.Second,
	},
}

// Typical times of a write, up to which a profile suits a cluster: some writes take ten times as long.
const (
	localWrite    = 50 * time.Millisecond
	regionalWrite = 250 * time.Millisecond
)

// ProfileFor returns the name of the profile that suits a cluster in which a write takes that long.
func ProfileFor(write time.Duration) string {
	switch {
	case write <= localWrite:
		return ProfileLocal
	case write <= regionalWrite:
		return ProfileRegional
	}
	return ProfileObjectStore
}

// Bounds are the times that depend on how quickly Kafka answers. The first five are those of Timeouts and the others
// follow from them, so that all fit together.
type Bounds struct {
	Dial     time.Duration // to connect to a broker, or for TLS's handshake: Request
	Request  time.Duration // for an answer, on top of what the request grants the broker
	Produce  time.Duration // that a produce request grants the broker
	Delivery time.Duration // for one record, with all tries: after it the outcome is unknown
	Session  time.Duration // without a heartbeat of a member of a group

	Heartbeat time.Duration // between two heartbeats of a worker
	Ping      time.Duration // for the answer of any broker: with a new connection
	Ask       time.Duration // for one question of a few requests: where partitions end, who is in a group, a commit
	Steps     time.Duration // for several steps in a row, such as two produces after one another

	Silence time.Duration // of Kafka, after which a service is not ready: two questions have failed
	Owners  time.Duration // for which an answer to who owns the partitions counts: two questions have failed
	Tracker time.Duration // of a tracker at a gateway: by then a tracker that has died is out of the group
	Group   time.Duration // of a group's coordinator: a member that joins waits so long for members that are gone
	Trouble time.Duration // for which a failed write counts against readiness if nothing else was written
	Lost    time.Duration // the same at a gateway, which gets no submits while it is not ready

	Transaction time.Duration // of the topic view; after it the broker aborts the transaction
	View        time.Duration // for which the view may fail before its tracker is not ready

	Slack time.Duration // by which a submit may be slower than others before a gateway admits fewer
	Slow  time.Duration // for an answer to a produce: a cluster that always takes longer needs another profile
}

// Times of other constants that Bounds must cover.
const (
	ownersInterval = 3 * time.Second // between two questions of a gateway for the partitions' owners
	leaveTime      = 2 * time.Second // for a rebalance after a session has ended
)

// Bounds returns the times by which a process with these timeouts goes. Check reports an unknown profile; here it
// counts as local.
func (t Timeouts) Bounds() Bounds {
	t = t.withProfile()
	ask, ping := 2*t.Request, 2*t.Dial
	return Bounds{
		Dial: t.Dial, Request: t.Request, Produce: t.Produce, Delivery: t.Delivery, Session: t.Session,

		Heartbeat: t.Session / 5,
		Ping:      ping,
		Ask:       ask,
		Steps:     2 * t.Delivery,

		Silence: max(2*ask, 3*ping),
		Owners:  2*ask + ownersInterval + time.Second,
		Tracker: t.Session + leaveTime,
		Group:   t.Session + t.Delivery,
		Trouble: 3 * t.Delivery,
		Lost:    2 * t.Delivery,

		Transaction: 3 * t.Delivery,
		View:        6 * t.Delivery,

		Slack: t.Produce * 3 / 10,
		Slow:  t.Produce / 3,
	}
}

// Hint adds to an error that says that Kafka has not answered in time how to change that, for a Kafka that is slow and
// not away. Other errors stay as they are.
func Hint(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w (a cluster that is slow, and not away, needs another kafka-profile)", err)
}

// withProfile fills what is zero with the profile's.
func (t Timeouts) withProfile() Timeouts {
	from, ok := profiles[t.Profile]
	if !ok {
		t.Profile = ProfileLocal
		from = profiles[ProfileLocal]
	}
	from.Profile = t.Profile
	for _, f := range []struct{ own, to *time.Duration }{
		{&t.Dial, &from.Dial}, {&t.Request, &from.Request}, {&t.Produce, &from.Produce},
		{&t.Delivery, &from.Delivery}, {&t.Session, &from.Session},
	} {
		if *f.own != 0 {
			*f.to = *f.own
		}
	}
	return from
}

// Limits of single timeouts. Those of Session are the defaults of brokers, and those of others the client library's.
const (
	leastTimeout  = 100 * time.Millisecond
	mostTimeout   = time.Minute
	leastDelivery = time.Second
	mostDelivery  = 2 * time.Minute
	leastSession  = 6 * time.Second
	mostSession   = 5 * time.Minute
)

// check returns what is wrong with the timeouts: one line for each setting or pair of settings that do not fit.
func (t Timeouts) check() error {
	var problems []error
	if _, ok := profiles[t.Profile]; !ok && t.Profile != "" {
		problems = append(problems, fmt.Errorf("kafka-profile must be one of %s, not %q",
			strings.Join(slices.Sorted(maps.Keys(profiles)), ", "), t.Profile))
		return errors.Join(problems...)
	}
	t = t.withProfile()
	within := func(name string, d, least, most time.Duration) {
		if d < least || d > most {
			problems = append(problems, fmt.Errorf("%s must be between %s and %s, not %s", name, least, most, d))
		}
	}
	within("kafka-dial-timeout", t.Dial, leastTimeout, mostTimeout)
	within("kafka-request-timeout", t.Request, leastTimeout, mostTimeout)
	within("kafka-produce-timeout", t.Produce, leastTimeout, mostTimeout)
	within("kafka-delivery-timeout", t.Delivery, leastDelivery, mostDelivery)
	within("kafka-session-timeout", t.Session, leastSession, mostSession)
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	// With the profile's name, for the other part of a pair may come from there.
	misfit := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(format+" (kafka-profile=%s)", append(args, t.Profile)...))
	}
	if t.Delivery < t.Produce+t.Request {
		misfit("kafka-delivery-timeout (%s) must be at least kafka-produce-timeout (%s) and kafka-request-timeout (%s) "+
			"together, or records are given up before their first request is answered", t.Delivery, t.Produce, t.Request)
	}
	if t.Delivery < t.Dial {
		misfit("kafka-delivery-timeout (%s) must be at least kafka-dial-timeout (%s), or records are given up before a "+
			"broker is connected", t.Delivery, t.Dial)
	}
	if ask := t.Bounds().Ask; t.Session <= ask {
		misfit("kafka-session-timeout (%s) must be more than twice kafka-request-timeout (%s), or members are taken for "+
			"dead while they wait for an answer", t.Session, t.Request)
	}
	return errors.Join(problems...)
}

// boundsOf returns the bounds of a client of Config, and the local profile's of any other.
func boundsOf(cl *kgo.Client) Bounds {
	if st, ok := standings.Load(cl); ok {
		return st.(*standing).bounds
	}
	return Timeouts{}.Bounds()
}

// Bounds returns the times that depend on how quickly Kafka answers.
func (c Config) Bounds() Bounds { return c.Timeouts.Bounds() }
