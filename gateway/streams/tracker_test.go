package streams

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// played is a tracker with one stream, as a test plays it.
type played struct {
	t    *testing.T
	room *Room
	kind job.StreamKind

	mu      sync.Mutex // guards the fields below
	rng     *rand.Rand // nil: it sends at once, and all
	run     int
	text    []byte
	items   []json.RawMessage
	ended   bool
	gone    int64 // positions below are not kept
	reads   int
	read    func(*trackerpb.ReadStreamRequest) error // may refuse a question; nil for none
	follows map[uint32]*trackerpb.StreamFollow
	stop    context.CancelFunc
	ended2  sync.WaitGroup
}

// play returns a room with a tracker. The test must be in a bubble.
func play(t *testing.T, kind job.StreamKind, rng *rand.Rand) *played {
	t.Helper()
	p := &played{t: t, kind: kind, rng: rng, follows: map[uint32]*trackerpb.StreamFollow{}}
	p.room = New(time.Second, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	p.room.Attach(p)
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.ended2.Go(func() {
		for pause.For(ctx, 5*time.Millisecond) {
			p.push()
		}
	})
	t.Cleanup(func() { cancel(); p.ended2.Wait() })
	return p
}

func (p *played) total() int64 { return int64(len(p.text) + len(p.items)) }

// part returns what follows a cursor; p.mu is held.
func (p *played) part(after *trackerpb.StreamCursor, limit int) *trackerpb.StreamPart {
	at, reset := after.GetAt(), false
	if d := int(after.GetDispatch()); d != 0 && d != p.run {
		at, reset = 0, true
	}
	if p.ended && at > p.total() { // as a tracker does
		at, reset = 0, true
	}
	for p.kind == job.StreamText && at < p.total() && !utf8.RuneStart(p.text[at]) {
		at--
	}
	part := &trackerpb.StreamPart{From: &trackerpb.StreamCursor{Dispatch: int32(p.run), At: at}, Total: p.total(),
		Reset_: reset}
	next := at
	switch {
	case at < p.gone:
		part.Gone = true
		return part
	case at >= p.total():
	case p.kind == job.StreamText:
		b := p.text[at:]
		b = b[:wholeText(b, limit)]
		for len(b) > 0 {
			n := len(b)
			if p.rng != nil {
				n = wholeText(b, 1+p.rng.IntN(n))
			}
			part.Pieces = append(part.Pieces, append([]byte(nil), b[:n]...))
			b, next = b[n:], next+int64(n)
		}
	default:
		items := p.items[at:]
		items = items[:wholeItems(items, limit)]
		piece, err := plainjson.Marshal(items)
		if err != nil {
			p.t.Error(err)
		}
		part.Pieces, next = [][]byte{piece}, at+int64(len(items))
	}
	if p.total() > 0 {
		part.Kind = string(p.kind)
	}
	part.NextAt, part.UpToDate = next, next >= p.total()
	part.Ended = p.ended && part.UpToDate
	return part
}

// push sends each follow what it has not, in one part.
func (p *played) push() {
	var parts []*trackerpb.FollowedPart
	p.mu.Lock()
	for h, f := range p.follows {
		limit := 128 << 10
		if p.rng != nil {
			limit = 1 + p.rng.IntN(limit)
		}
		part := p.part(f.After, limit)
		if len(part.Pieces) == 0 && !part.Reset_ && !part.Ended && !part.Gone {
			continue
		}
		f.After = &trackerpb.StreamCursor{Dispatch: part.From.Dispatch, At: part.NextAt}
		parts = append(parts, &trackerpb.FollowedPart{Handle: h, Part: part, Outcome: trackerpb.FollowedPart_FOLLOWING})
		if part.Ended || part.Gone {
			delete(p.follows, h)
		}
	}
	p.mu.Unlock()
	for _, part := range parts {
		p.room.Part(part)
	}
}

// lose loses all follows, as when the tracker dies.
func (p *played) lose() {
	p.mu.Lock()
	var lost []uint32
	for h := range p.follows {
		lost = append(lost, h)
	}
	clear(p.follows)
	p.mu.Unlock()
	p.room.Lost(lost)
}

// Follow implements Upstream.
func (p *played) Follow(f *trackerpb.StreamFollow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.follows[f.Handle] = f
}

// Unfollow implements Upstream.
func (p *played) Unfollow(handle uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.follows, handle)
}

// ReadStream implements Upstream.
func (p *played) ReadStream(_ context.Context, r *trackerpb.ReadStreamRequest) (*trackerpb.ReadStreamResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	if p.read != nil {
		if err := p.read(r); err != nil {
			return nil, err
		}
	}
	return &trackerpb.ReadStreamResponse{Part: p.part(r.After, int(r.MaxBytes))}, nil
}

// begin begins a run.
func (p *played) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run++
	p.text, p.items, p.ended = nil, nil, false
}

// write appends about n bytes of random content, of characters of all lengths.
func (p *played) write(rng *rand.Rand, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kind == job.StreamJSON {
		for n > 0 {
			item := `"` + strings.Repeat("x", rng.IntN(min(n, 30<<10)+1)) + `"`
			p.items = append(p.items, json.RawMessage(item))
			n -= len(item)
		}
		return
	}
	if n > 64<<10 {
		block := len(p.text)
		p.mu.Unlock()
		p.write(rng, 10_007)
		p.mu.Lock()
		b := append([]byte(nil), p.text[block:]...)
		for len(p.text) < block+n {
			p.text = append(p.text, b...)
		}
		return
	}
	chars := []string{"a", "\n", "ä", "€", "😀", "\x00"}
	for n > 0 {
		c := chars[rng.IntN(len(chars))]
		p.text = append(p.text, c...)
		n -= len(c)
	}
}

func (p *played) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// content is all that the run has written: the text, or the values one after the other.
func (p *played) content() (run int, all string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	b.Write(p.text)
	for _, item := range p.items {
		b.Write(item)
		b.WriteByte(0)
	}
	return p.run, b.String()
}

var anyone = auth.TenantScope("acme")

func refusing(c connect.Code) func(*trackerpb.ReadStreamRequest) error {
	return func(*trackerpb.ReadStreamRequest) error { return connect.NewError(c, nil) }
}

// clip lets the text have no more memory than it needs, and returns how much that is.
func (p *played) clip() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = append(make([]byte, 0, len(p.text)), p.text...)
	return cap(p.text)
}
