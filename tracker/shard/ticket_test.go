package shard

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestTicketsAreTakenOnce: who comes second, late or with another one is told the same.
func TestTicketsAreTakenOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s, ctx := w.shard, t.Context()
		for _, id := range []string{"a", "b"} {
			if err := s.KeepTicket(ctx, id, []byte("who "+id), 30*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		taken, refused := 0, 0
		for range 100 {
			switch who, err := s.TakeTicket(ctx, "a"); {
			case err == nil && string(who) == "who a":
				taken++
			case errors.Is(err, ErrNotFound):
				refused++
			}
		}
		if taken != 1 || refused != 99 {
			t.Errorf("taken %d times, refused %d times", taken, refused)
		}
		time.Sleep(31 * time.Second)
		if _, err := s.TakeTicket(ctx, "b"); !errors.Is(err, ErrNotFound) {
			t.Errorf("too late: %v", err)
		}
		for i := range maxTickets {
			if err := s.KeepTicket(ctx, fmt.Sprint(i), nil, time.Hour); err != nil {
				t.Fatalf("ticket %d: %v", i, err)
			}
		}
		if err := s.KeepTicket(ctx, "more", nil, time.Hour); !errors.Is(err, ErrOverloaded) {
			t.Errorf("beyond the bound: %v", err)
		}
		time.Sleep(maxTicketTTL + time.Second)
		if err := s.KeepTicket(ctx, "more", nil, time.Hour); err != nil {
			t.Errorf("once the others are too old: %v", err)
		}
	})
}
