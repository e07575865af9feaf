package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/keyfile"
	"github.com/ackwire/ackwire/loadtest/live"
	"github.com/ackwire/ackwire/loadtest/load"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/report"
	"github.com/ackwire/ackwire/loadtest/scenario"
	"github.com/ackwire/ackwire/loadtest/system"
)

type runCmd struct {
	Scenario string   `arg:"" help:"A scenario file, or the name of a built-in one (loadtest scenarios)."`
	URL      []string `name:"url" help:"Base address of a gateway; several are used in turn." placeholder:"URL"`
	Embedded bool     `help:"Start an Ackwire in this process and test that."`

	TokenFile  string        `help:"File with a token per line; clients use them in turn." placeholder:"FILE" type:"existingfile"`
	JWTKeyFile string        `name:"jwt-key-file" help:"The gateways' HS256 key: each client gets a token of its own, in the scenario's tenants." placeholder:"FILE" type:"existingfile"`
	Tenant     string        `help:"Name of the tenants; a number is appended." default:"loadtest"`
	Source     []string      `help:"Local addresses from which sockets connect, in turn: each has some 28,000 ports." placeholder:"IP"`
	Durations  float64       `help:"Multiply the scenario's durations: 0.1 for a short try." default:"1"`
	Load       float64       `help:"Multiply the scenario's rates and clients." default:"1"`
	Verify     float64       `help:"Share of acked jobs that are read at the end, 0 to 1." default:"1"`
	Out        string        `help:"Folder for report.html, report.json and history.ndjson; by default a new one below loadtest-runs." placeholder:"DIR"`
	Plain      bool          `help:"Print lines instead of the live view, as without a terminal."`
	Debug      bool          `help:"Log errors of clients to log.txt in the folder."`
	Every      time.Duration `help:"Interval at which a line is printed." default:"5s"`
}

// tokenTTL is the time for which tokens are valid beyond the run.
const tokenTTL = 2 * time.Hour

// Run implements the command.
func (c *runCmd) Run() error {
	s, err := scenario.Load(c.Scenario)
	if err != nil {
		return err
	}
	if !(c.Durations > 0 && c.Load > 0 && c.Every > 0) {
		return errors.New("durations, load and every must be above 0")
	}
	if s, err = s.Scale(c.Durations, c.Load); err != nil {
		return err
	}
	if c.Embedded == (len(c.URL) > 0) {
		return errors.New("either --url or --embedded is needed")
	}
	ctx, cancel := command.Signalled()
	defer cancel()
	if c.Out == "" {
		c.Out = filepath.Join("loadtest-runs", time.Now().Format("20060102-150405-")+s.Name)
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	cfg := load.Config{
		Scenario: s, URLs: c.URL, Verify: c.Verify, Embedded: c.Embedded,
		History: filepath.Join(c.Out, "history.ndjson"), Log: slog.New(slog.DiscardHandler),
	}
	if c.Debug {
		f, err := os.Create(filepath.Join(c.Out, "log.txt"))
		if err != nil {
			return err
		}
		defer f.Close()
		cfg.Log = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for i := range cfg.URLs {
		cfg.URLs[i] = strings.TrimRight(cfg.URLs[i], "/")
	}
	if cfg.Dials, err = c.dials(); err != nil {
		return err
	}
	var key []byte
	if c.Embedded {
		fmt.Fprintln(os.Stderr, "starting an Ackwire in this process …")
		sys, err := system.Start(ctx, kafka.Config{},
			slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
		if err != nil {
			return err
		}
		defer func() { _ = sys.Close() }() // its error at the end does not concern the run
		cfg.URLs = []string{sys.URL}
		if key, err = sys.Key(); err != nil {
			return err
		}
	}
	if cfg.Token, err = c.tokens(s, key); err != nil {
		return err
	}
	out, err := c.watched(ctx, cfg, measure.NewRecorder(s))
	if err != nil {
		return err
	}
	return c.finish(out)
}

// dials returns a dial function for each source address.
func (c *runCmd) dials() ([]load.Dial, error) {
	sources := c.Source
	if len(sources) == 0 {
		return []load.Dial{(&net.Dialer{Timeout: 10 * time.Second}).DialContext}, nil
	}
	var out []load.Dial
	for _, s := range sources {
		ip := net.ParseIP(s)
		if ip == nil {
			return nil, fmt.Errorf("source %q is not an IP address", s)
		}
		out = append(out, (&net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: ip}}).DialContext)
	}
	return out, nil
}

// tokens returns a function that gives each client its token. embeddedKey is the key of a system in this process, which
// needs tokens only for several tenants.
func (c *runCmd) tokens(s *scenario.Scenario, embeddedKey []byte) (func(int) (string, error), error) {
	switch {
	case c.TokenFile != "" && c.JWTKeyFile != "":
		return nil, errors.New("token-file and jwt-key-file exclude each other")
	case c.TokenFile != "":
		b, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return nil, err
		}
		tokens := strings.Fields(string(b))
		if len(tokens) == 0 {
			return nil, fmt.Errorf("%s holds no token", c.TokenFile)
		}
		return func(client int) (string, error) { return tokens[(client-1)%len(tokens)], nil }, nil
	}
	key := embeddedKey
	if c.JWTKeyFile != "" {
		keys, err := keyfile.Read(c.JWTKeyFile, 1)
		if err != nil {
			return nil, err
		}
		key = bytes.Join(keys, nil)
	} else if key == nil || s.Tenants == 1 {
		return nil, nil
	}
	ttl := s.Duration() + tokenTTL
	return func(client int) (string, error) {
		return gateway.SignToken(key, fmt.Sprintf("%s-%d", c.Tenant, (client-1)%s.Tenants+1),
			fmt.Sprintf("client-%d", client), ttl)
	}, nil
}

// watched runs the load, and shows its progress meanwhile.
func (c *runCmd) watched(ctx context.Context, cfg load.Config, rec *measure.Recorder) (*measure.Result, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watching, done := context.WithCancel(context.Background())
	var view sync.WaitGroup
	defer view.Wait()
	defer done()
	where := strings.Join(cfg.URLs, " ")
	if c.Plain || !live.Terminal(os.Stdout) || !live.Terminal(os.Stdin) {
		view.Go(func() { live.Lines(watching, os.Stdout, c.Every, cfg.Scenario, rec) })
	} else {
		view.Go(func() {
			if err := live.View(watching, os.Stdin, os.Stdout, cfg.Scenario, where, rec, stop); err != nil {
				fmt.Fprintln(os.Stderr, "loadtest: no view:", err) // the run goes on
			}
		})
	}
	return load.Run(ctx, cfg, rec)
}

// finish writes the reports, and returns an error when an invariant was violated.
func (c *runCmd) finish(out *measure.Result) error {
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := report.HTML(&page, out); err != nil {
		return err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(c.Out, "report.json"), append(b, '\n'), 0o644),
		os.WriteFile(filepath.Join(c.Out, "report.html"), page.Bytes(), 0o644),
		report.Print(os.Stdout, out),
	)
	if err != nil {
		return err
	}
	out.Verdict.Print(os.Stdout)
	fmt.Printf("\n%s, report.json and history.ndjson beside it\n", filepath.Join(c.Out, "report.html"))
	return verdict(out.Verdict)
}
