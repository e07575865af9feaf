package sim

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

// system returns what an operator is told of the processes.
func (w *World) system() frame.System {
	w.T.Helper()
	s, err := w.NewHTTP().System(w.ctx())
	if err != nil {
		w.T.Fatal(err)
	}
	return s
}

// TestAnOperatorSeesTheSystem: each gateway and tracker with its version and partitions; and once the tracker has died,
// how many partitions nobody owns and since when, until another one has taken them over.
func TestAnOperatorSeesTheSystem(t *testing.T) {
	Run(t, func(w *World) {
		w.StartGatewayAt(2)
		w.eventually("both gateways watch the tracker", func() bool { return len(w.system().Gateways) == 2 })
		s := w.system()
		selves := 0
		for _, g := range s.Gateways {
			if g.Self {
				selves++
			}
			if g.Version == "" || g.Revision == "" || g.StartedAt == nil {
				t.Errorf("gateway %+v", g)
			}
		}
		if selves != 1 || len(s.Trackers) != 1 || s.Trackers[0].Process == nil || s.Trackers[0].Partitions != partitions ||
			s.Trackers[0].Restoring != 0 || !s.Trackers[0].Answers || !s.Kafka.Reachable ||
			s.Partitions.Total != partitions || *s.Partitions.Unowned != 0 {
			t.Errorf("%+v", s)
		}
		first := s.Trackers[0].Name

		died := time.Now()
		w.Kill(w.tracker)
		w.eventually("nobody owns the partitions", func() bool {
			s = w.system()
			return s.Partitions.Unowned != nil && *s.Partitions.Unowned == partitions
		})
		if since := s.Partitions.UnownedSince; since == nil || since.Before(died) || since.After(time.Now()) {
			t.Errorf("without an owner since %v, the tracker died at %s", since, died)
		}
		since := *s.Partitions.UnownedSince
		time.Sleep(time.Minute)
		if s = w.system(); s.Partitions.UnownedSince == nil || !s.Partitions.UnownedSince.Equal(since) {
			t.Errorf("a minute later: %+v", s.Partitions)
		}
		w.StartAnotherTracker()
		w.eventually("another one has taken over", func() bool {
			s = w.system()
			return *s.Partitions.Unowned == 0 && len(s.Trackers) == 1 && s.Trackers[0].Process != nil &&
				s.Trackers[0].Name != first
		})
		if s.Partitions.UnownedSince != nil {
			t.Errorf("%+v", s.Partitions)
		}
	})
}
