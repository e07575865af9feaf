package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ackwire/ackwire/gateway/intake"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
)

func TestLongestLife(t *testing.T) {
	seconds := func(d time.Duration) job.Seconds { return job.Seconds(d) }
	for why, c := range map[string]struct {
		policy   job.Policy
		want     time.Duration
		unending bool
	}{
		"a deadline bounds all attempts": {job.Policy{
			Attempts: 100, Deadline: seconds(time.Hour), Grace: seconds(time.Minute), Retention: seconds(time.Hour),
			Timeout: seconds(time.Hour),
		},
			2*time.Hour + time.Minute, false},
		"attempts and waits": {job.Policy{
			Attempts: 3, Timeout: seconds(time.Minute), Retention: seconds(time.Hour),
			Backoff: job.Backoff{Initial: seconds(time.Second), Factor: 2},
		},
			time.Hour + 3*time.Minute + 7*time.Second, true},
		"waits have a cap": {job.Policy{
			Attempts: 4, Lease: seconds(time.Second),
			Backoff: job.Backoff{Initial: seconds(time.Second), Factor: 10, Cap: seconds(5 * time.Second)},
		},
			4*time.Second + 16*time.Second, true},
		"a factor below 1 is none": {
			job.Policy{Attempts: 3, Backoff: job.Backoff{Initial: seconds(time.Second), Factor: 0.1}}, 3 * time.Second,
			true,
		},
		"more than anybody keeps": {
			job.Policy{Attempts: 1000, Backoff: job.Backoff{Initial: seconds(time.Hour), Factor: 100}}, -1, true,
		},
	} {
		got, unending := longest(c.policy)
		if c.want >= 0 && got != c.want || got < 0 || unending != c.unending {
			t.Errorf("%s: %s (%v), want %s", why, got, unending, c.want)
		}
	}
}

func TestWhatATopicMustKeep(t *testing.T) {
	names := topic.Names{Prefix: "t."}
	all := needs(names, jobtypes.Set{
		"short": {Name: "short", Lane: "a", Policy: job.Policy{Attempts: 1, Retention: job.Seconds(time.Hour)}},
		"long":  {Name: "long", Lane: "b", Policy: job.Policy{Attempts: 1, Retention: job.Seconds(48 * time.Hour)}},
	})
	want := map[string]time.Duration{
		"t.deferred": intake.MaxSchedule + 48*time.Hour, "t.requests.a": time.Hour, "t.requests.b": 48 * time.Hour,
		"t.status": 48 * time.Hour,
	}
	for _, n := range all {
		if n.life != want[n.topic] {
			t.Errorf("%s must keep %s, want %s", n.topic, n.life, want[n.topic])
		}
	}
	if len(all) != len(want) {
		t.Errorf("%d topics", len(all))
	}
}

// A gateway is not ready while a topic forgets too soon, says why, and recovers when it is mended.
func TestAShortTopicIsTold(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		name := w.names.StatusSpec(testPartitions).Name
		cl, err := w.kafka().NewClient(w.env("reader", prometheus.NewRegistry()), "test")
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		set := func(ms string) {
			if _, err := kadm.NewClient(cl).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig,
				Name: "retention.ms", Value: kadm.StringPtr(ms)}}, name); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if err := w.gateway.keeper.Err(); err != nil {
			t.Fatalf("our own topics: %v", err)
		}
		set("1000")
		time.Sleep(kafka.TopicsInterval + time.Second)
		err = w.gateway.Ready()
		if err == nil || !strings.Contains(err.Error(), name+": retention.ms is 1000") ||
			!strings.Contains(err.Error(), "a job of type") {
			t.Fatalf("a topic that keeps a second: %v", err)
		}
		set("-1")
		time.Sleep(2 * time.Minute)
		if err := w.gateway.keeper.Err(); err != nil {
			t.Fatalf("when it is mended: %v", err)
		}
	})
}
