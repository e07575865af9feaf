package bench

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sseQueue is how many events may wait for one event stream.
const sseQueue = 64

// sseStuck is how long an event stream may take none.
const sseStuck = 10 * time.Second

// bareEvents is a bare SSE server: it has a text in memory, of which it sends the next piece to an event stream
// whenever it is told to.
type bareEvents struct {
	mu      sync.Mutex // guards streams
	streams []chan int // the sizes of the pieces to send
}

var sseText = strings.Repeat("0123456789abcdef", 1<<12)

// serve is the handler of one event stream.
func (e *bareEvents) serve(w http.ResponseWriter, r *http.Request) {
	pieces := make(chan int, sseQueue)
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	if flush.Flush() != nil {
		return
	}
	e.mu.Lock()
	e.streams = append(e.streams, pieces)
	e.mu.Unlock()
	at := 0
	for {
		select {
		case n := <-pieces:
			if at+n > len(sseText) {
				at = 0
			}
			_, err := fmt.Fprintf(w, "data: %s\n\n", sseText[at:at+n])
			if err != nil || flush.Flush() != nil {
				return
			}
			at += n
		case <-r.Context().Done():
			return
		}
	}
}

// sseBytes is what a piece of n bytes takes on the wire, with the framing of chunks (RFC 9112 §7.1).
func sseBytes(n int) int64 {
	event := int64(len("data: \n\n") + n)
	return event + int64(len(strconv.FormatInt(event, 16))+4)
}

// write sends pieces of t.Bytes to the first t.Of streams, t.Each at a time, and returns how many it sent.
func (e *bareEvents) write(t BareTask) (n int64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.Rate <= 0 || t.Each < 1 || t.Of < t.Each || t.Of > len(e.streams) || t.Bytes < 1 || t.Bytes > len(sseText) {
		return 0, fmt.Errorf("%+v for %d event streams", t, len(e.streams))
	}
	began := time.Now()
	for i := range max(int(t.Rate*t.Seconds), 1) {
		time.Sleep(time.Until(began.Add(time.Duration(float64(i) / t.Rate * float64(time.Second)))))
		for range t.Each {
			select {
			case e.streams[n%int64(t.Of)] <- t.Bytes:
				n++
			case <-time.After(sseStuck):
				return n, errors.New("an event stream is not read")
			}
		}
	}
	return n, nil
}
