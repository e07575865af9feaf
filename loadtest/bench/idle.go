package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ackwire/ackwire/loadtest/system"
)

// IdleConfig is what idle sockets are measured with.
type IdleConfig struct {
	Gateway string        `help:"The gateway's binary: it runs as a process of its own, so that its memory is its own." default:"bin/gateway"`
	Sockets int           `help:"Sockets that do nothing; the limit of open files bounds them." default:"10000"`
	Rest    time.Duration `help:"How long their CPU is measured, some ping intervals." default:"50s"`
}

// Goals of one socket.
const (
	GoalIdleKB  = 12.0 // resident memory
	GoalWatchKB = 15.0 // with one watch
	GoalIdleCPU = 1.0  // microseconds per second
)

// IdleReport is what one socket costs; the gateway without sockets is subtracted.
type IdleReport struct {
	Sockets int     `json:"sockets"`
	KB      float64 `json:"kbPerSocket"`
	WatchKB float64 `json:"kbPerSocketWithAWatch"`
	CPU     float64 `json:"microsecondsPerSecondAndSocket"`
}

// Print writes the report for a person.
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
	fmt.Fprintf(w, "  CPU while idle    %6.2f µs/s goal %g: %s\n", r.CPU, GoalIdleCPU, verdict(r.CPU, GoalIdleCPU))
}

const (
	settleTime = 10 * time.Second // for what opening leaves behind to be collected
	idleAtOnce = 64               // sockets that are opened beside each other
)

// Idle opens sockets that do nothing, then has each watch a job that starts tomorrow, and
// returns what one costs the gateway. It reads /proc, so it runs on Linux only.
func Idle(ctx context.Context, cfg IdleConfig, log *slog.Logger) (r IdleReport, err error) {
	if cfg.Sockets < 1 || cfg.Rest < time.Second {
		return r, errors.New("sockets and rest must be positive")
	}
	sys, err := system.Start(ctx, nil, log)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, sys.Close()) }()
	addrs, err := system.FreeAddrs(2)
	if err != nil {
		return r, err
	}
	child := exec.CommandContext(ctx, cfg.Gateway, "--kafka", sys.Kafka.Brokers[0], "--listen", addrs[0], "--ops-listen", addrs[1], "--anonymous-tenant", "local",
		"--sessions", strconv.Itoa(cfg.Sockets+1000), "--subject-sessions", "0", "--log-level", "error")
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		return r, fmt.Errorf("start the gateway: %w", err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	if err := waitServing(ctx, "http://"+addrs[0]+"/v1/stats"); err != nil {
		return r, err
	}
	pid := child.Process.Pid
	warm, err := openIdle(ctx, addrs[0], min(cfg.Sockets, 500)) // what is made once and kept
	if err != nil {
		return r, err
	}
	warm.close()
	if err := rest(ctx, settleTime); err != nil {
		return r, err
	}
	before, err := usage(pid)
	if err != nil {
		return r, err
	}
	bare, err := cpuOver(ctx, pid, cfg.Rest/4)
	if err != nil {
		return r, err
	}
	sockets, err := openIdle(ctx, addrs[0], cfg.Sockets)
	if err != nil {
		return r, err
	}
	defer sockets.close()
	if err := rest(ctx, settleTime); err != nil {
		return r, err
	}
	idle, err := cpuOver(ctx, pid, cfg.Rest)
	if err != nil {
		return r, err
	}
	opened, err := usage(pid)
	if err != nil {
		return r, err
	}
	if err := sockets.watch(time.Now().Add(24 * time.Hour)); err != nil {
		return r, err
	}
	if err := rest(ctx, settleTime); err != nil {
		return r, err
	}
	watching, err := usage(pid)
	if err != nil {
		return r, err
	}
	n := float64(cfg.Sockets)
	return IdleReport{
		Sockets: cfg.Sockets, KB: (opened.rssKB - before.rssKB) / n, WatchKB: (watching.rssKB - before.rssKB) / n,
		CPU: (idle - bare) * 1e6 / n,
	}, nil
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func waitServing(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(r); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("the gateway does not serve: %w", err)
		}
	}
}

// processUsage is what /proc tells of a process.
type processUsage struct {
	rssKB   float64
	seconds float64 // of CPU
}

const ticksPerSecond = 100 // USER_HZ, the same on every Linux of today

func usage(pid int) (u processUsage, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(after, &u.rssKB); err != nil {
		return u, fmt.Errorf("read the memory of %d: %w", pid, err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("read the CPU time of %d", pid)
	}
	for _, f := range fields[11:13] { // utime, stime: proc(5)
		ticks, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return u, err
		}
		u.seconds += ticks / ticksPerSecond
	}
	return u, nil
}

// cpuOver is how much of one CPU a process uses over a time.
func cpuOver(ctx context.Context, pid int, d time.Duration) (float64, error) {
	from, err := usage(pid)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := rest(ctx, d); err != nil {
		return 0, err
	}
	to, err := usage(pid)
	return (to.seconds - from.seconds) / time.Since(began).Seconds(), err
}

// idleSockets answer pings and nothing else.
type idleSockets struct {
	conns []*idleSocket
	ended sync.WaitGroup
}

type idleSocket struct {
	conn   net.Conn
	acked  chan struct{}
	refuse chan string
}

func openIdle(ctx context.Context, addr string, n int) (*idleSockets, error) {
	s := &idleSockets{conns: make([]*idleSocket, n)}
	slots := make(chan struct{}, idleAtOnce)
	problems := make(chan error, n)
	var opening sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		opening.Go(func() {
			defer func() { <-slots }()
			one, br, err := openOne(ctx, addr)
			if err != nil {
				problems <- err
				return
			}
			s.conns[i] = one
			s.ended.Go(func() { one.read(br) })
		})
	}
	opening.Wait()
	select {
	case err := <-problems:
		s.close()
		return nil, fmt.Errorf("open sockets: %w", err)
	default:
		return s, nil
	}
}

func openOne(ctx context.Context, addr string) (*idleSocket, *bufio.Reader, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	_, err = fmt.Fprintf(conn, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ackwire.v1\r\n\r\n", addr)
	br := bufio.NewReaderSize(conn, 512)
	if err == nil {
		var answer *http.Response
		if answer, err = http.ReadResponse(br, nil); err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
			err = errors.New(answer.Status)
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return &idleSocket{conn: conn, acked: make(chan struct{}, 1), refuse: make(chan string, 1)}, br, nil
}

// read answers pings until the socket ends.
func (s *idleSocket) read(br *bufio.Reader) {
	for {
		var head [4]byte
		if _, err := io.ReadFull(br, head[:2]); err != nil {
			return
		}
		n := int(head[1])
		if n == 126 {
			if _, err := io.ReadFull(br, head[2:4]); err != nil {
				return
			}
			n = int(head[2])<<8 | int(head[3])
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(br, payload); err != nil {
			return
		}
		switch text := string(payload); {
		case head[0] == 0x89:
			_, _ = s.conn.Write([]byte{0x8a, 0x80, 0, 0, 0, 0}) // the gateway's pings are empty
		case strings.HasPrefix(text, `{"type":"ack"`):
			s.acked <- struct{}{}
		case strings.HasPrefix(text, `{"type":"error"`):
			s.refuse <- text
		}
	}
}

// watch has each socket submit, and so watch, a job that starts later.
func (s *idleSockets) watch(at time.Time) error {
	text := fmt.Sprintf(`{"type":"submit","id":"1","job":"demo.echo","payload":1,"runAt":%q}`, at.UTC().Format(time.RFC3339))
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...) // masked with zeros, below 126 bytes
	for _, one := range s.conns {
		if _, err := one.conn.Write(frame); err != nil {
			return err
		}
		select {
		case <-one.acked:
		case why := <-one.refuse:
			return errors.New(why)
		case <-time.After(30 * time.Second):
			return errors.New("a submit is not acked")
		}
	}
	return nil
}

func (s *idleSockets) close() {
	for _, one := range s.conns {
		if one != nil {
			_ = one.conn.Close()
		}
	}
	s.ended.Wait()
}
