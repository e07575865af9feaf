package command

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ackwire/ackwire/internal/service"
)

func quietOS() service.Env { return service.OS(slog.New(slog.DiscardHandler)) }

// runMain runs Main and returns its exit code and what it said.
func runMain(t *testing.T, listen string, run func(context.Context) error) (code int, said string) {
	t.Helper()
	said = stderr(t, func() { code = Main("thing", quietOS(), listen, service.OpsConfig{}, nil, run) })
	return code, said
}

func TestMainSaysInOneLineWhyItCannot(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	code, said := runMain(t, taken.Addr().String(), func(context.Context) error {
		t.Error("the service ran without its operations listener")
		return nil
	})
	if code != ExitFailed || strings.Count(said, "\n") != 1 ||
		!strings.Contains(said, "thing: ops listener: listen tcp "+taken.Addr().String()) {
		t.Errorf("port taken: exit code %d, %q", code, said)
	}
	code, said = runMain(t, "127.0.0.1:0", func(context.Context) error {
		return errors.Join(errors.New("a"), errors.New("b"))
	})
	if code != ExitFailed || said != "thing: a; b\n" {
		t.Errorf("a service that fails: exit code %d, %q", code, said)
	}
}

func TestMainStopsAtASignal(t *testing.T) {
	code, said := runMain(t, "127.0.0.1:0", func(ctx context.Context) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	if code != 0 || said != "" {
		t.Errorf("exit code %d, %q", code, said)
	}
}
