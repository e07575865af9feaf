package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/frame"
)

const (
	maxStalledStream = 64 << 20
	stalledBuffer    = 8 << 10 // of a stalled client's kernel, so that its gateway cannot write all
	stalledReadOn    = 5       // of the stalled clients read on in the end
	readOnWithin     = 2 * time.Minute
	stalledBegin     = 128 << 10 // is written before the clients stall, so that the gateway's buffer is full
)

// stall measures what it costs the gateway when sockets follow a stream and read nothing, and has some of them read on
// in the end. One socket reads all the time.
func (s *streamsRun) stall(ctx context.Context) error {
	r, large := s.readers, s.readers.large
	if err := r.follow(ctx, 0, large); err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	number := 0
	write := func(size int) error {
		t := writeTurn{first: len(r.ids) + 1, writers: 1, words: size / wordBytes, numbered: true, number: number}
		number += t.words
		return s.write(ctx, t, int64(t.words))
	}
	if err := write(stalledBegin); err != nil {
		return err
	}
	var all []*stalledSocket
	defer func() {
		for _, one := range all {
			_ = one.conn.Close()
		}
	}()
	for range s.cfg.Stalled {
		one, err := openStalled(ctx, s.gw.addr, large)
		if err != nil {
			return fmt.Errorf("open a socket that stalls: %w", err)
		}
		all = append(all, one)
	}
	before, err := s.gw.heap(ctx)
	if err != nil {
		return err
	}
	for _, one := range all {
		if err := one.send(`{"type":"subscribe","id":"2","jobs":[{"jobId":"` + large + `","streams":["` + writtenStream +
			`"]}]}`); err != nil {
			return err
		}
	}
	if err := write(int(s.cfg.Stream) - stalledBegin); err != nil {
		return err
	}
	if !pause.For(ctx, s.cfg.Stall) {
		return ctx.Err()
	}
	after, err := s.gw.heap(ctx)
	if err != nil {
		return err
	}
	s.report.Stall = StreamStall{
		Sockets: len(all), Stream: int64(number * wordBytes), Seconds: s.cfg.Stall.Seconds(),
		Each: (after - before) / float64(len(all)),
	}
	readers := all[:min(stalledReadOn, len(all))]
	s.report.Stall.Read, err = readOn(ctx, readers, number)
	for _, one := range readers {
		s.report.Stall.Reconnects += one.reconnects
	}
	return err
}

// stalledSocket is a socket that follows the stream of a job.
type stalledSocket struct {
	*rawSocket
	gateway, jobID string
	reconnects     int64
}

// openStalled opens one that watches a job.
func openStalled(ctx context.Context, gateway, jobID string) (*stalledSocket, error) {
	s, err := handshake(ctx, gateway, "")
	if err != nil {
		return nil, err
	}
	if conn, is := s.conn.(*net.TCPConn); is {
		err = conn.SetReadBuffer(stalledBuffer)
	}
	if err == nil {
		err = s.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":"` + jobID + `"}]}`)
	}
	for range 3 { // welcome, subscribed, and the status
		if err == nil {
			_, err = s.next(nil)
		}
	}
	if err != nil {
		_ = s.conn.Close()
		return nil, err
	}
	return &stalledSocket{rawSocket: s, gateway: gateway, jobID: jobID}, nil
}

// readOn has sockets read until each has so many numbered words, and checks each byte. It returns the bytes of all.
func readOn(ctx context.Context, all []*stalledSocket, words int) (sum int64, err error) {
	var mu sync.Mutex // guards sum and err
	var reading sync.WaitGroup
	for _, one := range all {
		reading.Go(func() {
			n, problem := one.readOn(ctx, words)
			mu.Lock()
			defer mu.Unlock()
			sum += n
			err = errors.Join(err, problem)
		})
	}
	reading.Wait()
	return sum, err
}

// readOn reads from the stream's beginning. If the gateway has closed the socket, it goes on with another one, from
// where it is.
func (s *stalledSocket) readOn(ctx context.Context, words int) (at int64, err error) {
	var buf, expected []byte
	number, run := 0, 0
	if err := s.conn.SetReadDeadline(time.Now().Add(readOnWithin)); err != nil {
		return 0, err
	}
	for at < int64(words*wordBytes) {
		if buf, err = s.next(buf); err != nil {
			if s.reconnects > 0 {
				return at, fmt.Errorf("read on at %d: %w", at, err)
			}
			if err := s.reconnect(ctx, run, at); err != nil {
				return at, err
			}
			continue
		}
		if !bytes.HasPrefix(buf, chunkFrame) {
			continue
		}
		var f frame.ChunkFrame
		if err := json.Unmarshal(buf, &f); err != nil {
			return at, err
		}
		for len(expected) < len(f.Text) {
			expected = append(expected, numberedWord(number)...)
			number++
		}
		if f.From != at || string(expected[:len(f.Text)]) != f.Text || f.Error != "" {
			return at, fmt.Errorf("read on at %d: %d bytes of another text come, from %d %s", at, len(f.Text), f.From, f.Error)
		}
		expected = expected[len(f.Text):]
		at += int64(len(f.Text))
		run = f.Run
	}
	return at, nil
}

// reconnect opens another socket, which asks from a cursor on.
func (s *stalledSocket) reconnect(ctx context.Context, run int, at int64) error {
	_ = s.conn.Close()
	next, err := handshake(ctx, s.gateway, "")
	if err != nil {
		return err
	}
	s.rawSocket = next
	s.reconnects++
	from := `"` + writtenStream + `"`
	if run > 0 {
		from = fmt.Sprintf(`{"stream":%q,"run":%d,"at":%d}`, writtenStream, run, at)
	}
	return errors.Join(
		s.conn.SetReadDeadline(time.Now().Add(readOnWithin)),
		s.send(`{"type":"subscribe","id":"3","jobs":[{"jobId":"`+s.jobID+`","streams":[`+from+`]}]}`),
	)
}
