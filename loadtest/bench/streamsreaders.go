package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/measure"
)

// readers are sockets that follow streams: socket i that of job i, and later all that of the shared job, too.
type readers struct {
	sockets *rawSockets
	ids     []string
	shared  string      // the job whose stream all follow
	large   string      // and the one with a large stream
	answers chan string // to requests to the gateway, one at a time

	chunks, words, bytes atomic.Int64 // that came
	latency              atomic.Pointer[measure.Latencies]
}

func openReaders(ctx context.Context, gateway string, n int) (_ *readers, err error) {
	r := &readers{ids: make([]string, n), answers: make(chan string, 1)}
	r.sockets, err = openRaw(ctx, gateway, n, r.heard)
	return r, err
}

func (r *readers) close() { r.sockets.close() }

var (
	chunkFrame = []byte(`{"type":"chunk"`)
	chunkText  = []byte(`"text":"`)
)

// heard handles a frame. Words have no characters that JSON escapes.
func (r *readers) heard(_ int, text []byte) {
	now := time.Now()
	switch {
	case bytes.HasPrefix(text, chunkFrame):
	case bytes.HasPrefix(text, statusFrame), bytes.HasPrefix(text, []byte(`{"type":"welcome"`)):
		return
	default:
		r.answers <- string(text)
		return
	}
	r.chunks.Add(1)
	r.bytes.Add(int64(frameBytes(len(text))))
	_, after, _ := bytes.Cut(text, chunkText)
	said, _, _ := bytes.Cut(after, []byte(`"`))
	into := r.latency.Load()
	for len(said) >= wordBytes {
		at, err := strconv.ParseInt(string(said[:wordBytes-1]), 36, 64)
		said = said[wordBytes:]
		r.words.Add(1)
		if into != nil && err == nil {
			into.Record(now.Sub(time.Unix(0, at)), nil)
		}
	}
}

// frameBytes returns the size of a text of n bytes with its frame header, from a server (RFC 6455 §5.2).
func frameBytes(n int) int {
	switch {
	case n < 126:
		return n + 2
	case n < 1<<16:
		return n + 4
	}
	return n + 10
}

func (r *readers) ask(ctx context.Context, i int, text, want string) (string, error) {
	return r.sockets.all[i].ask(ctx, r.answers, text, want)
}

// submit submits the job of each writer, and waits until all of them run.
func (r *readers) submit(ctx context.Context, w *writers) error {
	for i := range w.all {
		socket := min(i, len(r.ids)-1)
		answer, err := r.ask(ctx, socket, fmt.Sprintf(`{"type":"submit","id":"1","job":%q,"payload":%d}`, writtenType, i), "ack")
		if err != nil {
			return fmt.Errorf("submit: %w", err)
		}
		var ack struct {
			JobID string `json:"jobId"`
		}
		if err := json.Unmarshal([]byte(answer), &ack); err != nil {
			return err
		}
		switch i {
		case len(r.ids):
			r.shared = ack.JobID
		case len(r.ids) + 1:
			r.large = ack.JobID
		default:
			r.ids[i] = ack.JobID
		}
	}
	for range int(heldWait / (100 * time.Millisecond)) {
		if w.runs.Load() >= int64(len(w.all)) {
			return nil
		}
		if !pause.For(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%d of %d jobs run", w.runs.Load(), len(w.all))
}

func (r *readers) follow(ctx context.Context, i int, jobID string) error {
	_, err := r.ask(ctx, i, `{"type":"subscribe","id":"2","jobs":[{"jobId":"`+jobID+`","streams":["`+writtenStream+`"]}]}`,
		"subscribed")
	return err
}

// followOwn makes each socket follow the stream of its job.
func (r *readers) followOwn(ctx context.Context) error {
	for i, id := range r.ids {
		if err := r.follow(ctx, i, id); err != nil {
			return fmt.Errorf("follow: %w", err)
		}
	}
	return nil
}

// followShared makes all sockets follow the stream of the shared job.
func (r *readers) followShared(ctx context.Context) error {
	for i := range r.ids {
		if err := r.follow(ctx, i, r.shared); err != nil {
			return fmt.Errorf("follow: %w", err)
		}
	}
	return nil
}

// wait returns when so many words were seen, or when no more come.
func (r *readers) wait(ctx context.Context, want int64) {
	untilQuiet(ctx, func() (int64, bool) {
		n := r.words.Load()
		return n, n >= want
	})
}

// untilQuiet returns when count reports that all is there, or when its number has not changed for two seconds.
func untilQuiet(ctx context.Context, count func() (n int64, all bool)) {
	const look, most = 20 * time.Millisecond, 100
	for last, quiet := int64(-1), 0; quiet < most; quiet++ {
		n, all := count()
		if all {
			return
		}
		if n != last {
			last, quiet = n, 0
		}
		if !pause.For(ctx, look) {
			return
		}
	}
}

// sseClients are connections to a bare SSE server, whose bytes are counted.
type sseClients struct {
	conns []net.Conn
	bytes atomic.Int64 // behind the header of the answer
	ended sync.WaitGroup
}

func openSSE(ctx context.Context, addr string, n int) (*sseClients, error) {
	c := &sseClients{}
	for range n {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			c.close()
			return nil, err
		}
		c.conns = append(c.conns, conn)
		in := bufio.NewReaderSize(conn, 512)
		_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", addr)
		if err == nil {
			err = skipHeader(in)
		}
		if err != nil {
			c.close()
			return nil, fmt.Errorf("open an event stream: %w", err)
		}
		c.ended.Go(func() { _, _ = io.Copy(counter{&c.bytes}, in) })
	}
	return c, nil
}

// skipHeader reads the header of an answer, whose body is read as it is on the wire.
func skipHeader(in *bufio.Reader) error {
	line, err := in.ReadString('\n')
	if err == nil && !strings.Contains(line, strconv.Itoa(http.StatusOK)) {
		return errors.New(strings.TrimSpace(line))
	}
	for err == nil && strings.TrimSpace(line) != "" {
		line, err = in.ReadString('\n')
	}
	return err
}

// counter counts what is written to it.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

// wait returns when what the server has written must be here.
func (c *sseClients) wait(ctx context.Context, before, chunks int64) {
	untilQuiet(ctx, func() (int64, bool) {
		n := c.bytes.Load()
		return n, n-before >= chunks*sseBytes(wordBytes)
	})
}

func (c *sseClients) close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.ended.Wait()
}
