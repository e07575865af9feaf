package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asClients makes this binary the process of the clients.
const asClients = "ACKWIRE_STORM_CLIENTS"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asBare) != "":
		if err := BareServer(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	case os.Getenv(asClients) == "":
		goleak.VerifyTestMain(m)
		return
	}
	var task StormTask
	err := json.NewDecoder(os.Stdin).Decode(&task)
	if err == nil {
		var report StormReport
		if report, err = StormClients(context.Background(), task); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(report)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestAStormOfAFew: what is measured is not looked at, only that all came back and were counted.
func TestAStormOfAFew(t *testing.T) {
	report, err := Storm(t.Context(), StormConfig{Sockets: 60, Within: 200 * time.Millisecond, Jobs: 3, Live: 2},
		slog.New(slog.DiscardHandler),
		func(ctx context.Context) (*exec.Cmd, error) {
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), asClients+"=1")
			return cmd, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	if report.Served != 60 || report.CaughtUp.Count != 60 || report.MostTry < 1 || report.All <= 0 ||
		report.Calm.Count == 0 {
		t.Errorf("%+v", report)
	}
}

func TestAStormsVerdict(t *testing.T) {
	fine := StormReport{Config: StormConfig{Within: 2 * time.Second}, Sockets: 10, Served: 10, All: 6 * time.Second}
	lost, late := fine, fine
	lost.Served, late.All = 9, 8*time.Second
	for want, reports := range map[string][]StormReport{"goal 7s: met": {fine}, "goal 7s: missed": {lost, late}} {
		for _, r := range reports {
			var out bytes.Buffer
			if r.Print(&out); !strings.Contains(out.String(), want) {
				t.Errorf("%+v: want %q in\n%s", r, want, out.String())
			}
		}
	}
}
