package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/job"
)

// far is the latency of a broker that writes to an object store, one way: an answer takes 800 ms.
const far = 400 * time.Millisecond

// watchReady notes, until the returned function is called, each process that is not ready.
func (w *World) watchReady(all ...*Process) (stop func()) {
	ctx, cancel := context.WithCancel(w.ctx())
	var watching sync.WaitGroup
	watching.Go(func() {
		said := map[string]bool{}
		for ctx.Err() == nil {
			for _, p := range all {
				if err := p.ready(); err != nil && !said[p.Name+err.Error()] {
					said[p.Name+err.Error()] = true
					w.T.Errorf("%s is not ready: %v", p.Name, err)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// TestAFarKafkaWithItsProfile: with the profile for object stores a broker that takes 800 ms for each answer is no
// trouble. Submits are acked, with and without keys, jobs complete in their first attempt, also those that are longer
// than their lease, and every service stays ready, for minutes. Restarts and crashes heal.
func TestAFarKafkaWithItsProfile(t *testing.T) {
	RunFar(t, kafka.Timeouts{Profile: kafka.ProfileObjectStore}, far, func(w *World) {
		worker, other := w.StartWorker(nil), w.StartGatewayAt(1)
		c := w.Dial()
		restored := w.tracker.Count("ackwire_tracker_restores_total", "used")
		calm := w.watchReady(w.tracker, w.gateway, other, worker)
		long := w.Submit(c, "demo.sleep", `{"seconds":100,"steps":100}`)
		var slowest time.Duration
		var ids []string
		for i := range 40 {
			began := time.Now()
			opts := []ackwire.SubmitOption{ackwire.NoKey()}
			if i%2 == 1 {
				opts = []ackwire.SubmitOption{ackwire.Key(fmt.Sprint("order-", i))}
			}
			ids = append(ids, w.Submit(c, "demo.echo", `1`, opts...).ID)
			slowest = max(slowest, time.Since(began))
			time.Sleep(3 * time.Second)
		}
		for _, id := range ids {
			w.WantEnd("a job", c, id, job.Completed, 1)
		}
		w.WantEnd("a job of three leases", c, long.ID, job.Completed, 1)
		if t.Logf("the slowest ack took %s", slowest); slowest > 6*time.Second {
			t.Errorf("an ack took %s", slowest)
		}
		time.Sleep(5 * time.Minute) // nothing happens
		calm()
		if now := w.tracker.Count("ackwire_tracker_restores_total", "used"); now != restored {
			t.Errorf("partitions were restored %v times more: the group has taken them away", now-restored)
		}
		for _, outcome := range []string{"indeterminate", "rejected"} {
			if n := w.gateway.Count("ackwire_gateway_submits_total", outcome); n != 0 {
				t.Errorf("%v submits were %s", n, outcome)
			}
		}
		for _, host := range []string{"gateway", "tracker", "worker"} {
			if lines := w.Warned(host, "kafka-profile"); len(lines) > 0 {
				t.Errorf("the profile is found wrong: %s", lines)
			}
		}

		t.Log("restart of the tracker and the gateway")
		running := w.Submit(c, "demo.sleep", `{"seconds":60,"steps":60}`)
		time.Sleep(5 * time.Second)
		w.CrashTracker()
		w.StartTracker()
		w.Stop(w.gateway)
		w.StartGateway()
		w.WantEnd("a job that ran across the restarts", c, running.ID, job.Completed, 1)
		w.WantEnd("a job after the restarts", c, w.Submit(c, "demo.echo", `1`).ID, job.Completed, 1)

		t.Log("crash of the worker")
		lost := w.Submit(c, "demo.sleep", `{"seconds":20,"steps":20}`)
		time.Sleep(10 * time.Second)
		w.Kill(worker)
		w.StartWorker(nil)
		w.WantEnd("a job whose worker died", c, lost.ID, job.Completed, 2)
	})
}

// TestAFarKafkaBreaks: while the broker hangs submits end within the ack's bound, and afterwards all is as before.
func TestAFarKafkaBreaks(t *testing.T) {
	RunFar(t, kafka.Timeouts{Profile: kafka.ProfileObjectStore}, far, func(w *World) {
		worker := w.StartWorker(nil)
		c := w.Dial()
		held := w.Submit(c, "demo.sleep", `{"seconds":40,"steps":40}`)
		time.Sleep(5 * time.Second)
		w.Net.Host("broker").Hang()
		began := time.Now()
		_, err := c.Submit(w.ctx(), "demo.echo", []byte(`1`), ackwire.NoKey())
		_, unknown := errors.AsType[*ackwire.IndeterminateError](err)
		if _, refused := errors.AsType[*ackwire.Error](err); !unknown && !refused {
			t.Errorf("while the broker hangs: %v", err)
		}
		bounds := kafka.Timeouts{Profile: kafka.ProfileObjectStore}.Bounds()
		if took := time.Since(began); took > bounds.Delivery+time.Second {
			t.Errorf("it was answered after %s", took)
		}
		w.Net.Host("broker").Heal()
		w.WantEnd("a job that ran meanwhile", c, held.ID, job.Completed, 1)
		for _, p := range []*Process{w.gateway, w.tracker, worker} {
			w.eventually(p.Name+" is ready again", func() bool { return p.ready() == nil })
		}
		w.WantEnd("a job afterwards", c, w.Submit(c, "demo.echo", `1`).ID, job.Completed, 1)
	})
}

// TestAFarKafkaWithoutItsProfile: a process whose timeouts are too tight for its cluster says so, and which setting
// mends it: in its log while it can work with the cluster, and in readyz once it cannot.
func TestAFarKafkaWithoutItsProfile(t *testing.T) {
	RunFar(t, kafka.Timeouts{Profile: kafka.ProfileLocal}, far/8, func(w *World) {
		worker := w.StartWorker(nil)
		c := w.Dial()
		// Connections that are made from now on have the delay.
		move := func(oneWay time.Duration) {
			w.Net.Host("broker").Delay(oneWay, oneWay)
			w.Net.Host("broker").Cut()
			w.Net.Host("broker").Heal()
		}
		move(far)
		time.Sleep(time.Minute)
		for range 10 {
			// Some are indeterminate, for which the advice is there.
			_, _ = c.Submit(w.ctx(), "demo.echo", []byte(`1`), ackwire.NoKey())
			time.Sleep(2 * time.Second)
		}
		for _, host := range []string{"gateway", "worker"} {
			lines := w.Warned(host, "set kafka-profile=object-store")
			if len(lines) == 0 || len(lines) > 3 || !strings.Contains(lines[0], "kafka-profile=local (kafka-produce-timeout") {
				t.Errorf("%s says %d times: %s", host, len(lines), strings.Join(lines, ""))
			}
		}
		move(4 * far)
		for _, p := range []*Process{w.gateway, worker} {
			w.eventually(p.Name+" says in readyz what is wrong", func() bool {
				err := p.ready()
				return err != nil && strings.Contains(err.Error(), "needs another kafka-profile")
			})
		}
	})
}
