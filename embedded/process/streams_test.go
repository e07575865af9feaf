package process

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/kafkatest"
	"github.com/ackwire/ackwire/schemas/job"
)

// heard is what a reader of a stream has.
type heard struct {
	mu     sync.Mutex // guards all below
	text   strings.Builder
	resets int
	err    error
}

func (h *heard) listen(ctx context.Context, j *ackwire.Job) {
	for c, err := range j.Stream(ctx, "tokens") {
		h.mu.Lock()
		if c.Reset {
			h.text.Reset()
			h.resets++
		}
		if err == nil && c.From != int64(h.text.Len()) {
			err = fmt.Errorf("a chunk begins at %d, not at %d", c.From, h.text.Len())
		}
		h.text.WriteString(c.Text)
		h.err = err
		h.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (h *heard) now() (text string, resets int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String(), h.resets, h.err
}

// TestStreamsSurviveKills: on a real Kafka, worker, gateway and tracker are killed (SIGKILL) one after the other while
// a job writes. Who follows it over a socket, and who follows it over HTTP, have in the end what the run that counts
// has written, and so has who comes when it has ended. Beside it, loadtest's checker judges a load of jobs that write.
func TestStreamsSurviveKills(t *testing.T) {
	kafkatest.Require(t)
	url, all := services(t, strings.Join(kafkatest.Start(t, 1).Brokers(), ","))
	ctx, c := dial(t, url)
	const words = 400
	payload := fmt.Appendf(nil, `{"words":%d,"rate":20}`, words)
	j, err := c.Submit(ctx, "demo.write", json.RawMessage(payload), ackwire.WithStreams("tokens"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := ackwire.NewHTTP(url)
	if err != nil {
		t.Fatal(err)
	}
	_, verdict := judge(t, url, 2)
	var readers sync.WaitGroup
	var socket, overHTTP, late heard
	readers.Go(func() { socket.listen(ctx, j) })
	readers.Go(func() { overHTTP.listen(ctx, api.Job(j.ID)) })
	goesOn := func() {
		t.Helper()
		before, resets, _ := socket.now()
		within(t, startWithin, "the stream goes on", func() bool {
			text, again, err := socket.now()
			whole := len(strings.Fields(text)) == words
			return err != nil || whole || len(text) > len(before)+20 || again > resets && len(text) > 20
		})
	}
	goesOn()
	for _, name := range []string{"processor", "gateway", "tracker"} {
		all[name].kill()
		all[name].start()
		all[name].waitReady()
		goesOn()
	}
	last, err := j.Wait(ctx)
	if err != nil || last.State != job.Completed {
		t.Fatalf("%s %+v, %v", last.State, last.Error, err)
	}
	readers.Wait()
	late.listen(ctx, c.Job(j.ID))
	want, resets, _ := socket.now()
	if n := len(strings.Fields(want)); n != words || int64(len(want)) != last.Streams["tokens"].Total || resets != 1 {
		t.Errorf("%d words, %d bytes of %+v after %d resets", n, len(want), last.Streams, resets)
	}
	for name, h := range map[string]*heard{"over a socket": &socket, "over HTTP": &overHTTP, "later": &late} {
		if text, _, err := h.now(); err != nil || text != want {
			t.Errorf("%s: %v, %d bytes of %d: %.60q", name, err, len(text), len(want), text)
		}
	}
	verdict()
}
