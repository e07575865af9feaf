package wake_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/wake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSignalsAreOneUntilReceived(t *testing.T) {
	s := wake.New()
	s.Send()
	s.Send() // does not block
	<-s
	select {
	case <-s:
		t.Fatal("two signals before one was received woke twice")
	default:
	}
	s.Send()
	<-s
}
