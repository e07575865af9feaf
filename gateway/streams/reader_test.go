package streams

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// line is a client's connection: an outbox that is written as the test wants.
type line struct {
	out    outbox.Outbox
	reader *Reader
	wake   chan struct{}
	have   strings.Builder
	parts  []Part
}

func newLine(p *played, over func(string, string)) *line {
	l := &line{wake: make(chan struct{}, 1)}
	l.open(p, over)
	return l
}

// open makes the line's reader.
func (l *line) open(p *played, over func(string, string)) {
	l.reader = NewReader(p.room, &l.out, l.woken, made, over)
}

func (l *line) woken() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func made(_, _ string, part Part) *outbox.Frame { return &outbox.Frame{Bytes: part.Text, Chunk: part} }

// flush takes what fits one write. It reports false if there is nothing.
func (l *line) flush() bool {
	frames, _, _ := l.out.Take(nil, nil, 16<<10)
	for _, f := range frames {
		part, _ := f.Chunk.(Part)
		part.Text = nil
		l.parts = append(l.parts, part)
		l.have.Write(f.Bytes)
	}
	return len(frames) > 0
}

// begin flushes until the first part is there.
func (l *line) begin() {
	for l.have.Len() == 0 {
		if !l.flush() {
			<-l.wake
		}
	}
}

// run flushes until the stream is over.
func (l *line) run() {
	for {
		for l.flush() {
			if last := l.parts[len(l.parts)-1]; last.Over() {
				return
			}
		}
		<-l.wake
	}
}

func refs(names ...string) (all []frame.StreamRef) {
	for _, name := range names {
		all = append(all, frame.StreamRef{Stream: name})
	}
	return all
}

// TestASlowClientCostsItsCursor: clients that have read the beginning of 8 MiB and then stall for a minute cost less
// than 1 KiB each, and get every byte when they read on.
func TestASlowClientCostsItsCursor(t *testing.T) {
	const lines, size = 300, 8 << 20
	bubble.Test(t, func(t *testing.T) {
		p := play(t, job.StreamText, nil)
		p.begin()
		rng := rand.New(rand.NewPCG(1, 1))
		p.write(rng, size/2)
		heap := func() uint64 {
			synctest.Wait()
			for range 3 {
				runtime.GC()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		fast := newLine(p, nil) // so that there is a buffer, which is not theirs
		fast.reader.Follow(anyone, "j", refs("s"))
		fast.begin()
		all := make([]*line, lines)
		for i := range all { // a connection has its outbox anyhow
			all[i] = &line{wake: make(chan struct{}, 1)}
		}
		_, half := p.content()
		had := p.clip()
		before := heap()
		for i := range all {
			all[i].open(p, nil)
			all[i].reader.Follow(anyone, "j", refs("s"))
			all[i].begin()
			if !strings.HasPrefix(half, all[i].have.String()) {
				t.Errorf("client %d has %d bytes of another text", i, all[i].have.Len())
			}
			all[i].have, all[i].parts = strings.Builder{}, nil // it is in the client's kernel
		}
		p.write(rng, size/2)
		time.Sleep(time.Minute)
		grown := p.clip() - had // what the test's tracker has is no part of it
		each := (int64(heap()) - int64(before) - int64(grown)) / lines
		runtime.KeepAlive(half) // it was there before, too
		t.Logf("%d bytes each", each)
		if each > 1<<10 {
			t.Errorf("a client that stalls costs %d bytes", each)
		}
		p.end()
		_, content := p.content()
		for _, l := range []*line{all[0], all[lines/2], all[lines-1]} {
			at := l.reader.follows[0].place.At()
			l.run()
			if got := l.have.String(); got != content[at.At:] {
				t.Errorf("a client that reads on from %d gets %d bytes, want %d", at.At, len(got), len(content)-int(at.At))
			}
		}
		for _, l := range append(all, fast) {
			l.reader.Close()
		}
	})
}

// TestOneFollowForAll: a stream that many follow is followed once, and the end of what there is comes from the buffer.
func TestOneFollowForAll(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := play(t, job.StreamText, nil)
		p.begin()
		var all []*line
		var running sync.WaitGroup
		for range 50 {
			l := newLine(p, nil)
			l.reader.Follow(anyone, "j", refs("s"))
			all = append(all, l)
			running.Go(l.run)
		}
		time.Sleep(time.Second)
		p.mu.Lock()
		reads := p.reads
		p.mu.Unlock()
		for range 20 {
			p.write(rand.New(rand.NewPCG(1, 1)), 1000)
			time.Sleep(10 * time.Millisecond)
		}
		if follows, places := p.room.sizes(); follows != 1 || places != 50 {
			t.Errorf("%d follows of %d places", follows, places)
		}
		p.end()
		running.Wait()
		_, content := p.content()
		for _, l := range all {
			if l.have.String() != content {
				t.Errorf("%d bytes, want %d", l.have.Len(), len(content))
			}
			l.reader.Close()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.reads != reads {
			t.Errorf("%d questions while all followed", p.reads-reads)
		}
	})
}

// TestBoundsOfAConnection: a connection follows so many streams, of each job so many, and none twice.
func TestBoundsOfAConnection(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := play(t, job.StreamText, nil)
		l := newLine(p, nil)
		defer l.reader.Close()
		if full := l.reader.Follow(anyone, "j", refs("a", "b", "c", "d", "e", "f", "g", "h", "i")); len(full) != 1 {
			t.Errorf("too many of one job: %q", full)
		}
		if full := l.reader.Follow(anyone, "j", refs("a", "h")); len(full) != 0 {
			t.Errorf("again: %q", full)
		}
		for i := 1; i < frame.MaxFollowedStreams/8; i++ {
			id := string(rune('k' + i))
			if full := l.reader.Follow(anyone, id, refs("a", "b", "c", "d", "e", "f", "g", "h")); len(full) != 0 {
				t.Fatalf("job %d: %q", i, full)
			}
		}
		if full := l.reader.Follow(anyone, "z0", refs("a")); len(full) != 1 {
			t.Error("above the bound of a connection")
		}
		l.reader.End("j")
		if full := l.reader.Follow(anyone, "z0", refs("a")); len(full) != 0 {
			t.Error("there is room again")
		}
	})
}

// TestWhyAStreamEnds: each reason is told once, and the place is free.
func TestWhyAStreamEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(*played)
		at   stream.Cursor
		want code.Code
	}{
		{"the end", func(p *played) { p.end() }, stream.Cursor{}, ""},
		{"the end of what nobody has written", func(p *played) { p.text = nil; p.end() }, stream.Cursor{}, ""},
		{"no such job", func(p *played) { p.read = refusing(connect.CodeNotFound) }, stream.Cursor{}, code.NotFound},
		{"a cursor that is none", func(p *played) { p.read = refusing(connect.CodeInvalidArgument) }, stream.Cursor{},
			code.InvalidOffset},
		{"within a character", func(p *played) { p.text = []byte("€uro") }, stream.Cursor{Dispatch: 1, At: 1},
			code.InvalidOffset},
		{"behind the end", func(p *played) { p.end() }, stream.Cursor{Dispatch: 1, At: 99}, code.InvalidOffset},
		{"records are gone", func(p *played) { p.gone = 3; p.text = []byte("abcdef") }, stream.Cursor{}, code.StreamGone},
		{"a token that permits less", func(*played) {}, stream.Cursor{}, code.Forbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				p := play(t, job.StreamText, nil)
				p.begin()
				c.play(p)
				overs := 0
				l := newLine(p, func(string, string) { overs++ })
				defer l.reader.Close()
				l.reader.Follow(anyone, "j", []frame.StreamRef{{Stream: "s", Run: c.at.Dispatch, At: c.at.At}})
				if c.want == code.Forbidden {
					<-l.wake
					l.flush()
					time.Sleep(time.Second)
					l.reader.Fail(c.want)
					<-l.wake
					if frames, _, _ := l.out.Take(nil, nil, 100); len(frames) != 1 {
						t.Errorf("%d frames", len(frames))
					}
				} else {
					l.run()
					got := l.parts[len(l.parts)-1]
					if got.Error != c.want || got.End != (c.want == "") || overs != 1 || got.Kind != "" && len(p.text) == 0 {
						t.Errorf("%+v, told %d times", got, overs)
					}
				}
				if _, places := p.room.sizes(); places != 0 {
					t.Errorf("%d places are left", places)
				}
			})
		})
	}
}

// TestNarrow: with a scope that has all that the former one had nothing changes; else the tracker is asked again.
func TestNarrow(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := play(t, job.StreamText, nil)
		p.begin()
		p.write(rand.New(rand.NewPCG(1, 1)), 5000)
		l := newLine(p, nil)
		defer l.reader.Close()
		l.reader.Follow(anyone, "j", refs("s"))
		var running sync.WaitGroup
		running.Go(l.run)
		time.Sleep(time.Second)
		had := l.reader.follows[0]
		if l.reader.Narrow(anyone); l.reader.follows[0] != had {
			t.Error("the same scope begins anew")
		}
		l.reader.Narrow(auth.SubjectScope("acme", "alice"))
		time.Sleep(time.Second)
		if follows, places := p.room.sizes(); l.reader.follows[0] == had || follows != 1 || places != 1 {
			t.Errorf("%d follows, %d places", follows, places)
		}
		p.write(rand.New(rand.NewPCG(2, 1)), 5000)
		p.end()
		running.Wait()
		if _, content := p.content(); l.have.String() != content {
			t.Errorf("%d bytes, want %d", l.have.Len(), len(content))
		}
	})
}
