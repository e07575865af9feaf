package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/pace"
	"github.com/ackwire/ackwire/loadtest/system"
)

// ObservedConfig has the settings of the benchmark of logs, traces and scrapes.
type ObservedConfig struct {
	Server   string        `help:"The binary ackwire: two processes of it are measured in turns." default:"bin/ackwire"`
	Rate     float64       `help:"Jobs per second, open loop." default:"300"`
	Duration time.Duration `help:"Time for which each of the two is measured, over all rounds." default:"40s"`
	Rounds   int           `help:"Number of rounds." default:"8"`
	Sockets  int           `help:"Sockets that submit." default:"8"`
}

// GoalObserved is the goal for the cost with logs, traces and scrapes, compared with the cost without.
const GoalObserved = 1.05

// scrapeEvery is a shorter interval than usual.
const scrapeEvery = 5 * time.Second

// ObservedReport is the cost of jobs with logs, sampled traces and a scraper, and without. Metrics are counted in both
// cases, for they cannot be turned off.
type ObservedReport struct {
	Bare     Cost    `json:"bare"`
	Observed Cost    `json:"observed"`
	CPU      float64 `json:"ratioOfCPU"`
	P99      float64 `json:"ratioOfAckP99"`
}

// Cost is the cost of one job for a server.
type Cost struct {
	Jobs   int64   `json:"jobs"`
	Failed int     `json:"failed"`
	CPU    float64 `json:"cpuMicrosecondsPerJob"`
	AckP50 float64 `json:"ackP50Milliseconds"`
	AckP99 float64 `json:"ackP99Milliseconds"`
}

// Print writes the report as text.
func (r ObservedReport) Print(w io.Writer) {
	row := func(name string, c Cost) {
		fmt.Fprintf(w, "%-34s %8d jobs  %8.0f µs of CPU each   ack p50 %6.2f ms  p99 %6.2f ms  failed %d\n", name, c.Jobs,
			c.CPU, c.AckP50, c.AckP99, c.Failed)
	}
	row("bare", r.Bare)
	row("logs, 1 % of traces, a scraper", r.Observed)
	fmt.Fprintf(w, "%.3fx the CPU, %.3fx the ack's p99; goal %.2fx\n", r.CPU, r.P99, GoalObserved)
}

// observed is one of the two servers.
type observed struct {
	url, ops string
	pid      int
	scraped  bool
	clients  []*ackwire.Client
	stop     func()

	acks *measure.Latencies
	cpu  float64 // seconds
}

// Observed measures two servers in turns under the same load. It reads /proc, so it runs on Linux only.
func Observed(ctx context.Context, cfg ObservedConfig, log *slog.Logger) (r ObservedReport, err error) {
	if cfg.Rate <= 0 || cfg.Duration <= 0 || cfg.Rounds < 1 || cfg.Sockets < 1 {
		return r, errors.New("rate, duration, rounds and sockets must be positive")
	}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_,
			_ = io.Copy(io.Discard, r.Body)
	}))
	defer collector.Close()
	bare, err := startServer(ctx, cfg.Server, cfg.Sockets, "--log-level", "error")
	if err != nil {
		return r, err
	}
	defer bare.stop()
	full, err := startServer(ctx, cfg.Server, cfg.Sockets, "--log-level", "info", "--trace-endpoint", collector.URL,
		"--trace-ratio", "0.01")
	if err != nil {
		return r, err
	}
	defer full.stop()
	full.scraped = true
	each := cfg.Duration / time.Duration(cfg.Rounds)
	for turn := range cfg.Rounds + 1 {
		order := []*observed{bare, full}
		if turn%2 == 1 {
			order = []*observed{full, bare} // the order alternates, so that neither is always second
		}
		for _, s := range order {
			if err := s.turn(ctx, cfg.Rate, each, turn > 0); err != nil {
				return r, err
			}
		}
		log.Info("turn", "n", turn)
	}
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	r.Bare, r.Observed = bare.cost(), full.cost()
	if r.Bare.CPU > 0 && r.Bare.AckP99 > 0 {
		r.CPU, r.P99 = r.Observed.CPU/r.Bare.CPU, r.Observed.AckP99/r.Bare.AckP99
	}
	return r, nil
}

// startServer starts `ackwire serve` of a binary with data of its own, and connects sockets to it.
func startServer(ctx context.Context, binary string, sockets int, args ...string) (*observed, error) {
	addrs, err := system.FreeAddrs(4)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ackwire-observed")
	if err != nil {
		return nil, err
	}
	child := exec.CommandContext(ctx, binary, append([]string{"serve", "--data", dir, "--listen", addrs[0],
		"--ops-listen", addrs[1],
		"--tracker-listen", addrs[2], "--kafka-listen", addrs[3]}, args...)...)
	child.Stdout, child.Stderr = io.Discard, io.Discard // its log is written and discarded
	if err := child.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the server: %w", err), os.RemoveAll(dir))
	}
	s := &observed{
		url: "http://" + addrs[0], ops: "http://" + addrs[1], pid: child.Process.Pid, acks: measure.NewLatencies(),
	}
	s.stop = func() {
		for _, c := range s.clients {
			_ = c.Close()
		}
		_ = child.Process.Kill()
		_ = child.Wait()
		_ = os.RemoveAll(dir)
	}
	if err = waitServing(ctx, s.url+"/v1/stats"); err == nil {
		s.clients, err = dial(ctx, s.url, sockets)
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// turn puts load on the server; the result counts unless counts is false, for warming up.
func (s *observed) turn(ctx context.Context, rate float64, d time.Duration, counts bool) error {
	acks := s.acks
	if !counts {
		acks = measure.NewLatencies()
	}
	scraping, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s.scraped && pause.For(scraping, scrapeEvery) {
			if answer, err := http.Get(s.ops + "/metrics"); err == nil {
				_, _ = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
			}
		}
	}()
	defer func() { stop(); <-done }()
	before, err := usage(s.pid)
	if err != nil {
		return err
	}
	jobs := make(chan *ackwire.Job, int(rate*d.Seconds())+1)
	pace.OpenLoop(ctx, rate, d, acks, func(ctx context.Context, i int) error {
		j, err := s.clients[i%len(s.clients)].Submit(ctx, jobType, payload, ackwire.NoKey())
		if err == nil {
			jobs <- j
		}
		return err
	})
	close(jobs)
	for j := range jobs {
		if _, err := j.Wait(ctx); err != nil {
			return err
		}
	}
	after, err := usage(s.pid)
	if counts {
		s.cpu += after.seconds - before.seconds
	}
	return err
}

func (s *observed) cost() Cost {
	sum := summarise("", s.acks)
	c := Cost{Jobs: sum.Count, Failed: sum.Failed, AckP50: sum.P50, AckP99: sum.P99}
	if c.Jobs > 0 {
		c.CPU = s.cpu * 1e6 / float64(c.Jobs)
	}
	return c
}
