package gateway

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// talk is what one client says: messages, and how each is cut and compressed.
type talk struct {
	rng      *rand.Rand
	r        *rawClient
	compress bool
}

// say sends a message in one to five fragments, with control frames in between.
func (t *talk) say(op byte, text string) {
	first := op
	if t.compress && t.rng.IntN(4) > 0 {
		first |= rsv1
		text = deflate(text)
	}
	for range t.rng.IntN(5) {
		n := t.rng.IntN(len(text) + 1)
		t.r.frame(first, text[:n])
		text, first = text[n:], opCont
		if t.rng.IntN(3) == 0 {
			t.r.frame(fin|opPong, "")
		}
	}
	t.r.frame(fin|first, text)
	time.Sleep(time.Second) // until it is answered: a submit when it is durable
}

// message is any message that a client may send, with an ID of its own.
func message(rng *rand.Rand, n int) string {
	id := fmt.Sprintf(`"id":"m%d"`, n)
	jobs := []string{jobA, jobB, "01a208fd-0000-7467-acd5-bb987da29999"}
	one := jobs[rng.IntN(len(jobs))]
	switch rng.IntN(12) {
	case 0:
		return `{"type":"ping",` + id + `}`
	case 1:
		return `{"type":"subscribe",` + id + `,"jobs":[{"jobId":"` + one + `","after":` + fmt.Sprint(rng.IntN(9)) + `}]}`
	case 2:
		return `{"type":"unsubscribe",` + id + `,"jobs":[` + strings.Repeat(`"`+one+`",`, rng.IntN(200)) + `"` + one + `"]}`
	case 3:
		return `{"type":"submit",` + id + `,"job":"demo.echo","payload":{"text":"` + strings.Repeat("Grüße ",
			rng.IntN(10_000)) + `"},"watch":false}`
	case 4:
		return `{"type":"submit",` + id + `,"job":"demo.sleep","payload":{"seconds":"long"}}`
	case 5:
		return `{"type":"retry",` + id + `,"jobId":"` + jobA + `"}`
	case 6:
		return `{"type":"cancel",` + id + `,"jobId":"` + jobB + `"}`
	case 7:
		return `{"type":"made up",` + id + `}`
	case 8:
		return `{"type":"ping",` + id + `,"id":"again"}`
	case 9:
		return strings.Repeat("[", rng.IntN(500))
	case 10:
		return `{"type":"subscribe",` + id + `,"jobs":[]}`
	default:
		return strings.Repeat(" ", rng.IntN(frame.MaxFrameBytes)) // and now and then nothing
	}
}

var (
	someID      = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	someVersion = regexp.MustCompile(`"version":\d+`)
)

// answers are all that comes until nothing more does, without what is each client's own.
func (t *talk) answers() []string {
	var all []string
	for {
		select {
		case got := <-t.r.texts:
			text := someID.ReplaceAllStringFunc(got.string, func(id string) string {
				if id == jobA || id == jobB {
					return id
				}
				return "ID"
			})
			all = append(all, someVersion.ReplaceAllString(text, `"version":N`))
		case <-time.After(10 * time.Second):
			return all
		}
	}
}

// TestTheSameAnswersWithCompression: whatever a client says, and however it is cut, compressed or
// not, it gets the same answers, and the same code when it is let go.
func TestTheSameAnswersWithCompression(t *testing.T) {
	inWorld(t, func(c *Config) { compressing(c); c.Compression.Threshold = 128 }, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 5, job.Processing)
		w.tracker.set("local", jobB, 6, job.Completed)
		answered := 0
		for seed := range uint64(8) {
			var said [2][]string
			var codes [2]int
			for i := range said {
				rng := rand.New(rand.NewPCG(seed, 0))
				c := &talk{rng: rand.New(rand.NewPCG(seed, uint64(i+1))), compress: i == 1}
				if c.compress {
					c.r = w.rawOffering(fmt.Sprint("seed ", seed), browsers)
				} else {
					c.r = w.raw(fmt.Sprint("seed ", seed))
				}
				for n := range 30 {
					c.say(opText, message(rng, n))
				}
				switch last := rng.IntN(4); last {
				case 0:
					c.say(opText, "\xc0\xaf")
				case 1:
					c.say(opBinary, pingText)
				case 2:
					c.say(opText, strings.Repeat(" ", frame.MaxFrameBytes+1+rng.IntN(1000)))
				default:
					c.say(opText, pingText)
				}
				said[i] = c.answers()
				if c.r.closed() {
					codes[i] = c.r.code
				}
				c.r.close()
			}
			if codes[0] != codes[1] {
				t.Errorf("seed %d: closed with %d, with compression %d", seed, codes[0], codes[1])
			}
			if !slices.Equal(said[0], said[1]) {
				t.Errorf("seed %d: %d answers, with compression %d:\n%.2000s\n%.2000s", seed, len(said[0]), len(said[1]),
					strings.Join(said[0], "\n"), strings.Join(said[1], "\n"))
			}
			answered += len(said[0])
		}
		if compressed := w.gauge("ackwire_gateway_frames_compressed_total"); compressed < 15 || answered < 8*20 {
			t.Errorf("%v frames were compressed of %d answers", compressed, answered)
		}
	})
}
