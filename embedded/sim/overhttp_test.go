package sim

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestWatchesOverHTTPSurviveTheGateway: a client without a socket follows its jobs to their end though the gateway is
// restarted, is killed, and is away for a while.
func TestWatchesOverHTTPSurviveTheGateway(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.NewHTTP()
		var wg sync.WaitGroup
		for i := range 4 {
			j, err := c.Submit(w.ctx(), "demo.sleep", map[string]int{"seconds": 120, "steps": 120}, ackwire.Key(fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				if i%2 == 0 {
					if st, err := j.Wait(w.ctx()); err != nil || st.State != job.Completed {
						t.Errorf("wait: %+v, %v", st, err)
					}
					return
				}
				var last ackwire.Status
				seen := 0
				for st, err := range j.Watch(w.ctx()) {
					if err != nil || st.Version <= last.Version {
						t.Errorf("version %d after %d: %v", st.Version, last.Version, err)
					}
					last = st
					seen++
				}
				if last.State != job.Completed || seen < 30 {
					t.Errorf("%d statuses, the last is %+v", seen, last)
				}
			})
		}
		time.Sleep(20 * time.Second)
		w.Stop(w.gateway)
		w.StartGateway()
		time.Sleep(20 * time.Second)
		w.Kill(w.gateway)
		time.Sleep(20 * time.Second)
		if _, err := c.Submit(w.ctx(), "demo.echo", 1, ackwire.Key("k")); err == nil ||
			errors.Is(err, ackwire.ErrIndeterminate) {
			t.Errorf("a submit while there is no gateway: %v", err)
		}
		w.StartGateway()
		wg.Wait()
	})
}
