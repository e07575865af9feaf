package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// script is a random history of one job, and what each of its runs has written.
type script struct {
	id       string
	dispatch int
	claimed  bool // the run's claim is folded
	over     bool
	loses    bool             // some of its records never come
	told     bool             // its last event had totals
	wrote    map[int][]string // by dispatch: bytes of text, or values
	kind     job.StreamKind
	last     stream.Chunk // that was written
}

// reader follows one job with a cursor, and has what it was sent.
type reader struct {
	of       *script
	dispatch int32
	at       int64
	have     []string
	done     bool
	gone     bool
}

// history is a random schedule: records doubled and lost, claims that are folded late, runs that are lost, keepers
// that start again with their disk, after a crash or without it, tails that are dropped, and retention.
type history struct {
	*world
	rnd     *rand.Rand
	jobs    []*script
	readers []*reader
	trimmed bool
	bare    bool // a keeper has begun without a store
	gone    int
	resets  int
}

func (h *history) run(s *script) string { return fmt.Sprintf("%s-%d", s.id, s.dispatch) }

// write writes a piece to the job's stream, as the run that has its dispatch.
func (h *history) write(s *script) {
	n := 1 + h.rnd.IntN(6)
	if h.rnd.IntN(50) == 0 {
		n = 2000
	}
	c := stream.Chunk{JobID: s.id, Stream: "s", Kind: s.kind, Dispatch: s.dispatch, Run: h.run(s),
		From: int64(len(s.wrote[s.dispatch]))}
	var units []string
	for range n {
		if s.kind == job.StreamJSON {
			units = append(units, fmt.Sprint(h.rnd.IntN(1000)))
			continue
		}
		for _, b := range []byte([]string{"a", "ä", "€", "😀"}[h.rnd.IntN(4)]) {
			units = append(units, string([]byte{b}))
		}
	}
	if s.kind == job.StreamJSON {
		c.Value = []byte("[" + strings.Join(units, ",") + "]")
	} else {
		c.Value = []byte(strings.Join(units, ""))
	}
	s.wrote[s.dispatch] = append(s.wrote[s.dispatch], units...)
	if s.loses && h.rnd.IntN(10) == 0 {
		return
	}
	h.put(c)
	s.last = c
}

// step does one thing to a job, or to the world.
func (h *history) step() {
	s := h.jobs[h.rnd.IntN(len(h.jobs))]
	switch x := h.rnd.IntN(100); {
	case x < 50 && !s.over:
		h.write(s)
	case x < 55 && s.last.Value != nil:
		h.put(s.last) // doubled, or of a run that was lost meanwhile
	case x < 70 && !s.claimed && !s.over:
		h.claim(s.id, h.run(s), s.dispatch)
		s.claimed = true
	case x < 74 && s.claimed && !s.over:
		s.dispatch++ // the run is lost, and the next begins to write before its claim is folded here
		s.claimed = false
	case x < 78 && s.claimed && !s.over:
		h.finishOne(s)
	case x < 80 && s.over:
		h.fold(s.id, func(f *Facts) { f.Ended, f.Totals = false, nil }) // it is retried
		s.dispatch++
		s.over, s.claimed = false, false
	case x < 82:
		h.restart()
	case x < 83 && h.rnd.IntN(4) == 0:
		h.mu.Lock()
		end := int64(len(h.topic))
		h.mu.Unlock()
		h.trim(h.rnd.Int64N(end + 1))
		h.trimmed = true
	case x < 88:
		time.Sleep(time.Duration(h.rnd.IntN(2000)) * time.Millisecond)
	default:
		h.read(h.readers[h.rnd.IntN(len(h.readers))])
	}
}

func (h *history) finishOne(s *script) {
	s.told = h.rnd.IntN(2) == 0
	var totals job.Streams
	if s.told {
		totals = job.Streams{"s": {Kind: s.kind, Total: int64(len(s.wrote[s.dispatch]))}}
	}
	h.finish(s.id, totals)
	s.over = true
	// Nothing more is written before the end is known: a run that has ended writes no more.
	synctest.Wait()
	time.Sleep(500 * time.Millisecond)
}

func (h *history) restart() {
	switch h.rnd.IntN(5) {
	case 0:
		h.crash(h.rnd.IntN(101), h.rnd)
	case 1:
		h.end()
		h.fs = vfs.NewCrashableMem()
		h.bare = true
		h.start()
	default:
		h.end()
		h.start()
	}
}

// read sends a reader what follows its cursor, and checks that it is that.
func (h *history) read(r *reader) {
	if r.done {
		return
	}
	q := h.query(r.of.id, r.dispatch, r.at)
	q.Max = 1 + h.rnd.IntN(3000)
	part, err := h.keeper.Read(context.Background(), q, false)
	if errors.Is(err, ErrNotReady) || errors.Is(err, ErrNotFound) {
		return
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.take(r, part)
}

func (h *history) take(r *reader, part *trackerpb.StreamPart) {
	if part.Reset_ {
		h.resets++
		r.have = nil
		if part.From.At != 0 || part.From.Dispatch < r.dispatch {
			h.t.Fatalf("%s: reset from %d@%d to %v", r.of.id, r.dispatch, r.at, part.From)
		}
	} else if part.From.At != r.at || r.dispatch != 0 && part.From.Dispatch != r.dispatch {
		h.t.Fatalf("%s: a part from %v follows the cursor %d@%d", r.of.id, part.From, r.dispatch, r.at)
	}
	r.dispatch = part.From.Dispatch
	for _, piece := range part.Pieces {
		if _, err := stream.Length(r.of.kind, piece); err != nil {
			h.t.Fatal(err)
		}
		if r.of.kind == job.StreamText {
			for _, b := range piece {
				r.have = append(r.have, string([]byte{b}))
			}
			continue
		}
		items, err := stream.Items(piece)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, item := range items {
			r.have = append(r.have, string(bytes.TrimSpace(item)))
		}
	}
	r.at = part.NextAt
	wrote := r.of.wrote[int(r.dispatch)]
	if int64(len(r.have)) != r.at || len(r.have) > len(wrote) ||
		strings.Join(r.have, "|") != strings.Join(wrote[:len(r.have)], "|") {
		h.t.Fatalf("%s: at %d@%d the reader has %d of %d, and not what the run has written", r.of.id, r.dispatch, r.at,
			len(r.have), len(wrote))
	}
	if part.Gone {
		h.gone++
		if !h.trimmed && !r.of.loses {
			h.t.Fatalf("%s: %d@%d is gone, and nothing was removed", r.of.id, r.dispatch, r.at)
		}
		r.gone, r.done = true, true
	}
}

// finishAll ends all jobs, and checks that each reader gets all that the run that counts has written.
func (h *history) finishAll() {
	for _, s := range h.jobs {
		if s.over {
			continue
		}
		h.claim(s.id, h.run(s), s.dispatch)
		h.write(s)
		h.finishOne(s)
	}
	time.Sleep(time.Minute)
	for _, r := range h.readers {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		for !r.done {
			part, err := h.keeper.Read(ctx, h.query(r.of.id, r.dispatch, r.at), true)
			if err != nil || ctx.Err() != nil {
				h.t.Fatalf("%s: %d@%d has not ended: %v %v %+v", r.of.id, r.dispatch, r.at, part, err, r.of)
			}
			h.take(r, part)
			r.done = r.done || part.Ended
		}
		cancel()
		// Without totals nobody knows of what was removed before it was read by a keeper without a store.
		unknown := h.trimmed && h.bare && !r.of.told
		if want := r.of.wrote[r.of.dispatch]; !r.gone && !unknown &&
			(int(r.dispatch) != r.of.dispatch || len(r.have) != len(want)) && !(r.of.loses && !r.of.told) {
			h.t.Fatalf("%s: the reader has %d of run %d at the end, and %d were written by run %d", r.of.id, len(r.have),
				r.dispatch, len(want), r.of.dispatch)
		}
	}
}

// Every reader gets, at every cursor, an exact and gapless continuation, or is told that another run counts or that
// the rest is gone; and in the end all that the run that counts has written.
func TestReadersGetWhatTheRunThatCountsHasWritten(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 5
	}
	gone, resets, kept := 0, 0, 0
	for seed := range rounds {
		bubble.Test(t, func(t *testing.T) {
			h := &history{world: newWorld(t, uint64(seed)), rnd: rand.New(rand.NewPCG(uint64(seed), 7))}
			if seed%2 == 0 {
				h.tails = int64(h.rnd.IntN(20_000))
			}
			for i := range 3 + h.rnd.IntN(4) {
				s := &script{id: fmt.Sprintf("job-%d", i), dispatch: 1, wrote: map[int][]string{},
					kind: []job.StreamKind{job.StreamText, job.StreamJSON}[i%2], loses: h.rnd.IntN(8) == 0}
				h.jobs = append(h.jobs, s)
				for range 3 {
					h.readers = append(h.readers, &reader{of: s})
				}
			}
			h.start()
			for range 400 {
				h.step()
				if t.Failed() {
					break
				}
			}
			h.finishAll()
			h.end()
			gone, resets = gone+h.gone, resets+h.resets
			for _, r := range h.readers {
				if !r.gone {
					kept++
				}
			}
		})
	}
	t.Logf("%d resets, %d gone, %d to the end", resets, gone, kept)
	if resets == 0 || kept == 0 || !testing.Short() && gone == 0 {
		t.Error("the histories show little")
	}
}
