package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/loadtest/system"
	"github.com/ackwire/ackwire/schemas/frame"
)

// BareAddrs are the addresses at which a bare server listens.
type BareAddrs struct {
	Sink   string // the server only writes to its sockets
	Accept string // its sockets are accepted and read by the WebSocket library, and nothing more
	SSE    string // an event stream for each request, by net/http
}

// BareTask tells a bare server how to write a frame to its sockets.
type BareTask struct {
	Bytes   int     // of a text frame; 0 is a ping
	Each    int     // number of sockets to write to each time, one after the other
	Rate    float64 // times per second
	Seconds float64
	SSE     bool // not to sockets, but as events to the first Of event streams
	Of      int
}

type bareDone struct{ Writes int64 }

// BareServer is what a gateway is compared with: it only writes pre-framed bytes to sockets. It reads tasks from in,
// answers each on out, and returns when in ends.
func BareServer(in io.Reader, out io.Writer) (err error) {
	d, to := json.NewDecoder(in), json.NewEncoder(out)
	var addrs BareAddrs
	if err := d.Decode(&addrs); err != nil {
		return err
	}
	s := &bareServer{}
	sink, err := serveBare(addrs.Sink, s.sink)
	if err != nil {
		return err
	}
	defer sink()
	accept, err := serveBare(addrs.Accept, acceptBare)
	if err != nil {
		return err
	}
	defer accept()
	sse, err := serveBare(addrs.SSE, s.events.serve)
	if err != nil {
		return err
	}
	defer sse()
	defer s.close()
	if err := to.Encode(bareDone{}); err != nil {
		return err
	}
	for {
		var t BareTask
		if err := d.Decode(&t); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		write := s.write
		if t.SSE {
			write = s.events.write
		}
		n, err := write(t)
		if err != nil {
			return err
		}
		if err := to.Encode(bareDone{n}); err != nil {
			return err
		}
	}
}

func serveBare(addr string, h http.HandlerFunc) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	return func() { _ = server.Close(); serving.Wait() }, nil
}

// acceptBare accepts a socket and reads it in its own goroutine, as a program would that saves memory.
func acceptBare(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{frame.Protocol}})
	if err != nil {
		return
	}
	go func() {
		defer ws.CloseNow()
		for {
			if _, _, err := ws.Read(context.Background()); err != nil {
				return
			}
		}
	}()
}

type bareServer struct {
	events bareEvents

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

func (s *bareServer) sink(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = rw.Flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, conn)
	go func() { // ends with the connection
		for pongs := make([]byte, 64); ; {
			if _, err := conn.Read(pongs); err != nil {
				return
			}
		}
	}()
}

func (s *bareServer) write(t BareTask) (n int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) == 0 || t.Rate <= 0 || t.Each < 1 || t.Bytes < 0 || t.Bytes > 1<<16 {
		return 0, fmt.Errorf("%+v for %d sockets", t, len(s.conns))
	}
	frame := []byte{0x89, 0}
	if t.Bytes > 0 {
		text := bytes.Repeat([]byte("x"), max(t.Bytes-4, 0))
		frame = append(binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(len(text))), text...)
	}
	began := time.Now()
	for i := range int(t.Rate * t.Seconds) {
		time.Sleep(time.Until(began.Add(time.Duration(float64(i) / t.Rate * float64(time.Second)))))
		for range t.Each {
			if _, err := s.conns[n%int64(len(s.conns))].Write(frame); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

func (s *bareServer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// bareProcess is a bare server in its own process.
type bareProcess struct {
	sink, accept, sse string

	pid  int
	stop func()

	tasks *json.Encoder
	done  *json.Decoder
}

func startBare(ctx context.Context, command func(context.Context) (*exec.Cmd, error)) (*bareProcess, error) {
	addrs, err := system.FreeAddrs(3)
	if err != nil {
		return nil, err
	}
	cmd, err := command(ctx)
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the bare server: %w", err)
	}
	b := &bareProcess{sink: addrs[0], accept: addrs[1], sse: addrs[2], pid: cmd.Process.Pid, tasks: json.NewEncoder(in),
		done: json.NewDecoder(out),
		stop: func() { _ = in.Close(); _ = cmd.Wait() }}
	var ready bareDone
	if err := errors.Join(b.tasks.Encode(BareAddrs{b.sink, b.accept, b.sse}), b.done.Decode(&ready)); err != nil {
		b.stop()
		return nil, fmt.Errorf("the bare server: %w", err)
	}
	return b, nil
}

// write runs a task and returns how often the server wrote.
func (b *bareProcess) write(t BareTask) (int64, error) {
	var done bareDone
	if err := errors.Join(b.tasks.Encode(t), b.done.Decode(&done)); err != nil {
		return 0, fmt.Errorf("the bare server: %w", err)
	}
	return done.Writes, nil
}
