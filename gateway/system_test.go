package gateway

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// About implements trackerpbconnect.TrackerHandler.
func (f *fakeTracker) About(
	context.Context, *connect.Request[trackerpb.AboutRequest],
) (*connect.Response[trackerpb.AboutResponse], error) {
	f.fleet.mu.Lock()
	defer f.fleet.mu.Unlock()
	if f.fleet.refuse != 0 {
		return nil, connect.NewError(f.fleet.refuse, nil)
	}
	return connect.NewResponse(f.fleet.about), nil
}

func (w *world) system() frame.System {
	w.t.Helper()
	a := w.http("GET", "/v1/system", w.named("r1", "acme", "carol", "operate"), nil)
	var s frame.System
	if err := json.Unmarshal([]byte(a.body), &s); err != nil || a.status != 200 {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
	return s
}

// TestSystem: only an operator sees the processes. A tracker that does not answer, one of an earlier release, and a
// Kafka that does not answer are answers, not errors.
func TestSystem(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		for _, words := range []string{"read", "read:tenant", "payloads", "submit", "erase"} {
			if a := w.http("GET", "/v1/system", w.named("x", "acme", "bob", words), nil); a.code != "forbidden" {
				t.Errorf("with %s: %d %s", words, a.status, a.body)
			}
		}
		if a := w.http("GET", "/v1/system?x=1", w.named("r1", "acme", "carol", "operate"), nil); a.code != "invalid_frame" {
			t.Errorf("a parameter: %d %s", a.status, a.body)
		}
		self := w.gateway.instance
		w.tracker.fleet.mu.Lock()
		w.tracker.fleet.about = &trackerpb.AboutResponse{
			Tracker:   &trackerpb.Process{Name: "tracker-a", Version: "1.2.3", Revision: "abc", StartedAt: 1_700_000_000_000},
			Ready:     3,
			Restoring: 1,
			Gateways: []*trackerpb.Process{{Name: "zz", Version: "1.2.4"}, {Name: self.Name, Version: self.Version,
				Revision: self.Revision, StartedAt: self.StartedAt.UnixMilli()}},
		}
		w.tracker.fleet.mu.Unlock()
		s := w.system()
		if len(s.Gateways) != 2 || s.Gateways[0].Name != self.Name || !s.Gateways[0].Self || s.Gateways[1].Self ||
			s.Gateways[1].Version != "1.2.4" || !s.Gateways[0].StartedAt.Equal(self.StartedAt) {
			t.Errorf("gateways %+v", s.Gateways)
		}
		if len(s.Trackers) != 1 || !s.Trackers[0].Answers || s.Trackers[0].Process == nil ||
			s.Trackers[0].Version != "1.2.3" || s.Trackers[0].Restoring != 1 || s.Trackers[0].Partitions != testPartitions {
			t.Errorf("trackers %+v", s.Trackers)
		}
		if !s.Kafka.Reachable || s.Truncated || s.Partitions.Total != testPartitions || s.Partitions.Unowned == nil ||
			*s.Partitions.Unowned != 0 || s.Partitions.UnownedSince != nil {
			t.Errorf("%+v", s)
		}

		for code, answers := range map[connect.Code]bool{connect.CodeUnimplemented: true, connect.CodeUnavailable: false} {
			w.tracker.fleet.mu.Lock()
			w.tracker.fleet.refuse = code
			w.tracker.fleet.mu.Unlock()
			s = w.system()
			if len(s.Trackers) != 1 || s.Trackers[0].Process != nil || s.Trackers[0].Answers != answers ||
				s.Trackers[0].Partitions != testPartitions || len(s.Gateways) != 1 {
				t.Errorf("%s: %+v", code, s)
			}
		}

		w.cluster.ControlKey(int16(kmsg.ConsumerGroupDescribe), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			return nil, kerr.CoordinatorNotAvailable, true
		})
		w.cluster.ControlKey(int16(kmsg.DescribeGroups), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			return nil, kerr.CoordinatorNotAvailable, true
		})
		time.Sleep(time.Second)
		s = w.system()
		if s.Kafka.Reachable || s.Partitions.Total != testPartitions || s.Partitions.Unowned != nil {
			t.Errorf("without Kafka: %+v", s)
		}
	})
}
