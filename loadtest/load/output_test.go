package load

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/ackwire/ackwire/embedded/sim"
	"github.com/ackwire/ackwire/loadtest/history"
	"github.com/ackwire/ackwire/loadtest/scenario"
	"github.com/ackwire/ackwire/schemas/job"
)

// Streams of jobs are followed by those who submit and by others, while workers, the tracker and the gateway are lost
// and all sockets are cut: what each receives is an exact continuation (I9), and runs that were lost are withdrawn.
func TestOutputsUnderFaults(t *testing.T) {
	if !synctests {
		t.Skip("simulations need -tags synctests")
	}
	sim.Run(t, func(w *sim.World) {
		worker := w.StartWorker(nil)
		w.StartWorker(nil)
		gateway := w.Net.Host("gateway")
		faults := make(chan struct{})
		go func() {
			defer close(faults)
			time.Sleep(5 * time.Second)
			w.Kill(worker)
			time.Sleep(3 * time.Second)
			w.CrashTracker()
			w.StartTracker()
			time.Sleep(2 * time.Second)
			gateway.Cut()
			time.Sleep(time.Second)
			gateway.Heal()
		}()
		s := script(func(s *scenario.Scenario) {
			s.Jobs = []scenario.Job{{
				Name: "writes", Type: "demo.write", Payload: json.RawMessage(`{"words":200,"rate":25}`), Words: 200, Watch: true,
				Output: 0.9, Watchers: 2, Key: true, Weight: 1, Ends: job.Completed,
			}}
			s.Mine = 0
			s.Phases[0].Duration, s.Phases[0].From, s.Phases[0].To = 20*time.Second, 1.5, 1.5
			s.Phases[0].Reconnect = &scenario.Reconnect{At: 15 * time.Second, Over: 2 * time.Second, Share: 1}
			s.EndsWithin, s.DeliverWithin = 3*time.Minute, time.Minute
		})
		name := filepath.Join(w.T.TempDir(), "history.ndjson")
		out := runTo(w.T, w, s, nil, name)
		<-faults
		clean(w.T, out)
		v := out.Verdict
		// Each is followed by three sockets, and read once more at the end.
		if v.Outputs < 4*v.Acked*3/4 || v.Parts < 20*v.Outputs || out.Counts.Parts == 0 {
			w.T.Errorf("%d of %d jobs' outputs were followed, in %d parts", v.Outputs, v.Acked, v.Parts)
		}
		resets, resumed := 0, 0
		if err := history.Read(name, func(r history.Record) bool {
			if r.Kind == history.Part && r.Output.Reset {
				resets++
			}
			if r.Kind == history.Follow && r.Output.At > 0 {
				resumed++
			}
			return true
		}); err != nil {
			w.T.Fatal(err)
		}
		w.T.Logf("%d followers, %d parts, %d resets, %d times resumed", v.Outputs, v.Parts, resets, resumed)
		if resets == 0 || resumed == 0 {
			w.T.Errorf("%d resets and %d resumptions: the test proves little", resets, resumed)
		}
	})
}
