package streams

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// reading is a reader that checks that each part is the exact continuation of what it has.
type reading struct {
	t     *testing.T
	place *Place
	wake  chan struct{}
	what  string

	at   stream.Cursor
	have strings.Builder // from where it has begun
	from int64           // where it has begun
}

func (p *played) reading(t *testing.T, at stream.Cursor, what string) *reading {
	r := &reading{t: t, wake: make(chan struct{}, 1), what: what, at: at, from: at.At}
	r.place = p.room.Open(anyone, "j", "s", at, func() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	})
	return r
}

// step reads one part. It reports whether that was the last one.
func (r *reading) step(limit int) (over bool, err error) {
	part, state := r.place.Take(limit)
	switch state {
	case Missing:
		if err := r.place.Fetch(r.t.Context(), limit); err != nil {
			r.place.Failed()
		}
		return false, nil
	case Wait:
		<-r.wake
		return false, nil
	}
	switch {
	case part.Error != "":
		return true, fmt.Errorf("%s: %s at %v", r.what, part.Error, r.at)
	case part.Reset:
		r.have.Reset()
		r.at, r.from = stream.Cursor{Dispatch: part.From.Dispatch}, 0
		if part.From.At != 0 {
			return true, fmt.Errorf("%s: a reset to %v", r.what, part.From)
		}
	case r.at.Dispatch == 0 || r.at.At == 0 && r.have.Len() == 0 && part.From.Dispatch == 0:
		r.at.Dispatch = part.From.Dispatch
	}
	if part.From != r.at {
		return true, fmt.Errorf("%s: a part from %v after %v", r.what, part.From, r.at)
	}
	if n := len(part.Text); n > max(limit, 4) {
		return true, fmt.Errorf("%s: %d bytes, want at most %d", r.what, n, limit)
	}
	r.have.Write(part.Text)
	for _, item := range part.Items {
		r.have.Write(item)
		r.have.WriteByte(0)
	}
	r.at = part.Next()
	return part.Over(), nil
}

// TestEachReaderGetsTheExactContinuation: readers of all speeds join at any moment and any place, while a stream is
// written, its runs are lost, its tracker is lost or does not answer, and its buffer holds only the end.
func TestEachReaderGetsTheExactContinuation(t *testing.T) {
	for seed := range uint64(12) {
		for _, kind := range []job.StreamKind{job.StreamText, job.StreamJSON} {
			t.Run(fmt.Sprintf("%s%d", kind, seed), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) { followAll(t, kind, seed) })
			})
		}
	}
}

func followAll(t *testing.T, kind job.StreamKind, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := play(t, kind, rand.New(rand.NewPCG(seed, 2)))
	p.read = func(*trackerpb.ReadStreamRequest) error {
		if p.rng.IntN(10) == 0 {
			return connect.NewError(connect.CodeUnavailable, errors.New("away"))
		}
		return nil
	}
	var readers sync.WaitGroup
	read := func(n int, at stream.Cursor) {
		r := p.reading(t, at, fmt.Sprintf("reader %d from %v", n, at))
		speed := rand.New(rand.NewPCG(seed, uint64(10+n)))
		pace := time.Duration(speed.IntN(50)) * time.Millisecond
		readers.Go(func() {
			defer r.place.Close()
			for {
				time.Sleep(time.Duration(speed.Int64N(int64(pace) + 1)))
				over, err := r.step(1 + speed.IntN(40<<10))
				if err != nil {
					t.Error(err)
					return
				}
				if !over {
					continue
				}
				run, all := p.content()
				if kind == job.StreamText {
					all = all[r.from:]
				}
				if r.at.Dispatch != run || kind == job.StreamText && r.have.String() != all ||
					kind == job.StreamJSON && !strings.HasSuffix(all, r.have.String()) {
					t.Errorf("%s has %d bytes of run %d from %d, want %d of run %d", r.what, r.have.Len(), r.at.Dispatch, r.from,
						len(all), run)
				}
				return
			}
		})
	}
	read(0, stream.Cursor{})
	for i := range 60 {
		time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
		switch rng.IntN(12) {
		case 0, 1:
			if i < 40 {
				p.begin()
			}
		case 2:
			p.lose()
		case 3, 4, 5:
			p.mu.Lock()
			at := stream.Cursor{}
			if p.run > 0 && rng.IntN(2) == 0 {
				at = stream.Cursor{Dispatch: 1 + rng.IntN(p.run)}
				if at.Dispatch == p.run && kind == job.StreamText {
					at.At = int64(wholeText(p.text, rng.IntN(len(p.text)+1)))
				}
			}
			p.mu.Unlock()
			read(i+1, at)
		default:
			p.mu.Lock()
			begun := p.run > 0
			p.mu.Unlock()
			if begun {
				p.write(rng, 1<<rng.IntN(17))
			}
		}
	}
	if run, _ := p.content(); run == 0 {
		p.begin()
	}
	p.end()
	readers.Wait()
	follows, places := p.room.sizes()
	if follows+places != 0 || p.room.used.Load() != 0 || len(p.room.buffers) != 0 {
		t.Errorf("%d follows, %d places, %d bytes and %d buffers are left", follows, places, p.room.used.Load(),
			len(p.room.buffers))
	}
}
