package tracker

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/peers"
	"github.com/ackwire/ackwire/internal/private"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
	"github.com/ackwire/ackwire/tracker/activity"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/history"
	"github.com/ackwire/ackwire/tracker/keeper"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/store"
	"github.com/ackwire/ackwire/tracker/workers"
)

// Bounds of the tracker's API and of its start.
const (
	maxRequestBytes = 4 << 20
	startRetryMin   = 100 * time.Millisecond
	startRetryMax   = 2 * time.Second

	heartbeatInterval = 500 * time.Millisecond

	pingAfter   = time.Second     // a connection that is silent for this long is pinged
	pingTimeout = 2 * time.Second // a connection that does not answer a ping for this long is closed
)

// Tracker is one instance of the tracker service. The consumer group decides which partitions it owns.
type Tracker struct {
	cfg      Config
	env      service.Env
	names    topic.Names
	metrics  *shard.Metrics
	activity activity.Budget
	restores *restoreMetrics
	backlog  *backlogMetrics
	api      *api
	evidence *evidence
	disk     *service.Probe
	keeper   *kafka.Keeper
	peers    *peers.Server
	status   atomic.Pointer[error] // why it is not ready; nil while it takes part in the group
}

// New returns a tracker. It does no I/O.
func New(cfg Config, env service.Env) (*Tracker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	cfg.Kafka.Timeouts.Session = cfg.sessionTimeout()
	m := meter.New(env.Metrics, "tracker")
	t := &Tracker{
		cfg:      cfg,
		env:      env.With("service", "tracker"),
		names:    topic.Names{Prefix: cfg.TopicPrefix},
		metrics:  shard.NewMetrics(m),
		restores: newRestoreMetrics(m),
		backlog:  newBacklogMetrics(m),
		api: newAPI(keeper.NewShared(m, keeper.DefaultTailBytes), workers.NewMetrics(m),
			history.NewMetrics(m)),
		evidence: newEvidence(cfg.Kafka.Bounds()),
	}
	t.keeper = kafka.NewKeeper(cfg.Topics, "tracker", t.env)
	for _, a := range t.names.ACLs(topic.RoleTracker, nil) {
		if !cfg.NoView || !strings.HasPrefix(a.Name, t.names.View()) {
			t.keeper.Need(kafka.Permission(a))
		}
	}
	var err error
	if t.peers, err = cfg.Internal.Server(certs.Env{Log: t.env.Log, Metrics: env.Metrics}, m, cfg.hosts()...); err != nil {
		return nil, err
	}
	t.disk = service.NewProbe("disk of "+cfg.Data, func() error { return touch(cfg.FS, cfg.Data) })
	t.measure(m)
	t.notReady(errors.New("starting"))
	return t, nil
}

func (t *Tracker) notReady(err error) { t.status.Store(&err) }

// Ready returns nil when the tracker can serve, else the reason: it is starting or stopping, a partition
// that it owns is still being restored, or Kafka or the disk has not answered lately.
func (t *Tracker) Ready() error {
	if err := t.status.Load(); err != nil {
		return *err
	}
	if err := t.api.ready(); err != nil {
		return err
	}
	if err := t.evidence.err(time.Now()); err != nil {
		return err
	}
	return errors.Join(t.disk.Err(), t.keeper.Err())
}

// Run serves until ctx ends. It then leaves the group, writes a last checkpoint of each partition, and
// returns when all that it started has ended.
func (t *Tracker) Run(ctx context.Context) error {
	l, err := t.env.Listen(ctx, "tcp", t.cfg.Listen)
	if err != nil {
		return fmt.Errorf("tracker listener: %w", err)
	}
	advertise := t.cfg.Advertise
	if advertise == "" {
		advertise = l.Addr().String()
	}
	if t.peers.TLS() {
		advertise = topic.TrackerScheme + advertise
	}
	// Stopping has an order: the tracker leaves the group first, so that gateways learn the new owners
	// from the group; the API serves until then.
	g := service.NewGroup(ctx)
	apiCtx, stopAPI := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- t.serve(apiCtx, l) }()
	g.Go("tracker", func(ctx context.Context) error {
		defer t.notReady(errors.New("stopping"))
		return t.own(ctx, advertise)
	})
	g.Go("tracker API", func(ctx context.Context) error {
		select {
		case err := <-served:
			served <- err
			return err
		case <-ctx.Done():
			return nil
		}
	})
	err = g.Wait()
	stopAPI()
	return errors.Join(err, <-served)
}

func (t *Tracker) serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle(trackerpbconnect.NewTrackerHandler(t.api,
		connect.WithReadMaxBytes(maxRequestBytes)))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP2(true)
	// Streams end with the server: Shutdown alone would wait for them.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	defer cancel()
	return service.ServeHTTP(ctx, &http.Server{
		Handler:   t.peers.Handler(mux),
		ErrorLog:  t.peers.ErrorLog(),
		Protocols: protocols,
		// Pings notice a gateway whose host or network has failed without closing the connection.
		HTTP2:       &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		BaseContext: func(net.Listener) context.Context { return base },
	}, t.peers.Listener(l))
}

// own waits for Kafka, opens the blob store and the local store, and runs the owner until ctx ends.
func (t *Tracker) own(ctx context.Context, advertise string) error {
	admin, err := t.cfg.Kafka.NewClient(t.env, "ackwire-tracker-admin", append(fetch.Options(), kafka.Placed())...)
	if err != nil {
		return err
	}
	defer admin.Close()
	id, err := t.start(ctx, admin)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	var bucket *blobs.Store
	if t.cfg.Blobs.URL != "" {
		if bucket, err = blobs.Open(ctx, t.cfg.Blobs.URL); err != nil {
			return err
		}
	}
	again := true
	for again && err == nil {
		again, err = t.ownStore(ctx, id, admin, bucket, advertise)
	}
	return errors.Join(err, bucket.Close())
}

// ownStore opens the local store and runs the owner until ctx ends. It returns true if it is to be called again:
// because the store was opened unread, by its seal, and is not sound. Opened again it is read, and set aside.
func (t *Tracker) ownStore(
	ctx context.Context, id store.Identity, admin *kgo.Client, bucket *blobs.Store, advertise string,
) (again bool, err error) {
	st, err := t.openStore(ctx, id, bucket != nil)
	if err != nil {
		return false, unless(ctx, err)
	}
	err = t.runOwner(ctx, id, st, admin, bucket, advertise)
	if err != nil {
		st.Distrust(err)
	}
	unsound := errors.Is(err, store.ErrUnsound) || errors.Is(st.Sound(), store.ErrUnsound)
	again = unsound && st.Unchecked() && ctx.Err() == nil
	if again {
		t.env.Log.Error("the store is not sound, and is opened again to be checked", "err", err)
		t.notReady(err)
		err = nil
	}
	t.api.close()
	closed := st.Close()
	if again && closed != nil {
		t.env.Log.Warn("the store is not sound, and was not closed in order", "err", closed)
		return again, nil
	}
	return again, errors.Join(err, closed)
}

// unless returns nil for an error that only says that ctx has ended, else err.
func unless(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// openStore opens the local store, which checks it. While the disk is full it waits.
func (t *Tracker) openStore(ctx context.Context, id store.Identity, withBlobs bool) (*store.Store, error) {
	opts := store.Options{View: !t.cfg.NoView, Blobs: withBlobs, MinFree: uint64(t.cfg.MinFree) << 20}
	if t.cfg.FS == vfs.Default {
		if err := private.Folder(t.cfg.Data); err != nil {
			return nil, fmt.Errorf("data folder: %w", err)
		}
	}
	for {
		began := time.Now()
		st, err := store.Open(t.cfg.FS, path.Join(t.cfg.Data, storeFolder), id, opts, t.env.Log)
		if !errors.Is(err, store.ErrFull) {
			if err == nil {
				t.env.Log.Info("store opened", "after", time.Since(began).Round(time.Millisecond), "sealed", st.Sealed())
			}
			return st, err
		}
		t.notReady(err)
		t.env.Log.Error("store not opened, will be tried again", "err", err)
		if !pause.For(ctx, startRetryMax) {
			return nil, ctx.Err()
		}
	}
}

// storeFolder is the name of the store's folder within the data folder.
const storeFolder = "store"

// runOwner joins the group and runs an owner for the partitions that it assigns until ctx ends. Beside it
// run the sweep of blobs, the server of snapshots and the probe of the disk.
func (t *Tracker) runOwner(
	ctx context.Context, id store.Identity, st *store.Store, admin *kgo.Client, bucket *blobs.Store, advertise string,
) error {
	o := &owner{
		log:         id,
		names:       t.names,
		partitions:  id.Partitions,
		brokerTimes: t.cfg.BrokerTimes,
		store:       st,
		admin:       admin,
		fetcher:     fetch.New(admin),
		metrics:     t.metrics,
		activity:    &t.activity,
		tracer:      tracing.Tracer(t.env.Traces, "tracker"),
		restores:    t.restores,
		backlog:     t.backlog,
		streams:     t.streamsClient,
		api:         t.api,
		evidence:    t.evidence,
		bounds:      t.cfg.Kafka.Bounds(),
		logger:      t.env.Log,
		failed:      make(chan error, 1),
		tenures:     map[int32]*tenure{},
		begins:      map[int32]int64{},
	}
	if !t.cfg.NoView {
		o.view = t.viewConfig(id, advertise)
	}
	t.api.open(id.Partitions, st, o, newDeadLetters(t.names, admin))
	var err error
	if o.reader, err = t.cfg.Kafka.NewClient(t.env, "ackwire-tracker-reader", readerOptions()...); err != nil {
		return err
	}
	o.group, err = t.cfg.Kafka.NewClient(t.env, topic.TrackerClientID(advertise), append(o.groupOptions(),
		kgo.SessionTimeout(o.bounds.Session),
		// A rebalance waits for members that are gone at most so long. Living members join at once,
		// for nothing that a shard does takes seconds. A partition that was given back is assigned
		// only at the others' next heartbeats, so the interval is short.
		kgo.RebalanceTimeout(o.bounds.Session),
		kgo.HeartbeatInterval(heartbeatInterval),
		kgo.WithHooks(groupHook{t.evidence}))...)
	if err != nil {
		o.reader.Close()
		return err
	}
	o.group.PauseFetchTopics(t.names.Status())
	t.evidence.start(time.Now())
	t.status.Store(nil)
	t.env.Log.Info("tracker joins its group", "group", t.names.TrackerGroup(), "address", advertise)
	beside, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	if bucket != nil {
		tasks.Go(func() { o.sweepBlobs(beside, bucket) })
	}
	tasks.Go(func() { t.serveSnapshots(beside, st) })
	tasks.Go(func() { o.verify(beside) })
	tasks.Go(func() { t.disk.Run(beside) })
	tasks.Go(func() { t.keeper.Run(beside, admin) })
	err = o.run(ctx)
	cancel()
	tasks.Wait()
	return err
}

// start waits for Kafka, creates the topics that are missing, and returns the identity of status.
func (t *Tracker) start(ctx context.Context, admin *kgo.Client) (store.Identity, error) {
	said := ""
	for wait := startRetryMin; ; wait = min(2*wait, startRetryMax) {
		id, err := t.identify(ctx, admin)
		if err == nil || errors.Is(err, store.ErrPartitions) || errors.Is(err, kafka.ErrNoTransactions) {
			return id, err
		}
		err = kafka.Hint(err)
		t.notReady(err)
		if why := err.Error(); why != said {
			t.env.Log.Warn("Kafka is not usable yet", "err", err)
			said = why
		}
		if !pause.For(ctx, wait) {
			return store.Identity{}, ctx.Err()
		}
	}
}

// identify is one attempt of start.
func (t *Tracker) identify(ctx context.Context, admin *kgo.Client) (store.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Kafka.Bounds().Delivery)
	defer cancel()
	parts := t.cfg.Partitions
	err := t.ensure(ctx, admin, t.names.StatusSpec(parts), t.names.ControlSpec(parts), t.names.DeferredSpec(parts),
		t.names.RequestsSpec(topic.WebhookLane, parts), t.names.DeadSpec(), t.names.StreamsSpec(parts))
	status := t.names.Status()
	if broken, ok := errors.AsType[*kafka.Broken](err); ok && broken.Partitions(status) {
		return store.Identity{}, fmt.Errorf("%w, or is not the configured one: %w", store.ErrPartitions, err)
	}
	if err != nil {
		return store.Identity{}, err
	}
	described, err := kafka.Describe(ctx, admin, status)
	if err != nil {
		return store.Identity{}, err
	}
	id := identity(status, described)
	if t.cfg.NoView {
		return id, t.withoutView(ctx, admin)
	}
	if err := kafka.Transactions(ctx, admin, t.names.View()+"-check"); err != nil {
		if errors.Is(err, kafka.ErrNoTransactions) {
			err = fmt.Errorf("the topic %s is written in transactions, and %w; start every tracker with --tracker-no-view, "+
				"and see docs/kafka.md, \"Without transactions\", for what that costs", t.names.View(), err)
		}
		return store.Identity{}, err
	}
	// A job's document is in the partition of view with the number of its events' partition of status,
	// so both topics must have as many partitions.
	if err := t.ensure(ctx, admin, t.names.ViewSpec(id.Partitions)); err != nil {
		return store.Identity{}, err
	}
	view, err := kafka.Describe(ctx, admin, t.names.View())
	if err == nil && view.Partitions != id.Partitions {
		err = fmt.Errorf("%w: %s has %d, and %s has %d; see tracker/README.md, \"More partitions\"", store.ErrPartitions,
			status, id.Partitions, t.names.View(), view.Partitions)
	}
	return id, err
}

// withoutView logs what a tracker that writes no topic view may lose. The embedded broker has no view either, but is on
// the same disk as the tracker's folder, so there is nothing to say.
func (t *Tracker) withoutView(ctx context.Context, admin *kgo.Client) error {
	if t.cfg.BrokerTimes {
		return nil
	}
	kept, err := kafka.TopicSetting(ctx, admin, t.names.Status(), "retention.ms")
	if err != nil {
		return err
	}
	t.env.Log.Warn("tracker-no-view: a tracker that loses its disk, or takes partitions over from another one, restores "+
		"jobs from the topic status only; jobs whose events are older than its retention.ms are then unknown",
		"topic", t.names.Status(), "retention.ms", kept, "folder", t.cfg.Data)
	return nil
}

// ensure makes and verifies topics, as the settings say.
func (t *Tracker) ensure(ctx context.Context, admin *kgo.Client, specs ...topic.Spec) error {
	topics := make([]kafka.Topic, len(specs))
	for i, s := range specs {
		topics[i] = kafka.Topic(s.With(t.cfg.Topics.Settings))
	}
	return t.keeper.Ensure(ctx, admin, topics...)
}

func identity(status string, d kafka.Description) store.Identity {
	return store.Identity{
		ClusterID:  d.ClusterID,
		TopicID:    hex.EncodeToString(d.TopicID[:]),
		Topic:      status,
		Partitions: d.Partitions,
	}
}
