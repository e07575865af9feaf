package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// HealthFlag asks the process that runs beside, with the same settings, whether it takes
// work, instead of running: an image from scratch has no other program that could. It reads
// the flag ops-listen and nothing else, so it answers also where the settings are not valid,
// and ends with exit code 0 or ExitFailed.
type HealthFlag bool

const (
	healthTimeout = 3 * time.Second
	healthBytes   = 4 << 10 // of the reasons that are shown
)

// BeforeApply implements kong's hook: the flag's presence decides, before anything is checked.
func (HealthFlag) BeforeApply(k *kong.Kong, c *kong.Context) error {
	for _, flag := range c.Flags() {
		if flag.Name != "ops-listen" {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
		defer cancel()
		if err := askReady(ctx, fmt.Sprint(c.FlagValue(flag))); err != nil {
			fmt.Fprintf(k.Stderr, "%s: %v\n", k.Model.Name, err)
			k.Exit(ExitFailed)
			return nil
		}
		k.Exit(0)
		return nil
	}
	return errors.New("there is no operations listener to ask")
}

// askReady asks /readyz of the process whose operations listener was told to listen there.
func askReady(ctx context.Context, listen string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("ops-listen: %w", err)
	}
	if port == "0" {
		return errors.New("ops-listen: port 0 is another one at each start; name the one that the process has")
	}
	// All addresses: this machine's own is one.
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	// No proxy of the environment's may stand between.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, healthBytes))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
