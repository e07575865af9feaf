package doctor

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
)

// maxClock is the largest difference between this machine's clock and the brokers' that is taken for good.
const maxClock = 2 * time.Second

// probes is the number of questions or records whose median is taken.
const probes = 5

// speed measures round trips, produces, and the difference of the clocks.
func (d *doctor) speed(ctx context.Context) {
	trips, err := median(func() error {
		return ask(ctx, func(ctx context.Context) error {
			req := kmsg.NewPtrMetadataRequest()
			req.Topics = []kmsg.MetadataRequestTopic{}
			_, err := req.RequestWith(ctx, d.client)
			return err
		})
	})
	if err != nil {
		d.say(Unknown, CheckLatency, "metadata", "%v", err)
		return
	}
	if !d.Probe {
		d.say(OK, CheckLatency, "metadata", "a question takes %s; --probe measures writes, too", round(trips))
		d.clockOfStatus(ctx)
		return
	}
	d.say(OK, CheckLatency, "metadata", "a question takes %s", round(trips))
	d.probe(ctx)
}

// median returns the median duration of several calls.
func median(call func() error) (time.Duration, error) {
	var all []time.Duration
	for range probes {
		start := time.Now()
		if err := call(); err != nil {
			return 0, err
		}
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

func round(t time.Duration) time.Duration { return t.Round(10 * time.Microsecond) }

// probe writes orders for a worker that does not exist to the topic control, which all workers ignore.
func (d *doctor) probe(ctx context.Context) {
	name := d.Plan.Names.Control()
	value, err := event.EncodeOrder(event.Order{V: event.Version, Type: event.Stop, JobID: "doctor", Dispatch: 1,
		Run: "doctor", Worker: "ackwire-doctor", Reason: "probe"})
	if err != nil {
		d.say(Unknown, CheckLatency, name, "%v", err)
		return
	}
	cl, err := d.Kafka.NewAdminClient(d.Env, kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(askTimeout))
	if err != nil {
		d.say(Unknown, CheckLatency, name, "%v", err)
		return
	}
	defer cl.Close()
	write := func() error {
		return ask(ctx, func(ctx context.Context) error {
			return cl.ProduceSync(ctx, &kgo.Record{Topic: name, Key: []byte("ackwire-doctor"), Value: value}).FirstErr()
		})
	}
	before := time.Now()
	err = write() // the first one includes connecting
	var took time.Duration
	if err == nil {
		took, err = median(write)
	}
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		d.say(Unknown, CheckLatency, name, "%s may not write the probe: it needs Write on this topic, as a tracker has",
			d.self())
		return
	case err != nil:
		d.say(Unknown, CheckLatency, name, "the probe was not written: %v", err)
		return
	}
	d.say(OK, CheckLatency, name, "a write takes %s: start processes with --kafka-profile %s", round(took),
		kafka.ProfileFor(took))
	d.clock(ctx, name, before, time.Now())
}

// latest returns the highest timestamp of a topic's records; zero if it has none.
func (d *doctor) latest(ctx context.Context, name string) (at time.Time, err error) {
	err = ask(ctx, func(ctx context.Context) error {
		listed, err := kadm.NewClient(d.client).ListMaxTimestampOffsets(ctx, name)
		if err == nil {
			err = listed.Error()
		}
		listed.Each(func(o kadm.ListedOffset) {
			if t := time.UnixMilli(o.Timestamp); o.Err == nil && o.Timestamp > 0 && t.After(at) {
				at = t
			}
		})
		return err
	})
	return at, err
}

// clock compares the time that a broker gave the last record of a topic, which was written between two times here.
func (d *doctor) clock(ctx context.Context, name string, from, to time.Time) {
	at, err := d.latest(ctx, name)
	if err != nil || at.IsZero() {
		d.say(Unknown, CheckClock, name, "the time of the probe cannot be read: %v", err)
		return
	}
	var off time.Duration
	switch {
	case at.Before(from):
		off = at.Sub(from)
	case at.After(to):
		off = at.Sub(to)
	}
	d.difference(name, off)
}

// difference says by how much the broker's clock is ahead.
func (d *doctor) difference(name string, off time.Duration) {
	word := "ahead of"
	if off < 0 {
		word = "behind"
	}
	switch {
	case off.Abs() <= maxClock:
		d.say(OK, CheckClock, name, "the broker's clock and this machine's differ by at most %s", maxClock)
	default:
		d.say(Wrong, CheckClock, name, "the broker's clock is %s %s this machine's: synchronize both (NTP), for deadlines "+
			"and schedules go by the broker's", off.Abs().Round(time.Second), word)
	}
}

// clockOfStatus finds a clock that is wrong by the last record of status, as far as that is possible without writing.
func (d *doctor) clockOfStatus(ctx context.Context) {
	name := d.Plan.Names.Status()
	at, err := d.latest(ctx, name)
	if ahead := time.Until(at); err == nil && !at.IsZero() && ahead > maxClock {
		d.difference(name, ahead)
		return
	}
	d.say(Unknown, CheckClock, name, "the broker's clock is compared only with --probe")
}
