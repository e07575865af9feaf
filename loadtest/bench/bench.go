// Package bench has benchmarks that compare Ackwire, in one run and as ratios, with the floor that Kafka sets: an ack
// with two plain produces one after the other, and a job from submit to completed with the same records sent by plain
// clients.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/pace"
	"github.com/ackwire/ackwire/loadtest/system"
)

// Config has the settings of the benchmark.
type Config struct {
	Rate     float64       `help:"Jobs per second, open loop." default:"500"`
	Duration time.Duration `help:"Time for which each of the four is measured, over all rounds." default:"10s"`
	Rounds   int           `help:"Number of rounds: floor, Ackwire, floor, Ackwire …" default:"4"`
	Sockets  int           `help:"Sockets that submit." default:"8"`
	Kafka    kafka.Config  `embed:"" set:"kafka=" set:"kafka_place=HOST:PORT" set:"kafka_help= By default the embedded broker."`
}

// Goal is the ratio to the floor that Ackwire aims at.
const Goal = 1.5

const (
	warmUp  = 2 * time.Second
	jobType = "demo.echo"
)

var payload = json.RawMessage(
	`{"reportType":"sales","from":"2026-01-01","to":"2026-01-31","columns":["date","orders","revenue","refunds"],"note":"a payload of about the size that people send, a few hundred bytes with a little structure in it, and text"}`)

// Report is the result of the benchmark.
type Report struct {
	Broker  string  `json:"broker"`
	Rate    float64 `json:"rate"`
	Cores   int     `json:"cores"`
	Go      string  `json:"go"`
	Results []Pair  `json:"results"`
	// Asked is what brokers were asked for one job of the raw chain, and for one of Ackwire.
	Asked [2]Load `json:"asked"`
}

// Pair has the latencies of Ackwire and of its floor.
type Pair struct {
	Name  string  `json:"name"`
	Floor Summary `json:"floor"`
	Ours  Summary `json:"ours"`
	Ratio float64 `json:"ratioP50"`
}

// Summary is one histogram; times in milliseconds.
type Summary struct {
	Name   string  `json:"name"`
	Count  int64   `json:"count"`
	Failed int     `json:"failed"`
	P50    float64 `json:"p50"`
	P90    float64 `json:"p90"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

func summarise(name string, l *measure.Latencies) Summary {
	ms := func(q float64) float64 { return float64(l.Quantile(q).Microseconds()) / 1000 }
	count, failed := l.Counts()
	return Summary{Name: name, Count: count, Failed: failed, P50: ms(50), P90: ms(90), P99: ms(99), Max: ms(100)}
}

func pair(name string, floor, ours Summary) Pair {
	p := Pair{Name: name, Floor: floor, Ours: ours}
	if floor.P50 > 0 {
		p.Ratio = ours.P50 / floor.P50
	}
	return p
}

// verdict returns whether the goal was met; it is not known if one side has no values.
func (p Pair) verdict() string {
	switch {
	case p.Floor.Count == 0 || p.Ours.Count == 0:
		return "not measured"
	case p.Ratio > Goal:
		return "missed"
	default:
		return "met"
	}
}

// Run measures and returns the report.
func Run(ctx context.Context, cfg Config, log *slog.Logger) (_ Report, err error) {
	if cfg.Rate <= 0 || cfg.Duration <= 0 || cfg.Rounds < 1 || cfg.Sockets < 1 {
		return Report{}, errors.New("rate, duration, rounds and sockets must be positive")
	}
	if len(cfg.Kafka.Brokers) > 0 {
		if err := cfg.Kafka.Check(); err != nil {
			return Report{}, err
		}
	}
	sys, err := system.Start(ctx, cfg.Kafka, log)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	env := service.OS(log)
	f, err := newFloor(ctx, sys.Kafka, env, system.Partitions)
	if err != nil {
		return Report{}, err
	}
	defer f.close()
	clients, err := dial(ctx, sys.URL, cfg.Sockets)
	if err != nil {
		return Report{}, err
	}
	defer func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}()

	submit := func(ctx context.Context, i int) error {
		_, err := clients[i%len(clients)].Submit(ctx, jobType, payload, ackwire.NoKey(), ackwire.NoWatch())
		return err
	}
	job := func(ctx context.Context, i int) error {
		j, err := clients[i%len(clients)].Submit(ctx, jobType, payload, ackwire.NoKey())
		if err != nil {
			return err
		}
		_, err = j.Wait(ctx)
		return err
	}
	turn := 0
	load := [2]meter{{from: env.Metrics}, {from: sys.Metrics}}
	round := func(d time.Duration, into [4]*measure.Latencies) error {
		turn++
		phase := fmt.Sprint("turn-", turn)
		pace.OpenLoop(ctx, cfg.Rate, d, into[0], func(ctx context.Context, i int) error {
			return f.twoProduces(ctx, key(phase+"-ack", i))
		})
		pace.OpenLoop(ctx, cfg.Rate, d, into[1], submit)
		jobs := int(cfg.Rate * d.Seconds())
		return errors.Join(
			load[0].during(jobs, func() {
				pace.OpenLoop(ctx, cfg.Rate, d, into[2], func(ctx context.Context, i int) error {
					return f.chain(ctx, key(phase+"-chain", i))
				})
			}),
			load[1].during(jobs, func() { pace.OpenLoop(ctx, cfg.Rate, d, into[3], job) }),
		)
	}
	fresh := func() [4]*measure.Latencies {
		return [4]*measure.Latencies{
			measure.NewLatencies(), measure.NewLatencies(), measure.NewLatencies(), measure.NewLatencies(),
		}
	}
	err = round(min(warmUp, cfg.Duration), fresh())
	load = [2]meter{{from: env.Metrics}, {from: sys.Metrics}}
	got := fresh()
	for range cfg.Rounds {
		err = errors.Join(err, round(cfg.Duration/time.Duration(cfg.Rounds), got))
	}
	if err != nil {
		return Report{}, err
	}
	if ctx.Err() != nil {
		return Report{}, context.Cause(ctx)
	}
	return Report{
		Broker: sys.Name, Rate: cfg.Rate, Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(),
		Results: []Pair{
			pair("ack", summarise("two raw produces", got[0]), summarise("submit to ack", got[1])),
			pair("chain", summarise("raw chain", got[2]), summarise("submit to completed", got[3])),
		},
		Asked: [2]Load{load[0].perJob("raw chain"), load[1].perJob("ours")},
	}, nil
}

func dial(ctx context.Context, url string, n int) ([]*ackwire.Client, error) {
	var clients []*ackwire.Client
	for range n {
		c, err := ackwire.Dial(ctx, url)
		if err != nil {
			for _, open := range clients {
				_ = open.Close()
			}
			return nil, err
		}
		clients = append(clients, c)
	}
	return clients, nil
}

// Print writes the report as a table.
func (r Report) Print(w io.Writer) {
	fmt.Fprintf(w, "%s, %g jobs/s open loop, %d cores, %s; milliseconds\n\n", r.Broker, r.Rate, r.Cores, r.Go)
	fmt.Fprintf(w, "%-22s %8s %8s %8s %8s %8s %7s\n", "", "count", "p50", "p90", "p99", "max", "failed")
	for _, p := range r.Results {
		for _, s := range []Summary{p.Floor, p.Ours} {
			fmt.Fprintf(w, "%-22s %8d %8.2f %8.2f %8.2f %8.2f %7d\n", s.Name, s.Count, s.P50, s.P90, s.P99, s.Max, s.Failed)
		}
		fmt.Fprintf(w, "%-22s %17.2fx at p50, goal %.1fx: %s\n\n", "  ours / floor", p.Ratio, Goal, p.verdict())
	}
	printLoads(w, r.Asked[0], r.Asked[1])
}
