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

func TestTicketsMakeRoom(t *testing.T) {
	tickets, now := newTickets(), time2000()
	for i := range maxTickets {
		if !tickets.keep(fmt.Sprint(i), nil, time.Second, now) {
			t.Fatalf("ticket %d has no room", i)
		}
	}
	if tickets.keep("more", nil, time.Second, now) {
		t.Error("there was room beyond the bound")
	}
	if _, ok := tickets.take("7", now); !ok || !tickets.keep("more", []byte("ann"), time.Hour, now) {
		t.Error("there is no room for one though one was taken")
	}
	if _, ok := tickets.take("7", now); ok {
		t.Error("a ticket was taken twice")
	}
	now = now.Add(time.Second + 1)
	if !tickets.keep("later", nil, time.Second, now) || len(tickets.held) != 2 {
		t.Errorf("%d are kept though all but two are too old", len(tickets.held))
	}
	now = now.Add(maxTicketTTL)
	if who, ok := tickets.take("more", now); ok {
		t.Errorf("%q is let in after %s: no ticket lasts that long", who, maxTicketTTL)
	}
}
