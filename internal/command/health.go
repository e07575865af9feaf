package command

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// HealthFlag makes a command ask the running process with the same settings whether it is ready, instead of
// running itself, and end with exit code 0 or ExitFailed. It is for health checks of containers whose image
// has no other program. It reads only ops-listen and ops-tls-cert, so it works even if other settings are not valid.
type HealthFlag bool

const (
	healthTimeout = 3 * time.Second
	healthBytes   = 4 << 10 // of the reasons that are shown
)

// BeforeApply implements kong's hook, which runs before any setting is checked.
func (HealthFlag) BeforeApply(k *kong.Kong, c *kong.Context) error {
	secure := false
	for _, flag := range c.Flags() {
		if flag.Name == "ops-tls-cert" {
			secure = fmt.Sprint(c.FlagValue(flag)) != ""
		}
	}
	for _, flag := range c.Flags() {
		if flag.Name != "ops-listen" {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
		defer cancel()
		if err := askReady(ctx, fmt.Sprint(c.FlagValue(flag)), secure); err != nil {
			fmt.Fprintf(k.Stderr, "%s: %v\n", k.Model.Name, err)
			k.Exit(ExitFailed)
			return nil
		}
		k.Exit(0)
		return nil
	}
	return errors.New("there is no operations listener to ask")
}

// askReady asks /readyz of the process whose ops-listen is listen, with TLS if secure. It returns nil when that is
// ready.
func askReady(ctx context.Context, listen string, secure bool) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("ops-listen: %w", err)
	}
	if port == "0" {
		return errors.New("ops-listen: port 0 is a different port at each start; name the one that the process has")
	}
	// A process that listens at all addresses also listens at this machine's own.
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "localhost"
	}
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	// A transport of its own: the default one would use a proxy that the environment names.
	// The certificate is not checked: it is for other names than this machine's loopback address, and nothing secret is
	// sent.
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
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
