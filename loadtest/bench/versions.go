package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/pace"
)

// VersionsConfig has the settings of the benchmark of two versions.
type VersionsConfig struct {
	Server   string        `help:"The binary ackwire of the new version." default:"bin/ackwire"`
	Before   string        `help:"The binary ackwire of the version before." required:""`
	Rate     float64       `help:"Jobs per second, open loop. As many jobs are asked for, and a tenth as many lists." default:"200"`
	Duration time.Duration `help:"Time for which each of the two is measured, over all rounds." default:"60s"`
	Rounds   int           `help:"Number of rounds." default:"12"`
	Sockets  int           `help:"Sockets that submit." default:"8"`
}

// VersionsReport compares what clients wait for at two versions.
type VersionsReport struct {
	Rows []VersionsRow `json:"rows"`
}

// VersionsRow compares one operation.
type VersionsRow struct {
	Name   string  `json:"name"`
	Before Summary `json:"before"`
	Now    Summary `json:"now"`
	P50    float64 `json:"ratioP50"`
	P99    float64 `json:"ratioP99"`
}

// Print writes the report as text.
func (r VersionsReport) Print(w io.Writer) {
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%-5s before: p50 %6.2f ms  p99 %6.2f ms   now: p50 %6.2f ms  p99 %6.2f ms   "+
			"ratio %.3f, %.3f   failed %d, %d\n",
			row.Name, row.Before.P50, row.Before.P99, row.Now.P50, row.Now.P99,
			row.P50, row.P99, row.Before.Failed, row.Now.Failed)
	}
}

// asked is a server with what is measured beside its acks.
type asked struct {
	*observed
	gets, lists *measure.Latencies
	jobID       string // of a job that has ended
}

// Versions measures the servers of two versions in turns under the same load: submits over sockets, and questions for
// one job and for lists over HTTP.
func Versions(ctx context.Context, cfg VersionsConfig, log *slog.Logger) (r VersionsReport, err error) {
	if cfg.Rate <= 0 || cfg.Duration <= 0 || cfg.Rounds < 1 || cfg.Sockets < 1 {
		return r, errors.New("rate, duration, rounds and sockets must be positive")
	}
	var both [2]*asked
	for i, binary := range []string{cfg.Before, cfg.Server} {
		// The rates of one client without a token are beyond what a user may do.
		s, err := startServer(ctx, binary, cfg.Sockets, "--log-level", "error", "--ask-rate", "0", "--list-rate", "0",
			"--tenant-jobs", "0", "--tenant-submit-rate", "0")
		if err != nil {
			return r, err
		}
		defer s.stop()
		both[i] = &asked{observed: s, gets: measure.NewLatencies(), lists: measure.NewLatencies()}
		j, err := s.clients[0].Submit(ctx, jobType, payload)
		if err == nil {
			_, err = j.Wait(ctx)
		}
		if err != nil {
			return r, err
		}
		both[i].jobID = j.ID
	}
	each := cfg.Duration / time.Duration(cfg.Rounds)
	for turn := range cfg.Rounds + 1 {
		for i := range both {
			s := both[(turn+i)%2] // the order alternates, so that neither is always second
			if err := s.askedTurn(ctx, cfg.Rate, each, turn > 0); err != nil {
				return r, err
			}
		}
		log.Info("turn", "n", turn)
	}
	before, now := both[0], both[1]
	for _, row := range []struct {
		name        string
		before, now *measure.Latencies
	}{{"ack", before.acks, now.acks}, {"get", before.gets, now.gets}, {"list", before.lists, now.lists}} {
		v := VersionsRow{Name: row.name, Before: summarise(row.name, row.before), Now: summarise(row.name, row.now)}
		if v.Before.P50 > 0 && v.Before.P99 > 0 {
			v.P50, v.P99 = v.Now.P50/v.Before.P50, v.Now.P99/v.Before.P99
		}
		r.Rows = append(r.Rows, v)
	}
	return r, context.Cause(ctx)
}

// askedTurn puts load on the server while it is asked for a job and for lists.
func (s *asked) askedTurn(ctx context.Context, rate float64, d time.Duration, counts bool) error {
	gets, lists := s.gets, s.lists
	if !counts {
		gets, lists = measure.NewLatencies(), measure.NewLatencies()
	}
	var asking sync.WaitGroup
	asking.Go(func() { pace.OpenLoop(ctx, rate, d, gets, s.get("/v1/jobs/"+s.jobID)) })
	asking.Go(func() { pace.OpenLoop(ctx, rate/10, d, lists, s.get("/v1/jobs?limit=20")) })
	err := s.turn(ctx, rate, d, counts)
	asking.Wait()
	return err
}

// get returns an operation that reads a path.
func (s *asked) get(path string) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
		if err != nil {
			return err
		}
		answer, err := keptAlive.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return errors.New(answer.Status)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
}

var keptAlive = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
