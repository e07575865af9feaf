package ackwiretest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
)

// A list that is watched has its jobs as they come, change, leave and are erased.
func TestAListIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		client := srv.Dial(t)
		ctx, cancel := context.WithCancel(t.Context())
		known := map[string]map[string]job.State{"all": {}, "waiting": {}}
		done := make(chan error, 2)
		follow := func(name string, o ackwire.ListOptions) {
			rows := known[name]
			for u, err := range client.WatchList(ctx, o) {
				if err != nil {
					done <- err
					return
				}
				if u.Listed {
					clear(rows)
				}
				for _, st := range u.Jobs {
					rows[st.JobID] = st.State
				}
				for _, id := range u.Left {
					delete(rows, id)
				}
			}
		}
		go follow("all", ackwire.ListOptions{})
		go follow("waiting", ackwire.ListOptions{States: []job.State{job.Pending}})
		var ids []string
		for range 3 {
			j, err := client.Submit(ctx, "greet", greeting{"you"})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, j.ID)
		}
		want := func(what string, all, waiting int) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			if len(known["all"]) != all || len(known["waiting"]) != waiting {
				t.Errorf("%s: %v", what, known)
			}
		}
		want("three jobs", 3, 3)
		if _, err := client.Job(ids[0]).Cancel(ctx); err != nil {
			t.Fatal(err)
		}
		want("one is cancelled", 3, 2)
		if err := client.Job(ids[0]).Erase(ctx); err != nil {
			t.Fatal(err)
		}
		want("it is erased", 2, 2)
		if got := slices.Sorted(maps.Keys(known["all"])); !slices.Equal(got, ids[1:]) {
			t.Errorf("the list has %v, want %v", got, ids[1:])
		}
		cancel()
		for range 2 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("it ends with %v", err)
			}
		}
		for _, err := range client.WatchList(t.Context(), ackwire.ListOptions{States: []job.State{"lost"}}) {
			if e, ok := errors.AsType[*ackwire.Error](err); !ok || e.Code != code.InvalidFrame {
				t.Errorf("a state that there is not: %v", err)
			}
		}
	})
}
