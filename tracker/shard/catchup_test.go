package shard

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// catchUpFrom returns the catching up of a shard that begins at a position.
func catchUpFrom(restored int64) *catchUp {
	c := newCatchUp()
	c.begin(restored, time2000())
	return &c
}

func TestCatchUpIsOverOnce(t *testing.T) {
	c := catchUpFrom(3)
	if c.reached(1000) {
		t.Error("it is over before the log's end is known")
	}
	if err := c.learn(2, time2000()); !errors.Is(err, errAhead) {
		t.Errorf("the log ends before the store: %v", err)
	}
	if err := c.learn(5, time2000()); err != nil {
		t.Fatal(err)
	}
	if c.reached(4) || !c.reached(5) || c.reached(6) {
		t.Error("it is over once, when the record before the end is folded")
	}
	c = catchUpFrom(3)
	if err := c.learn(3, time2000()); err != nil || !c.reached(3) || c.reached(4) || !c.ready.Load() {
		t.Errorf("nothing is to be folded: %v, ready %v", err, c.ready.Load())
	}
	if !c.leave() || c.ready.Load() || !c.was {
		t.Error("the shard has left, and was ready")
	}
}

func TestCatchUpTellsItsProgress(t *testing.T) {
	c, now := catchUpFrom(100), time2000()
	if got := c.progress(150, now.Add(progressInterval-1)); got != nil {
		t.Errorf("it tells too early: %v", got)
	}
	now = now.Add(progressInterval)
	if got, want := fmt.Sprint(c.progress(150, now)), "[records 50 per_second 10]"; got != want {
		t.Errorf("without an end it tells %s, want %s", got, want)
	}
	if err := c.learn(200, now); err != nil {
		t.Fatal(err)
	}
	if got := c.progress(160, now.Add(time.Second)); got != nil {
		t.Errorf("it tells again at once: %v", got)
	}
	now = now.Add(progressInterval)
	if got, want := fmt.Sprint(c.progress(160, now)), "[records 60 per_second 6 remaining 40]"; got != want {
		t.Errorf("it tells %s, want %s", got, want)
	}
	if c.reached(200); c.progress(200, now.Add(time.Hour)) != nil {
		t.Error("it tells of what is over")
	}
}

// TestCatchUpHoldsGrants: of each job the last one, and only of a run that holds it in the end.
func TestCatchUpHoldsGrants(t *testing.T) {
	c := catchUpFrom(0)
	order := func(typ event.OrderType, id, run string) {
		c.hold(event.Order{Type: typ, JobID: id, Run: run, Worker: "w"})
	}
	jobs := newMemory(nil, nil)
	for _, id := range []string{"held", "lost", "ended"} {
		jobs.keep(&entry{id: id, job: aJob(id, job.Processing)})
		order(event.Granted, id, "r0")
		order(event.Granted, id, "r1")
		order(event.Stop, id, "r0")
	}
	order(event.Granted, "removed", "r1")
	jobs.all["lost"].job.Run = "r2"
	jobs.all["ended"].job = nil
	got := c.granted(&jobs)
	if len(got) != 1 || got[0].JobID != "held" || got[0].Run != "r1" || got[0].Type != event.Granted {
		t.Errorf("they are %v", got)
	}
}

func TestPosition(t *testing.T) {
	var p position
	p.begin(7, 0)
	p.next = 9
	if p.shown.Load() != 7 {
		t.Error("others see a position before it is shown")
	}
	if p.show(); p.shown.Load() != 9 {
		t.Errorf("others see %d", p.shown.Load())
	}
	if p.closed() || !p.close(11) || p.close(20) || !p.closed() || p.closedAt != 12 {
		t.Errorf("of two marks the first counts: closed at %d", p.closedAt)
	}
}
