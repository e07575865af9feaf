package processor

import (
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/kafka"
)

func TestTimeoutsOfAWorker(t *testing.T) {
	p, err := New(Config{Timeouts: Timeouts{Profile: "object-store", Session: 40 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	want := kafka.Timeouts{Profile: kafka.ProfileObjectStore, Session: 40 * time.Second}.Bounds()
	if p.bounds != want || p.kafka.Bounds() != want {
		t.Errorf("it goes by %+v, want %+v", p.bounds, want)
	}
	_, err = New(Config{Timeouts: Timeouts{Profile: "quick"}})
	if err == nil || !strings.Contains(err.Error(), `kafka-profile must be one of`) {
		t.Errorf("an unknown profile: %v", err)
	}
	_, err = New(Config{Timeouts: Timeouts{Produce: 10 * time.Second}})
	if err == nil || !strings.Contains(err.Error(), `kafka-delivery-timeout (5s) must be at least kafka-produce-timeout`) {
		t.Errorf("a produce that may take longer than a delivery: %v", err)
	}
}
