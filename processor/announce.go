package processor

import (
	"context"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/service/version"
	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/fleet"
)

// A worker announces itself (package fleet) at its start, every fleet.Every, when something of it has changed, and at
// its end. Announcements are for people: nothing is decided by them, they do not count for readiness, and one that is
// lost is not repeated before the next is due.
const (
	newsPause = time.Second // several changes are one announcement
	goodbye   = time.Second // how long the last announcement may take, with which a stop waits
)

const announcementLabel = "announcement" // a produce of one, in produce_failures_total

// announcer says what the worker is.
type announcer struct {
	p    *Processor
	news wake.Signal // something has changed

	draining atomic.Bool
	heard    atomic.Bool // the last announcement that was answered is durable
	failing  atomic.Bool // it is not
	sending  atomic.Bool // one is not answered yet

	mu        sync.Mutex // guards the fields below; no other lock is taken under it
	startedAt time.Time
	paused    func() (paused []fleet.Paused, more bool) // nil: it delivers no webhooks
}

func newAnnouncer(p *Processor) *announcer { return &announcer{p: p, news: wake.New()} }

// run announces the worker until ctx ends.
func (a *announcer) run(ctx context.Context, cl *kgo.Client) {
	a.mu.Lock()
	a.startedAt = time.Now().UTC().Truncate(time.Millisecond)
	a.mu.Unlock()
	for {
		a.send(ctx, cl)
		next := time.NewTimer(fleet.Every*4/5 + rand.N(fleet.Every*2/5)) // so that workers of one rollout do not march
		select {
		case <-ctx.Done():
		case <-next.C:
		case <-a.news:
			pause.For(ctx, newsPause)
		}
		next.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// drain says that the worker takes no more jobs.
func (a *announcer) drain() {
	a.draining.Store(true)
	a.news.Send()
}

// end says that the worker has ended, if Kafka has heard of it at all.
func (a *announcer) end(ctx context.Context, cl *kgo.Client) {
	if !a.heard.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	said := a.say()
	said.Gone, said.Draining = true, true
	said.Paused, said.PausedMore = nil, false
	if rec := a.record(&said); rec != nil {
		a.note(kafka.ProduceSync(ctx, cl, rec))
	}
}

// send announces the worker, unless the announcement before has no answer yet.
func (a *announcer) send(ctx context.Context, cl *kgo.Client) {
	if a.sending.Swap(true) {
		return
	}
	said := a.say()
	rec := a.record(&said)
	if rec == nil {
		a.sending.Store(false)
		return
	}
	kafka.Produce(context.WithoutCancel(ctx), cl, rec, func(_ *kgo.Record, err error) {
		a.note(err)
		a.sending.Store(false)
	})
}

// note records whether an announcement is durable. The first of several that are not is logged.
func (a *announcer) note(err error) {
	a.heard.Store(err == nil)
	if err == nil {
		a.failing.Store(false)
		return
	}
	a.p.metrics.produceFailures.WithLabelValues(announcementLabel).Inc()
	if !a.failing.Swap(true) {
		a.p.log.Warn("the worker could not announce itself: operators may not see it among the workers", "err", err)
	}
}

// say returns the announcement that is true now.
func (a *announcer) say() fleet.Announcement {
	said := fleet.Announcement{Worker: a.p.worker, Version: libraryVersion(), Draining: a.draining.Load()}
	for _, l := range a.p.lanes {
		said.Lanes = append(said.Lanes, l.say())
	}
	a.p.mu.Lock()
	said.Running = len(a.p.runs)
	a.p.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	said.StartedAt = a.startedAt
	if a.paused != nil {
		said.Paused, said.PausedMore = a.paused()
	}
	return said
}

func (l *lane) say() fleet.Lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fleet.Lane{Lane: l.name, Slots: l.p.cfg.Slots, Yielded: l.yielding}
}

// record returns the record of an announcement, or nil if it cannot be written, which is logged.
func (a *announcer) record(said *fleet.Announcement) *kgo.Record {
	value, err := fleet.Encode(said)
	if err != nil {
		a.p.log.Warn("the worker cannot announce itself", "err", err)
		return nil
	}
	rec := &kgo.Record{Topic: a.p.names.Streams(), Key: []byte(a.p.worker), Value: value}
	for _, h := range fleet.Headers() {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return rec
}

// libraryVersion returns the version of the release that this process was built from: that of Ackwire's own programs,
// or else of the module in the user's program; "dev" if neither is known.
var libraryVersion = sync.OnceValue(func() string {
	build, _ := debug.ReadBuildInfo()
	return versionOf(version.Get().Version, build)
})

// versionOf is libraryVersion for the version that the linker has stamped, and the build information of a program.
func versionOf(stamped string, build *debug.BuildInfo) string {
	if stamped != "dev" || build == nil {
		return stamped
	}
	for _, dep := range build.Deps {
		released := strings.HasPrefix(dep.Version, "v") && dep.Version != "v0.0.0" // of a workspace it is "(devel)"
		if strings.HasSuffix(dep.Path, "ackwire/processor") && released && dep.Replace == nil {
			return dep.Version
		}
	}
	return stamped
}
