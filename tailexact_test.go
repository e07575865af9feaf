package ackwire

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/stream"
)

// TestStreamsAreExactContinuations cuts connections at every point and in any order: what a reader is given is, run by
// run, exactly what the run has written, and the last run is whole.
func TestStreamsAreExactContinuations(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *fake) { tortureStream(t, s, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func tortureStream(t *testing.T, s *fake, rnd *rand.Rand) {
	c, p := s.dial()
	var runs []string
	for run := range 1 + rnd.IntN(3) {
		runs = append(runs, strings.Repeat(fmt.Sprintf("%d·", run+1), 50+rnd.IntN(3000)))
	}
	slow := time.Duration(rnd.IntN(3)) * 50 * time.Millisecond
	r := begin(t, func() (string, error) {
		text, at := "", stream.Cursor{}
		for c, err := range c.Job("j1").Stream(context.Background(), "tokens") {
			switch {
			case err != nil:
				return text, err
			case c.Reset && (c.From != 0 || text == ""):
				return text, fmt.Errorf("a reset of %q at %d", text, c.From)
			case c.Reset:
				text = ""
			case c.From != at.At || text != "" && c.Run != at.Dispatch:
				return text, fmt.Errorf("%d:%d follows %+v", c.Run, c.From, at)
			}
			text += c.Text
			if !strings.HasPrefix(runs[c.Run-1], text) {
				return text, fmt.Errorf("run %d is not %q", c.Run, text)
			}
			at = c.Cursor()
			time.Sleep(slow)
		}
		return text, nil
	})
	counts := 1 // the run that counts
	for {
		if p.torture(rnd, runs, &counts) {
			break
		}
		p.drop()
		p = s.next()
	}
	if got, err := r.end(); got != runs[len(runs)-1] || err != nil {
		t.Errorf("%d bytes of %d, %v", len(got), len(runs[len(runs)-1]), err)
	}
}

// torture serves one connection: it sends what follows the client's cursor, repeats and skips pieces, and lets other
// runs begin. It reports false when the connection is to be cut.
func (p *peer) torture(rnd *rand.Rand, runs []string, counts *int) bool {
	var at stream.Cursor
	follows := false
	for range 20 + rnd.IntN(200) {
		synctest.Wait()
		select {
		case b := <-p.frames:
			var f frame.ClientFrame
			var jobs []frame.JobRef
			_ = json.Unmarshal(b, &f)
			if f.Type == frame.Unsubscribe {
				follows = false
				continue
			}
			_ = json.Unmarshal(f.Jobs, &jobs)
			refs, err := frame.ParseStreams(jobs[0].Streams)
			if err != nil {
				p.t.Fatalf("%s: %v", b, err)
			}
			follows = len(refs) > 0
			if follows {
				at = stream.Cursor{Dispatch: refs[0].Run, At: refs[0].At}
			}
			p.send(`{"type":"subscribed","id":%q,"jobs":[{"jobId":"j1","version":1}]}`, f.ID)
			continue
		default:
		}
		if *counts < len(runs) && rnd.IntN(30) == 0 {
			*counts++
		}
		if !follows {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		more := ""
		if at.Dispatch != *counts {
			if at.Dispatch > 0 {
				more = `,"reset":true`
			}
			at = stream.Cursor{Dispatch: *counts}
		}
		run := runs[at.Dispatch-1]
		from := int(at.At)
		switch rnd.IntN(12) {
		case 0: // what it has already
			from = max(0, from-3*rnd.IntN(20))
		case 1: // a piece is lost
			from = min(len(run), from+3*rnd.IntN(20))
		}
		end := min(len(run), from+3*rnd.IntN(600))
		if at.Dispatch == len(runs) && end == len(run) {
			more += `,"end":true`
		}
		p.chunk(at.Dispatch, from, run[from:end], more)
		at.At = int64(end)
		if strings.Contains(more, "end") {
			synctest.Wait()
			time.Sleep(time.Second)
			if b := p.lastUnsubscribed(); b {
				return true
			}
		}
	}
	return false
}

// lastUnsubscribed reports whether the client has left the stream by now.
func (p *peer) lastUnsubscribed() bool {
	synctest.Wait()
	select {
	case b := <-p.frames:
		if strings.Contains(string(b), `"unsubscribe"`) {
			return true
		}
		p.frames <- b
	default:
	}
	return false
}
