package session

import (
	"time"

	"github.com/ackwire/ackwire/schemas/code"
)

// A client that goes on to send submits while they are refused as overloaded is read more slowly, so that its frames
// wait in its own kernel: reading and refusing a frame of 250 KB costs as much as other clients need for their
// submits. The pause doubles with each refusal in a row and ends with the first submit that is accepted.
const (
	pressurePause    = 10 * time.Millisecond
	pressurePauseMax = time.Second
)

// notePressure counts submits, cancels and retries in a row that were refused as overloaded.
func (s *Session) notePressure(err error) {
	switch {
	case err == nil:
		s.overloaded.Store(0)
	case codeOf(err) == code.Overloaded:
		s.overloaded.Add(1)
	}
}

// readOn reads the next message on a new goroutine, at once or after a pause.
func (s *Session) readOn() {
	if n := s.overloaded.Load(); n > 0 {
		time.AfterFunc(min(pressurePause<<min(n, 10), pressurePauseMax), s.read)
		return
	}
	go s.read()
}
