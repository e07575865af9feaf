package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/system"
)

// EdgeConfig has the settings of the benchmark of a gateway.
type EdgeConfig struct {
	Gateway  string        `help:"The gateway's binary. It runs in its own process, so that its CPU can be measured." default:"bin/gateway"`
	Sockets  int           `help:"Sockets, each with a running job that it watches." default:"1000"`
	Rate     float64       `help:"Changes of the jobs per second, open loop, one job after the other." default:"1000"`
	Shared   float64       `help:"Changes per second of the job that all sockets watch." default:"10"`
	Duration time.Duration `help:"Time for which each is measured, over all rounds." default:"20s"`
	Rounds   int           `help:"Number of rounds." default:"4"`
}

// Goals of the edge.
const (
	GoalDelivery = 1.20 // CPU, compared with writing the same bytes to bare sockets
	GoalStalled  = 1.10 // p99 of other clients while one has stalled, compared with one that reads
)

// EdgeReport is the result of Edge.
type EdgeReport struct {
	Cores   int     `json:"cores"`
	Go      string  `json:"go"`
	Sockets int     `json:"sockets"`
	Rate    float64 `json:"rate"`

	Shared Delivery `json:"deliveryOfOneJobToAll"`
	Own    Delivery `json:"deliveryOfEachToItsOwn"`

	Latency Summary `json:"kafkaToSocket"` // from when the event was durable until the client saw it
	Calm    Summary `json:"besideOneThatReads"`
	Stalled Summary `json:"besideOneThatStalled"`
	// Conflated is the number of statuses that the gateway replaced while a client had stalled.
	Conflated float64 `json:"conflatedWhileStalled"`

	BareAccept Accepts `json:"acceptBare"`
	Accept     Accepts `json:"accept"`
	JWT        Accepts `json:"acceptWithJWT"`
}

// Delivery is the server's cost to deliver one frame to one socket.
type Delivery struct {
	Bytes int     `json:"bytesPerFrame"`
	Count int64   `json:"count"`
	Bare  float64 `json:"bareMicroseconds"` // of CPU
	Ours  float64 `json:"microseconds"`
	Ratio float64 `json:"ratio"`
}

// Accepts is the cost of sockets that are opened and closed one after the other, on a few connections at a time.
type Accepts struct {
	Count     int64   `json:"count"`
	PerSecond float64 `json:"perSecond"`
	CPU       float64 `json:"cpuMicrosecondsEach"`
}

// Print writes the report as text.
func (r EdgeReport) Print(w io.Writer) {
	verdict := func(ratio, goal float64) string {
		switch {
		case ratio == 0:
			return "not measured"
		case ratio > goal:
			return "missed"
		}
		return "met"
	}
	fmt.Fprintf(w, "a gateway with %d sockets, beside the embedded broker, a tracker and the clients on %d cores, %s\n\n",
		r.Sockets, r.Cores, r.Go)
	for _, d := range []struct {
		name string
		Delivery
	}{{"one job to all", r.Shared}, {"each job to its own", r.Own}} {
		fmt.Fprintf(w, "delivery, %-21s %9d of %d bytes   bare %6.2f µs of CPU   ours %6.2f   %.2fx", d.name, d.Count,
			d.Bytes, d.Bare, d.Ours, d.Ratio)
		if d.name == "one job to all" {
			fmt.Fprintf(w, ", goal %.1fx: %s", GoalDelivery, verdict(d.Ratio, GoalDelivery))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\n%-44s %8s %8s %8s %8s %8s   milliseconds\n", "", "count", "p50", "p90", "p99", "max")
	for _, s := range []Summary{r.Latency, r.Calm, r.Stalled} {
		fmt.Fprintf(w, "%-44s %8d %8.2f %8.2f %8.2f %8.2f\n", s.Name, s.Count, s.P50, s.P90, s.P99, s.Max)
	}
	stalled := ratio(r.Stalled.P99, r.Calm.P99)
	fmt.Fprintf(w, "one that has stalled: the others' p99 is %.2fx, goal %.1fx: %s; %.0f statuses were conflated\n\n",
		stalled, GoalStalled, verdict(stalled, GoalStalled), r.Conflated)
	for _, a := range []struct {
		name string
		Accepts
	}{{"bare accept", r.BareAccept}, {"ours, anonymous", r.Accept}, {"ours, with a JWT", r.JWT}} {
		fmt.Fprintf(w, "%-20s %7.0f sockets/s opened and closed   %6.1f µs of CPU each   %.2fx\n", a.name, a.PerSecond, a.CPU,
			ratio(a.CPU, r.BareAccept.CPU))
	}
}

func ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}

// edge is the state of a run.
type edge struct {
	cfg  EdgeConfig
	gw   *gatewayProcess
	bare *bareProcess
	jobs *heldJobs

	shared, own, bareShared, bareOwn spent
	latency, calm, stalled           *measure.Latencies
	conflated                        float64
}

// spent is the CPU that a number of deliveries took.
type spent struct {
	seconds float64
	count   int64
}

func (s spent) each() float64 { return ratio(s.seconds*1e6, float64(s.count)) }

// Edge measures a gateway and a bare server in turns, both in their own processes. bare returns the command that runs
// BareServer. Edge reads /proc, so it runs on Linux only.
func Edge(
	ctx context.Context, cfg EdgeConfig, log *slog.Logger, bare func(context.Context) (*exec.Cmd, error),
) (r EdgeReport, err error) {
	if cfg.Sockets < 1 || cfg.Rate <= 0 || cfg.Shared <= 0 || cfg.Duration <= 0 || cfg.Rounds < 1 {
		return r, errors.New("sockets, rate, shared, duration and rounds must be positive")
	}
	sys, err := system.Start(ctx, kafka.Config{}, log)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	setup, err := newEdgeFiles()
	if err != nil {
		return r, err
	}
	defer setup.remove()
	e := &edge{cfg: cfg, latency: measure.NewLatencies(), calm: measure.NewLatencies(), stalled: measure.NewLatencies()}
	// Without pings: Idle measures these.
	if e.gw, err = startGateway(ctx, cfg.Gateway, sys, "--sessions", strconv.Itoa(cfg.Sockets+1000), "--ping-interval",
		"5m", "--handshake-rate", "0",
		"--job-types", setup.types, "--jwt-key-file", setup.key); err != nil {
		return r, err
	}
	defer e.gw.stop()
	if e.bare, err = startBare(ctx, bare); err != nil {
		return r, err
	}
	defer e.bare.stop()
	if e.jobs, err = holdJobs(ctx, sys, e.gw.addr, cfg.Sockets, log); err != nil {
		return r, err
	}
	defer e.jobs.close()
	sinks, err := openRaw(ctx, e.bare.sink, cfg.Sockets, func(int, []byte) {})
	if err != nil {
		return r, err
	}
	defer sinks.close()
	for turn := range cfg.Rounds + 1 {
		if err := e.round(ctx, turn > 0, turn%2 == 1); err != nil {
			return r, err
		}
		log.Info("turn", "n", turn)
	}
	r = EdgeReport{
		Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(), Sockets: cfg.Sockets, Rate: cfg.Rate,
		Shared: Delivery{
			Count: e.shared.count, Bare: e.bareShared.each(), Ours: e.shared.each(), Bytes: e.jobs.frameBytes(),
		},
		Own:     Delivery{Count: e.own.count, Bare: e.bareOwn.each(), Ours: e.own.each(), Bytes: e.jobs.frameBytes()},
		Latency: summarise("from durable in Kafka to the socket", e.latency),
		Calm:    summarise("  beside a client that watches all and reads", e.calm),
		Stalled: summarise("  beside a client that watches all and stalls", e.stalled), Conflated: e.conflated,
	}
	r.Shared.Ratio, r.Own.Ratio = ratio(r.Shared.Ours, r.Shared.Bare), ratio(r.Own.Ours, r.Own.Bare)
	return r, e.accepts(ctx, &r, setup.token)
}

// round measures each once; the result counts unless the round is for warming up.
func (e *edge) round(ctx context.Context, counts, backwards bool) error {
	each := e.cfg.Duration / time.Duration(e.cfg.Rounds)
	into := func(l *measure.Latencies) *measure.Latencies {
		if counts {
			return l
		}
		return measure.NewLatencies()
	}
	ours := func(s *spent, deliver func() (int64, error)) error {
		return e.charged(e.gw.pid, counts, s, deliver)
	}
	bare := func(s *spent, to int, rate float64) error {
		return e.charged(e.bare.pid, counts, s, func() (int64, error) {
			return e.bare.write(BareTask{Bytes: e.jobs.frameBytes(), Each: to, Rate: rate, Seconds: each.Seconds()})
		})
	}
	turns := []func() error{
		func() error {
			return ours(&e.shared, func() (int64, error) { return e.jobs.changeShared(ctx, e.cfg.Shared, each) })
		},
		func() error { return bare(&e.bareShared, e.cfg.Sockets, e.cfg.Shared) },
		func() error {
			return ours(&e.own, func() (int64, error) { return e.jobs.change(ctx, e.cfg.Rate, each, into(e.latency)) })
		},
		func() error { return bare(&e.bareOwn, 1, e.cfg.Rate) },
		func() error { _, err := e.beside(ctx, each, true, into(e.calm)); return err },
		func() error {
			conflated, err := e.beside(ctx, each, false, into(e.stalled))
			if counts {
				e.conflated += conflated
			}
			return err
		},
	}
	for i := range turns {
		if backwards {
			i = len(turns) - 1 - i // the order alternates, so that none always follows the same one
		}
		if err := turns[i](); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// charged adds the CPU that a process uses for some deliveries.
func (e *edge) charged(pid int, counts bool, to *spent, deliver func() (int64, error)) error {
	before, err := usage(pid)
	if err != nil {
		return err
	}
	n, err := deliver()
	if err != nil {
		return err
	}
	after, err := usage(pid)
	if counts {
		to.seconds += after.seconds - before.seconds
		to.count += n
	}
	return err
}

// beside measures the clients while one more client, which watches all their jobs, reads or has stalled.
func (e *edge) beside(
	ctx context.Context, d time.Duration, reads bool, into *measure.Latencies,
) (conflated float64, err error) {
	before, err := e.gw.counter(ctx, "ackwire_gateway_statuses_conflated_total")
	if err != nil {
		return 0, err
	}
	leave, err := e.jobs.watchAll(ctx, e.gw.addr, reads)
	if err != nil {
		return 0, err
	}
	defer leave()
	if _, err := e.jobs.change(ctx, e.cfg.Rate, d, into); err != nil {
		return 0, err
	}
	after, err := e.gw.counter(ctx, "ackwire_gateway_statuses_conflated_total")
	return after - before, err
}
