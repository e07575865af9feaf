package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/pace"
	"github.com/ackwire/ackwire/schemas/job"
)

// CapacityConfig has the settings of the search for the highest rate.
type CapacityConfig struct {
	Bound    time.Duration `help:"Bound of the ack's p99 at a rate that the system holds." default:"50ms"`
	EndBound time.Duration `help:"Bound of the p99 from submit to the job's end; without one, acks would hide jobs that pile up. 0 means none." default:"1s"`

	From      float64       `help:"The first rate to try, in jobs per second, open loop. From it the search goes up in steps of a half, then halves the interval." default:"500"`
	Most      float64       `help:"No rate above this is tried." default:"50000"`
	Precision float64       `help:"The search ends when it has the highest rate to this share." default:"0.05"`
	Duration  time.Duration `help:"Time for which a rate is judged." default:"10s"`
	WarmUp    time.Duration `help:"Time at the same rate before it is judged." default:"3s"`
	Sockets   int           `help:"Sockets that submit." default:"64"`
	AcksOnly  bool          `help:"Only submit: no workers run, and no job ends."`
	Packages  int           `help:"Packages to print for each process, those with the most CPU time." default:"15"`

	Server    string       `help:"The binary ackwire, which runs the whole system on its embedded broker, in a process apart from the clients." default:"bin/ackwire"`
	Gateway   string       `help:"The gateway's binary, for a system on another Kafka." default:"bin/gateway"`
	Tracker   string       `help:"The tracker's binary, for a system on another Kafka." default:"bin/tracker"`
	Processor string       `help:"The processor's binary, for a system on another Kafka." default:"bin/processor"`
	Kafka     kafka.Config `embed:"" set:"kafka=" set:"kafka_place=HOST:PORT" set:"kafka_help= By default the embedded broker."`

	URL          []string          `help:"Measure the running system behind these addresses of gateways, in place of one that is started. Its workers must serve demo.echo, and its bounds for one user (ask-rate) must be above the rates." sep:"," placeholder:"URL"`
	TokenFile    string            `help:"File with a token per line for a running system; sockets use them in turn." placeholder:"FILE" type:"existingfile"`
	Ops          map[string]string `help:"Operations listener of a process of a running system, by a name of your choice: its CPU time is read there, and its profile with --debug-endpoints. Repeat it for each process." placeholder:"NAME=URL"`
	OpsTokenFile string            `help:"File with the token of the operations listeners." placeholder:"FILE" type:"existingfile"`
	PID          map[string]int    `name:"pid" help:"Another process on this machine whose CPU time is counted, such as the broker's. Repeat it for each process." placeholder:"NAME=PID"`
}

// validate joins all problems of the settings.
func (c CapacityConfig) validate() error {
	problems := []error{pace.Search{From: c.From, Most: c.Most, Precision: c.Precision}.Validate()}
	say := func(wrong bool, format string, args ...any) {
		if wrong {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	say(c.Bound <= 0, "bound must be above 0")
	say(c.EndBound < 0, "end-bound must not be negative")
	say(c.Duration < time.Second, "duration must be at least 1s: a profile takes whole seconds")
	say(c.WarmUp < 0, "warm-up must not be negative")
	say(c.Sockets < 1, "sockets must be at least 1")
	say(c.Packages < 0, "packages must not be negative")
	say(len(c.URL) > 0 && len(c.Kafka.Brokers) > 0, "url and kafka exclude each other: a running system has its Kafka")
	say(len(c.URL) == 0 && len(c.Ops) > 0, "ops is for a running system: name it by url")
	say(len(c.URL) == 0 && c.TokenFile != "", "token-file is for a running system: name it by url")
	for name, address := range c.Ops {
		u, err := url.Parse(address)
		say(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "",
			"ops %s: %q is not an http or https address", name, address)
	}
	for name, pid := range c.PID {
		say(pid < 1, "pid %s must be above 0", name)
	}
	if len(c.Kafka.Brokers) > 0 {
		problems = append(problems, c.Kafka.Check())
	}
	return errors.Join(problems...)
}

// CapacityReport is the result of the search.
type CapacityReport struct {
	System  string  `json:"system"`
	Cores   int     `json:"cores"`
	Go      string  `json:"go"`
	Sockets int     `json:"sockets"`
	Ack     float64 `json:"ackBoundMilliseconds"`
	End     float64 `json:"endBoundMilliseconds"`
	// Rate is the highest rate that the system held; 0 if it held none.
	Rate  float64        `json:"rate"`
	Steps []CapacityStep `json:"steps"`
	// Costs has the processes while they were profiled at Rate.
	Costs []ProcessCost `json:"costs"`

	packages int // to print
}

// CapacityStep is one trial of a rate.
type CapacityStep struct {
	pace.Result
	Held bool `json:"held"`
	// CPU has the CPU time of each process, in microseconds per job that ended.
	CPU map[string]float64 `json:"cpuMicrosecondsPerJob"`
	// Profiled is set for the last step, at the result's rate, which profiles slow down a little.
	Profiled bool `json:"profiled,omitempty"`
}

// capacity is the state of a search.
type capacity struct {
	cfg     CapacityConfig
	sys     *measuredSystem
	clients []*ackwire.Client
}

// Capacity finds the highest rate at which the system keeps the bounds, and measures what a job then costs. It reads
// /proc, so it runs on Linux only.
func Capacity(ctx context.Context, cfg CapacityConfig, log *slog.Logger) (r CapacityReport, err error) {
	if err := cfg.validate(); err != nil {
		return r, err
	}
	c := &capacity{cfg: cfg}
	if c.sys, err = startMeasured(ctx, cfg); err != nil {
		return r, err
	}
	defer c.sys.stop()
	if err := c.connect(ctx); err != nil {
		return r, err
	}
	defer func() {
		for _, client := range c.clients {
			_ = client.Close()
		}
	}()
	r = CapacityReport{
		System: c.sys.name, Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(), Sockets: cfg.Sockets,
		Ack: milliseconds(cfg.Bound), End: milliseconds(cfg.EndBound), packages: cfg.Packages,
	}
	bounds := pace.Bounds{Ack: cfg.Bound, End: cfg.EndBound}
	if cfg.AcksOnly {
		bounds.End, r.End = 0, 0
	}
	var spent cpuTimes
	step := pace.Step{WarmUp: cfg.WarmUp, For: cfg.Duration, During: func(judged context.Context) (err error) {
		spent, err = c.sys.cpuDuring(judged)
		return err
	}}
	search := pace.Search{From: cfg.From, Most: cfg.Most, Precision: cfg.Precision}
	r.Rate, err = search.Run(ctx, step, bounds, c.job, func(result pace.Result, held bool) {
		r.Steps = append(r.Steps, CapacityStep{Result: result, Held: held, CPU: spent.perJob(result.Ended)})
		log.Info("step", "rate", result.Rate, "held", held, "ackP99", result.Ack.P99, "endP99", result.End.P99)
	})
	if err != nil || r.Rate == 0 {
		return r, err
	}
	return r, c.profile(ctx, step, bounds, &r)
}

// connect opens the sockets.
func (c *capacity) connect(ctx context.Context) error {
	var tokens []string
	if c.cfg.TokenFile != "" {
		b, err := os.ReadFile(c.cfg.TokenFile)
		if err != nil {
			return err
		}
		if tokens = strings.Fields(string(b)); len(tokens) == 0 {
			return fmt.Errorf("%s holds no token", c.cfg.TokenFile)
		}
	}
	for i := range c.cfg.Sockets {
		var options []ackwire.Option
		if len(tokens) > 0 {
			options = append(options, ackwire.WithToken(tokens[i%len(tokens)]))
		}
		client, err := ackwire.Dial(ctx, c.sys.urls[i%len(c.sys.urls)], options...)
		if err != nil {
			for _, open := range c.clients {
				_ = open.Close()
			}
			return err
		}
		c.clients = append(c.clients, client)
	}
	return nil
}

// job submits one job and, unless only acks are measured, waits for its end.
func (c *capacity) job(ctx context.Context, i int, acked func()) error {
	client := c.clients[i%len(c.clients)]
	if c.cfg.AcksOnly {
		_, err := client.Submit(ctx, jobType, payload, ackwire.NoKey(), ackwire.NoWatch())
		if err == nil {
			acked()
		}
		return err
	}
	j, err := client.Submit(ctx, jobType, payload, ackwire.NoKey())
	if err != nil {
		return err
	}
	acked()
	end, err := j.Wait(ctx)
	if err == nil && end.State != job.Completed {
		err = fmt.Errorf("a job has ended as %s", end.State)
	}
	return err
}

// profile runs one more step at the rate that was found, with profiles of all processes.
func (c *capacity) profile(ctx context.Context, step pace.Step, bounds pace.Bounds, r *CapacityReport) error {
	var spent cpuTimes
	var profiles []processProfile
	step.Rate, step.Behind = r.Rate, bounds.Behind()
	step.During = func(judged context.Context) (err error) {
		done := make(chan []processProfile)
		go func() { done <- c.sys.profilesDuring(judged, int(c.cfg.Duration.Seconds())) }()
		spent, err = c.sys.cpuDuring(judged)
		profiles = <-done
		return err
	}
	result, err := step.Run(ctx, c.job)
	if err != nil {
		return err
	}
	cpu := spent.perJob(result.Ended)
	r.Steps = append(r.Steps, CapacityStep{Result: result, Held: bounds.Hold(result), CPU: cpu, Profiled: true})
	for _, p := range profiles {
		cost := ProcessCost{Process: p.process, CPU: cpu[p.process], Problem: p.problem}
		for _, pkg := range p.packages {
			cost.Packages = append(cost.Packages, PackageCost{pkg, pkg.Self * cost.CPU, pkg.Total * cost.CPU})
		}
		r.Costs = append(r.Costs, cost)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Print writes the report as text.
func (r CapacityReport) Print(w io.Writer) {
	fmt.Fprintf(w, "%s; %d sockets of this process; %d cores, %s\n", r.System, r.Sockets, r.Cores, r.Go)
	fmt.Fprintf(w, "bounds: ack p99 %g ms", r.Ack)
	if r.End > 0 {
		fmt.Fprintf(w, ", end p99 %g ms", r.End)
	}
	var processes []string
	for _, s := range r.Steps {
		for name := range s.CPU {
			if !slices.Contains(processes, name) {
				processes = append(processes, name)
			}
		}
	}
	slices.Sort(processes)
	fmt.Fprintf(w, "\n\n%9s  %17s  %17s  %7s  %-9s µs of CPU per job\n", "", "ack, ms", "end, ms", "", "")
	fmt.Fprintf(w, "%9s  %8s %8s  %8s %8s  %7s  %-9s", "jobs/s", "p50", "p99", "p50", "p99", "failed", "")
	for _, name := range processes {
		fmt.Fprintf(w, " %10s", name)
	}
	fmt.Fprintln(w)
	for _, s := range r.Steps {
		s.print(w, processes)
	}
	if r.Rate == 0 {
		fmt.Fprintln(w, "\nno rate was held")
		return
	}
	fmt.Fprintf(w, "\nhighest rate: %g jobs/s\n", r.Rate)
	for _, c := range r.Costs {
		c.print(w, r.packages)
	}
}

func (s CapacityStep) print(w io.Writer, processes []string) {
	verdict := map[bool]string{true: "held", false: "missed"}[s.Held]
	if s.Profiled {
		verdict = "profiled"
	}
	latency := func(l measure.Summary) string {
		if l.Count == 0 {
			return fmt.Sprintf("%8s %8s", "-", "-")
		}
		return fmt.Sprintf("%8.2f %8.2f", l.P50, l.P99)
	}
	fmt.Fprintf(w, "%9g  %s  %s  %7d  %-9s", s.Rate, latency(s.Ack), latency(s.End), s.Failed, verdict)
	for _, name := range processes {
		fmt.Fprintf(w, " %10.0f", s.CPU[name])
	}
	if s.Problem != "" {
		fmt.Fprintf(w, "  %s", s.Problem)
	}
	fmt.Fprintln(w)
}
