package ackwiretest_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/code"
)

// TestTags: a submit's tags are in its documents, and lists find jobs by them; tags that a job cannot have are refused.
func TestTags(t *testing.T) {
	synctest.Test(t, testTags)
}

func testTags(t *testing.T) {
	c := ackwiretest.New(t).Dial(t)
	tags := map[string]string{"customer": "c-17", "note": `a:b, "é"`}
	option := ackwire.WithTags(tags)
	tags["customer"] = "changed afterwards"
	j, err := c.Submit(t.Context(), "demo.echo", 1, option)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Submit(t.Context(), "demo.echo", 2); err != nil {
		t.Fatal(err)
	}
	page, err := c.List(t.Context(), ackwire.ListOptions{})
	if err != nil || len(page.Jobs) != 2 || page.Jobs[1].JobID != j.ID {
		t.Fatalf("%v: %v", err, page)
	}
	st := page.Jobs[1]
	if want := map[string]string{"customer": "c-17", "note": `a:b, "é"`}; !maps.Equal(st.Tags, want) ||
		st.Lane != "default" {
		t.Errorf("%v and lane %q", st.Tags, st.Lane)
	}
	for _, tc := range []struct {
		tags map[string]string
		jobs int
	}{
		{nil, 2}, {map[string]string{"customer": "c-17"}, 1}, {map[string]string{"note": `a:b, "é"`, "customer": "c-17"}, 1},
		{map[string]string{"customer": "c-18"}, 0}, {map[string]string{"other": "c-17"}, 0},
	} {
		page, err := c.List(t.Context(), ackwire.ListOptions{Tags: tc.tags})
		if err != nil || len(page.Jobs) != tc.jobs {
			t.Errorf("%v: %d jobs with %v, want %d", err, len(page.Jobs), tc.tags, tc.jobs)
		}
	}
	refused := func(what string, err error) {
		t.Helper()
		var problem *ackwire.Error
		if !errors.As(err, &problem) || problem.Code != code.InvalidFrame {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, wrong := range []map[string]string{{"a b": "1"}, {"a": ""}, {"a": "\n"}} {
		_, err := c.Submit(t.Context(), "demo.echo", 3, ackwire.WithTags(wrong))
		refused("a submit", err)
		_, err = c.List(context.Background(), ackwire.ListOptions{Tags: wrong})
		refused("a list", err)
	}
	results, err := c.SubmitBatch(t.Context(), []ackwire.BatchItem{
		{Type: "demo.echo", Payload: 1, Options: []ackwire.SubmitOption{ackwire.WithTags(map[string]string{"b": "1"})}},
		{Type: "demo.echo", Payload: 1, Options: []ackwire.SubmitOption{ackwire.WithTags(map[string]string{"": "1"})}},
	})
	if err != nil || results[0].Err != nil {
		t.Fatalf("%v, %v", err, results)
	}
	refused("an item of a batch", results[1].Err)
}
