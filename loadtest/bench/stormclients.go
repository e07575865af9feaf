package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/schemas/frame"
)

// StormTask is the task of the clients' process.
type StormTask struct {
	Config StormConfig
	URL    string
	Jobs   []string
}

const (
	fromOneAddress = 10_000 // sockets from one source address, well below its ports
	gentle         = 1_000  // sockets per second before the storm
	calmFor        = 3 * time.Second
	pingEvery      = 50 * time.Millisecond
	stormAttempt   = 20 * time.Second
	stormGiveUp    = time.Minute
)

// stormy is one client that loses its connection and reconnects.
type stormy struct {
	task  *StormTask
	job   string
	http  *http.Client
	ws    *websocket.Conn
	seen  int64
	tries int
}

// StormClients opens sockets slowly, closes all, lets each reconnect at its moment, and returns the measurements.
func StormClients(ctx context.Context, task StormTask) (StormReport, error) {
	sockets := make([]*stormy, task.Config.Sockets)
	clients := map[int]*http.Client{}
	for i := range sockets {
		from := 1 + i/fromOneAddress
		if clients[from] == nil {
			clients[from] = fromAddress(fmt.Sprintf("127.0.0.%d", from))
		}
		sockets[i] = &stormy{task: &task, job: task.Jobs[i%len(task.Jobs)], http: clients[from]}
	}
	report := StormReport{Sockets: len(sockets)}
	if err := together(sockets, func(i int, s *stormy) error {
		if !pause.For(ctx, time.Duration(i)*time.Second/gentle) {
			return ctx.Err()
		}
		_, _, err := s.comeBack(ctx)
		return err
	}); err != nil {
		return report, fmt.Errorf("before the storm: %w", err)
	}
	calm, storm := measure.NewLatencies(), measure.NewLatencies()
	stay, err := live(ctx, &task, clients[1])
	if err != nil {
		return report, err
	}
	pinged(ctx, stay, calm, time.After(calmFor))

	over := make(chan time.Time)
	var pinging sync.WaitGroup
	pinging.Go(func() { pinged(ctx, stay, storm, over) })
	for _, s := range sockets {
		_ = s.ws.CloseNow()
		s.tries = 0
	}
	caughtUp, began := measure.NewLatencies(), time.Now()
	var mu sync.Mutex // guards the report
	_ = together(sockets, func(_ int, s *stormy) error {
		time.Sleep(time.Duration(rand.Int64N(int64(task.Config.Within))))
		due := time.Now()
		refused, broken, err := s.comeBack(ctx)
		caughtUp.Record(time.Since(due), err)
		mu.Lock()
		defer mu.Unlock()
		report.Refused, report.Broken, report.MostTry = report.Refused+refused, report.Broken+broken,
			max(report.MostTry, s.tries)
		if err == nil {
			report.Served++
			report.All = max(report.All, time.Since(began))
		}
		return nil
	})
	close(over)
	pinging.Wait()
	for _, s := range append(sockets, stay...) {
		if s.ws != nil {
			_ = s.ws.CloseNow()
		}
	}
	report.CaughtUp = summarise("due to caught up", caughtUp)
	report.Calm, report.Storm = summarise("ping of a socket that stays: calm", calm),
		summarise("ping of a socket that stays: storm", storm)
	return report, nil
}

func together(sockets []*stormy, do func(int, *stormy) error) error {
	errs := make([]error, len(sockets))
	var all sync.WaitGroup
	for i, s := range sockets {
		all.Go(func() { errs[i] = do(i, s) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// fromAddress returns a client that dials from another loopback address, which has its own ports.
func fromAddress(ip string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	return &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10},
	}
}

// comeBack connects and subscribes until it succeeds, and returns when the socket has received the version of its job
// that the answer names.
func (s *stormy) comeBack(ctx context.Context) (refused, broken int, err error) {
	for giveUp := time.Now().Add(stormGiveUp); ; {
		s.tries++
		wait, err := s.try(ctx)
		switch {
		case err == nil:
			return refused, broken, nil
		case ctx.Err() != nil || time.Now().After(giveUp):
			return refused, broken, err
		case wait > 0:
			refused++
		default:
			broken++
			wait = time.Duration(rand.Int64N(int64(time.Second)))
		}
		pause.For(ctx, wait)
	}
}

// try is one attempt; wait is the time that the server asks to wait before the next.
func (s *stormy) try(ctx context.Context) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, stormAttempt)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, strings.Replace(s.task.URL, "http", "ws", 1)+"/v1/ws",
		&websocket.DialOptions{HTTPClient: s.http, Subprotocols: []string{frame.Protocol}})
	if err != nil {
		if resp != nil && resp.StatusCode == http.StatusServiceUnavailable {
			var p frame.Problem
			b, _ := io.ReadAll(resp.Body)
			if json.Unmarshal(b, &p) == nil {
				wait = time.Duration(p.RetryAfter * float64(time.Second))
			}
		}
		return wait, err
	}
	s.ws = ws
	if err := s.catchUp(ctx); err != nil {
		_ = ws.CloseNow()
		return 0, err
	}
	return 0, nil
}

func (s *stormy) catchUp(ctx context.Context) error {
	if err := s.ws.Write(ctx, websocket.MessageText,
		fmt.Appendf(nil, `{"type":"subscribe","id":"s","jobs":[{"jobId":%q,"after":%d}]}`, s.job, s.seen)); err != nil {
		return err
	}
	want := int64(-1)
	for want < 0 || s.seen < want {
		_, b, err := s.ws.Read(ctx)
		if err != nil {
			return err
		}
		var f struct {
			Type    frame.Type            `json:"type"`
			Version int64                 `json:"version"`
			Code    string                `json:"code"`
			Jobs    []frame.SubscribedJob `json:"jobs"`
		}
		if err := json.Unmarshal(b, &f); err != nil {
			return err
		}
		switch {
		case f.Type == frame.Status:
			if f.Version <= s.seen {
				return fmt.Errorf("version %d after %d", f.Version, s.seen)
			}
			s.seen = f.Version
		case f.Type == frame.Subscribed && len(f.Jobs) == 1 && f.Jobs[0].Error == "":
			want = f.Jobs[0].Version
		case f.Type != frame.Welcome:
			return fmt.Errorf("the subscribe was answered %s", b)
		}
	}
	return nil
}

// live opens the sockets that stay open.
func live(ctx context.Context, task *StormTask, hc *http.Client) ([]*stormy, error) {
	var stay []*stormy
	for range task.Config.Live {
		s := &stormy{task: task, http: hc}
		ws, _, err := websocket.Dial(ctx, strings.Replace(task.URL, "http", "ws", 1)+"/v1/ws",
			&websocket.DialOptions{HTTPClient: hc, Subprotocols: []string{frame.Protocol}})
		if err != nil {
			return nil, fmt.Errorf("a socket that is to stay: %w", err)
		}
		if _, _, err := ws.Read(ctx); err != nil { // welcome
			return nil, err
		}
		s.ws = ws
		stay = append(stay, s)
	}
	return stay, nil
}

var errNoPong = errors.New("no pong")

// pinged measures the latency of pings until over is closed.
func pinged(ctx context.Context, stay []*stormy, into *measure.Latencies, over <-chan time.Time) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		ws := stay[i%len(stay)].ws
		err := ws.Write(ctx, websocket.MessageText, []byte(`{"type":"ping","id":"p"}`))
		if err == nil {
			var b []byte
			if _, b, err = ws.Read(ctx); err == nil && !strings.Contains(string(b), `"pong"`) {
				err = errNoPong
			}
		}
		into.Record(time.Since(began), err)
	}
}
