//go:build unix

package external

import (
	"os"
	"sync/atomic"
	"time"
)

// maxLeft bounds what is read of a command's output after its end, in bytes: no less than a pipe holds.
const maxLeft = 1 << 20

// output reads a command's output. It does so itself, and not through exec.Cmd, because a line may wait, at the rate of
// a stream, for longer than exec.Cmd would wait for the reader.
type output struct {
	command *os.File // the end that the command writes to
	r       *os.File
	to      *lines
	ended   atomic.Bool   // the command has ended
	done    chan struct{} // closed when all is read
}

func newOutput(to *lines) (*output, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &output{command: w, r: r, to: to, done: make(chan struct{})}, nil
}

// begin reads, once the command has been started.
func (o *output) begin() {
	_ = o.command.Close() // the command has its own
	go o.read()
}

func (o *output) read() {
	defer close(o.done)
	b := make([]byte, 32<<10)
	for left := maxLeft; left > 0; {
		if o.ended.Load() {
			// A process that has left the command's group may hold the pipe open.
			_ = o.r.SetReadDeadline(time.Now().Add(grace))
		}
		n, err := o.r.Read(b)
		_, _ = o.to.Write(b[:n])
		if o.ended.Load() {
			left -= n
		}
		if err != nil {
			break
		}
	}
	o.to.flush()
}

// finish waits until all is read that the command has written before its end.
func (o *output) finish() {
	o.ended.Store(true)
	_ = o.r.SetReadDeadline(time.Now().Add(grace))
	<-o.done
}

// close frees the pipe.
func (o *output) close() {
	_ = o.command.Close()
	_ = o.r.Close()
}
