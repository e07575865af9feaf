package session

import (
	"time"

	"github.com/ackwire/ackwire/schemas/code"
)

// A client that sends on while its submits are refused as overloaded is read more slowly, so that
// what it sends waits in its own kernel: reading and refusing a frame of 250 KB costs the machine
// as much as others need for their submits. The pause doubles with each refusal in a row and ends
// with the first submit that is taken.
const (
	pressurePause    = 10 * time.Millisecond
	pressurePauseMax = time.Second
)

// notePressure notes how an order or a submit ended.
func (s *Session) notePressure(err error) {
	switch {
	case err == nil:
		s.overloaded.Store(0)
	case codeOf(err) == code.Overloaded:
		s.overloaded.Add(1)
	}
}

// readOn reads the next message, on a goroutine of its own: at once, or after a pause.
func (s *Session) readOn() {
	if n := s.overloaded.Load(); n > 0 {
		time.AfterFunc(min(pressurePause<<min(n, 10), pressurePauseMax), s.read)
		return
	}
	go s.read()
}
