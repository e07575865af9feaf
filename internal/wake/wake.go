// Package wake has the signal with which one goroutine tells another that there is something
// to do.
package wake

// Signal wakes the goroutine that receives from it. Signals that are sent before it is received
// from are one signal: the receiver looks at the state that they are about, so it needs no more
// than to be told that there is news. Each signal wakes one receiver.
type Signal chan struct{}

// New returns a signal that is not sent yet.
func New() Signal { return make(Signal, 1) }

// Send sends the signal, unless one waits to be received already. It never blocks.
func (s Signal) Send() {
	select {
	case s <- struct{}{}:
	default:
	}
}
