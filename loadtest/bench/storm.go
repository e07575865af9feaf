package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/loadtest/system"
)

// StormConfig has the settings of the benchmark of reconnects.
type StormConfig struct {
	Sockets int           `help:"Sockets that reconnect and subscribe again from the last version they saw." default:"10000"`
	Within  time.Duration `help:"Time within which each reconnects, at a random moment." default:"2s"`
	Jobs    int           `help:"Running jobs that they watch; 64 run at one time." default:"50"`
	Live    int           `help:"Sockets that stay open and are pinged meanwhile." default:"20"`
}

// StormGoal is the goal for the time from the last reconnect's moment until all sockets have caught up.
const StormGoal = 5 * time.Second

const (
	stormPayload  = `{"seconds":600,"steps":120}` // progress every five seconds
	stormDeadline = 5 * time.Minute
)

// StormReport is the result of Storm.
type StormReport struct {
	Cores    int           `json:"cores"`
	Go       string        `json:"go"`
	Config   StormConfig   `json:"-"`
	Sockets  int           `json:"sockets"`
	Served   int           `json:"served"`
	Refused  int           `json:"refused"` // handshakes refused with a time to try again
	Broken   int           `json:"broken"`  // handshakes that failed otherwise and were repeated
	MostTry  int           `json:"mostTries"`
	CaughtUp Summary       `json:"caughtUp"` // from when a socket was due to the newest version of its job
	All      time.Duration `json:"all"`      // from the beginning until the last had caught up
	Calm     Summary       `json:"calm"`     // pings of the sockets that stay open, before the storm
	Storm    Summary       `json:"storm"`    // the same during the storm
}

// Met reports whether all sockets have caught up in time.
func (r StormReport) Met() bool {
	return r.Served == r.Sockets && r.All-r.Config.Within <= StormGoal
}

// Print writes the report as a table.
func (r StormReport) Print(w io.Writer) {
	fmt.Fprintf(w, "embedded broker, %d sockets come back within %s, %d cores, %s; milliseconds\n\n", r.Sockets,
		r.Config.Within, r.Cores, r.Go)
	fmt.Fprintf(w, "%-32s %8s %8s %8s %8s %8s %7s\n", "", "count", "p50", "p90", "p99", "max", "failed")
	for _, s := range []Summary{r.CaughtUp, r.Calm, r.Storm} {
		fmt.Fprintf(w, "%-32s %8d %8.2f %8.2f %8.2f %8.2f %7d\n", s.Name, s.Count, s.P50, s.P90, s.P99, s.Max, s.Failed)
	}
	verdict := "missed"
	if r.Met() {
		verdict = "met"
	}
	fmt.Fprintf(w, "\n%d of %d served; %d handshakes were told to come back later, %d broke; at most %d tries of one "+
		"socket\n", r.Served, r.Sockets, r.Refused, r.Broken, r.MostTry)
	fmt.Fprintf(w, "all had caught up %s after it began, goal %s: %s\n", r.All.Round(time.Millisecond), r.Config.Within+
		StormGoal, verdict)
}

// Storm starts a system in this process and opens the sockets in another one, so that each process has its own limit of
// open files. clients returns the command that runs StormClients.
func Storm(
	ctx context.Context, cfg StormConfig, log *slog.Logger, clients func(ctx context.Context) (*exec.Cmd, error),
) (_ StormReport, err error) {
	if cfg.Sockets < 1 || cfg.Within <= 0 || cfg.Jobs < 1 || cfg.Live < 1 {
		return StormReport{}, errors.New("sockets, within, jobs and live must be positive")
	}
	ctx, cancel := context.WithTimeout(ctx, stormDeadline)
	defer cancel()
	sys, err := system.Start(ctx, kafka.Config{}, log)
	if err != nil {
		return StormReport{}, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	c, err := ackwire.Dial(ctx, sys.URL)
	if err != nil {
		return StormReport{}, err
	}
	defer c.Close()
	task := StormTask{Config: cfg, URL: sys.URL}
	for range cfg.Jobs {
		j, err := c.Submit(ctx, "demo.sleep", json.RawMessage(stormPayload), ackwire.NoKey(), ackwire.NoWatch())
		if err != nil {
			return StormReport{}, err
		}
		task.Jobs = append(task.Jobs, j.ID)
	}
	cmd, err := clients(ctx)
	if err != nil {
		return StormReport{}, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return StormReport{}, err
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return StormReport{}, err
	}
	if err := cmd.Start(); err != nil {
		return StormReport{}, fmt.Errorf("start the clients: %w", err)
	}
	var report StormReport
	err = errors.Join(json.NewEncoder(in).Encode(task), in.Close(), json.NewDecoder(out).Decode(&report))
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return StormReport{}, fmt.Errorf("the clients: %w", err)
	}
	report.Cores, report.Go, report.Config = runtime.GOMAXPROCS(0), runtime.Version(), cfg
	return report, nil
}
