// Package wake has a signal by which one goroutine wakes another.
package wake

// Signal wakes the goroutine that receives from it. Several signals that are sent before a receive count as one:
// the receiver then looks at the shared state, so it need not know how often that has changed. Each signal wakes
// one receiver.
type Signal chan struct{}

// New returns a signal that has not been sent.
func New() Signal { return make(Signal, 1) }

// Send sends the signal, unless an earlier one has not been received yet. It never blocks.
func (s Signal) Send() {
	select {
	case s <- struct{}{}:
	default:
	}
}
