//go:build unix

package session

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

type noUpstream struct{}

func (noUpstream) Add(*trackerpb.WatchAdd) {}
func (noUpstream) Remove(string)           {}
func (noUpstream) Ended(string)            {}
func (noUpstream) Lose(string)             {}

// audience is a set of sockets over TCP that watch the same job and read their statuses.
type audience struct {
	tally   tally
	hub     *hub.Hub
	size    int
	version int64
}

func newAudience(b *testing.B, size int, extension string) *audience {
	b.Helper()
	a := &audience{tally: tally{all: make(chan struct{}, 1)}, hub: hub.New(time.Minute), size: size}
	a.hub.Attach(noUpstream{})
	cfg := &Config{Hub: a.hub, Limits: noLimits{}, Metrics: &a.tally, Log: slog.New(slog.DiscardHandler),
		Compression:  &Compression{Threshold: 1 << 10, Sockets: size},
		PingInterval: time.Hour, FrameBytes: frame.MaxFrameBytes, Subscriptions: 10, InFlightSubmits: 1}
	var sessions sync.WaitGroup
	opened := make(chan *Session, size)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := Accept(w, r, "x", cfg, &auth.Identity{})
		if err != nil {
			b.Error(err)
			return
		}
		sessions.Add(1)
		s.Start(sessions.Done)
		opened <- s
	}))
	b.Cleanup(srv.Close)
	for range size {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.WriteString(conn, handshake(extension))
		br := bufio.NewReader(conn)
		if answer, err := http.ReadResponse(br, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
			b.Fatalf("%v, %v", answer, err)
		}
		var reading sync.WaitGroup
		reading.Go(func() {
			buf := make([]byte, 16<<10)
			for {
				if _, err := conn.Read(buf); err != nil {
					return
				}
			}
		})
		s := <-opened
		s.registering.Lock()
		s.replace(s.newWatch(hub.Subscription{JobID: "a", Scope: auth.TenantScope("acme")}, time.Now()))
		s.registering.Unlock()
		b.Cleanup(func() {
			_ = conn.Close()
			reading.Wait()
		})
	}
	a.hub.Watched(&trackerpb.Watched{JobId: "a", Who: auth.TenantScope("acme").Key(),
		Outcome: trackerpb.Watched_WATCHING, Version: 1})
	return a
}

// deliver sends a status to all of them and returns the CPU time that this took.
func (a *audience) deliver(document []byte) time.Duration {
	before := cpu()
	a.version++
	a.tally.want.Add(int64(a.size))
	a.hub.Update(&trackerpb.Job{JobId: "a", Tenant: "acme", Version: 1 + a.version, Document: document})
	<-a.tally.all
	return cpu() - before
}

// cpu returns the CPU time that the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sales returns a document with a result of about size bytes.
func sales(size int) []byte {
	rows := []map[string]any{}
	for n := 0; n < size-150; n += 85 {
		rows = append(rows, map[string]any{
			"order": fmt.Sprintf("%08x", rand.Uint32()), "customer": fmt.Sprintf("customer %d", rand.IntN(10_000)),
			"amount": rand.IntN(100_000), "currency": "EUR",
		})
	}
	b, err := json.Marshal(map[string]any{
		"jobId": "01a208fd-2dc6-7467-acd5-bb987da20001", "type": "report.generate", "state": "processing",
		"attempt": 1, "maxAttempts": 3, "result": rows,
	})
	if err != nil {
		panic(err)
	}
	return b
}

// BenchmarkDelivery measures the CPU time of one delivery of a status of 4 KB, to sockets without and
// with compression in turns. It includes the kernel's write and the client's read.
func BenchmarkDelivery(b *testing.B) {
	documents := make([][]byte, 16)
	for i := range documents {
		documents[i] = sales(4 << 10)
	}
	for _, subscribers := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("subscribers=%d", subscribers), func(b *testing.B) {
			plain := newAudience(b, subscribers, "")
			small := newAudience(b, subscribers, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")
			if n := plain.tally.compressing.Load(); n != 0 || small.tally.compressing.Load() != int64(subscribers) {
				b.Fatalf("%d and %d have compression", n, small.tally.compressing.Load())
			}
			var without, with time.Duration
			n := 0
			for b.Loop() {
				document := documents[n%len(documents)]
				without += plain.deliver(document)
				with += small.deliver(document)
				n++
			}
			each := float64(n * subscribers)
			b.ReportMetric(float64(without.Nanoseconds())/each, "plain-cpu-ns/delivery")
			b.ReportMetric(float64(with.Nanoseconds())/each, "deflate-cpu-ns/delivery")
			b.ReportMetric(float64(with)/float64(without), "cpu-ratio")
			b.ReportMetric(float64(small.tally.after.Load())/float64(small.tally.before.Load()), "bytes-ratio")
		})
	}
}
