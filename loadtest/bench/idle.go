package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/system"
)

// IdleConfig has the settings of the benchmark of idle sockets.
type IdleConfig struct {
	Gateway string        `help:"The gateway's binary. It runs in its own process, so that its memory can be measured." default:"bin/gateway"`
	Sockets int           `help:"Idle sockets; the limit of open files bounds them." default:"10000"`
	Rest    time.Duration `help:"Time for which their CPU is measured: some ping intervals." default:"50s"`
}

// Goals of one socket.
const (
	GoalIdleKB  = 12.0 // resident memory
	GoalWatchKB = 15.0 // with one watch
	GoalIdleCPU = 1.0  // microseconds per second
)

// IdleReport is the cost of one socket, without the cost of a gateway that has none.
type IdleReport struct {
	Sockets int     `json:"sockets"`
	KB      float64 `json:"kbPerSocket"`
	WatchKB float64 `json:"kbPerSocketWithAWatch"`
	CPU     float64 `json:"microsecondsPerSecondAndSocket"`
	BareCPU float64 `json:"bareMicrosecondsPerSecondAndSocket"` // of bare sockets that are pinged as often
}

// Print writes the report as text.
func (r IdleReport) Print(w io.Writer) {
	verdict := func(v, goal float64) string {
		if v <= goal {
			return "met"
		}
		return "missed"
	}
	fmt.Fprintf(w, "%d sockets, of a gateway that is a process of its own\n", r.Sockets)
	fmt.Fprintf(w, "  resident memory   %6.1f KB   goal %g: %s\n", r.KB, GoalIdleKB, verdict(r.KB, GoalIdleKB))
	fmt.Fprintf(w, "  with one watch    %6.1f KB   goal %g: %s\n", r.WatchKB, GoalWatchKB, verdict(r.WatchKB, GoalWatchKB))
	fmt.Fprintf(w, "  CPU while idle    %6.2f µs/s goal %g: %s; bare sockets that are pinged as often: %.2f, %.2fx\n",
		r.CPU, GoalIdleCPU, verdict(r.CPU, GoalIdleCPU),
		r.BareCPU, ratio(r.CPU, r.BareCPU))
}

// settleTime is the time after opening sockets in which their garbage is collected.
const settleTime = 10 * time.Second

// Idle opens idle sockets, then makes each watch a job that starts tomorrow, and returns the cost of one for the
// gateway. bare returns the command that runs BareServer. Idle reads /proc, so it runs on Linux only.
func Idle(
	ctx context.Context, cfg IdleConfig, log *slog.Logger, bare func(context.Context) (*exec.Cmd, error),
) (r IdleReport, err error) {
	if cfg.Sockets < 1 || cfg.Rest < time.Second {
		return r, errors.New("sockets and rest must be positive")
	}
	sys, err := system.Start(ctx, kafka.Config{}, log)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	gw, err := startGateway(ctx, cfg.Gateway, sys, "--sessions", strconv.Itoa(cfg.Sockets+1000))
	if err != nil {
		return r, err
	}
	defer gw.stop()
	warm, err := openIdle(ctx, gw.addr, min(cfg.Sockets, 500)) // so that the gateway has allocated what it keeps
	if err != nil {
		return r, err
	}
	warm.close()
	if !pause.For(ctx, settleTime) {
		return r, ctx.Err()
	}
	before, err := usage(gw.pid)
	if err != nil {
		return r, err
	}
	without, err := cpuOver(ctx, gw.pid, cfg.Rest/4)
	if err != nil {
		return r, err
	}
	sockets, err := openIdle(ctx, gw.addr, cfg.Sockets)
	if err != nil {
		return r, err
	}
	defer sockets.close()
	if !pause.For(ctx, settleTime) {
		return r, ctx.Err()
	}
	idle, err := cpuOver(ctx, gw.pid, cfg.Rest)
	if err != nil {
		return r, err
	}
	opened, err := usage(gw.pid)
	if err != nil {
		return r, err
	}
	if err := sockets.watch(ctx, time.Now().Add(24*time.Hour)); err != nil {
		return r, err
	}
	if !pause.For(ctx, settleTime) {
		return r, ctx.Err()
	}
	watching, err := usage(gw.pid)
	if err != nil {
		return r, err
	}
	sockets.close()
	n := float64(cfg.Sockets)
	r = IdleReport{
		Sockets: cfg.Sockets, KB: (opened.rssKB - before.rssKB) / n, WatchKB: (watching.rssKB - before.rssKB) / n,
		CPU: (idle - without) * 1e6 / n,
	}
	r.BareCPU, err = idleFloor(ctx, cfg, bare)
	return r, err
}

// pingEach is how often a gateway pings a socket.
const pingEach = 25 * time.Second

// idleFloor measures what pings and pongs cost a process that does nothing else, in microseconds per second and socket.
func idleFloor(ctx context.Context, cfg IdleConfig, command func(context.Context) (*exec.Cmd, error)) (float64, error) {
	bare, err := startBare(ctx, command)
	if err != nil {
		return 0, err
	}
	defer bare.stop()
	sockets, err := openRaw(ctx, bare.sink, cfg.Sockets, func(int, []byte) {})
	if err != nil {
		return 0, err
	}
	defer sockets.close()
	before, err := usage(bare.pid)
	if err != nil {
		return 0, err
	}
	// As many at a time as for each step of a gateway's timing wheel.
	n, err := bare.write(BareTask{
		Each: max(cfg.Sockets/int(pingEach/time.Second), 1), Rate: 1, Seconds: cfg.Rest.Seconds(),
	})
	if err != nil {
		return 0, err
	}
	after, err := usage(bare.pid)
	if err != nil || n == 0 {
		return 0, err
	}
	return (after.seconds - before.seconds) * 1e6 / float64(n) / pingEach.Seconds(), nil
}

// idleSockets are sockets that only answer pings, and submit once.
type idleSockets struct {
	*rawSockets
	answers chan string // to submits; capacity 1, because they are sent one after the other
}

func openIdle(ctx context.Context, addr string, n int) (*idleSockets, error) {
	s := &idleSockets{answers: make(chan string, 1)}
	var err error
	s.rawSockets, err = openRaw(ctx, addr, n, func(_ int, text []byte) {
		if answer := string(text); strings.HasPrefix(answer, `{"type":"ack"`) ||
			strings.HasPrefix(answer, `{"type":"error"`) {
			s.answers <- answer
		}
	})
	return s, err
}

// watch makes each socket submit, and so watch, a job that starts later.
func (s *idleSockets) watch(ctx context.Context, at time.Time) error {
	text := fmt.Sprintf(`{"type":"submit","id":"1","job":"demo.echo","payload":1,"runAt":%q}`,
		at.UTC().Format(time.RFC3339))
	for _, one := range s.all {
		if _, err := one.ask(ctx, s.answers, text, "ack"); err != nil {
			return err
		}
	}
	return nil
}
