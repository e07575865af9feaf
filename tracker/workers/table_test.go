package workers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/fleet"
)

var now = time.Date(2026, 2, 2, 9, 30, 0, 0, time.UTC)

func newTestTable() *Table {
	return NewTable(NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")))
}

func record(t *testing.T, offset int64, at time.Time, a fleet.Announcement) *kgo.Record {
	t.Helper()
	a.StartedAt = now
	value, err := fleet.Encode(&a)
	if err != nil {
		t.Fatal(err)
	}
	return &kgo.Record{Key: []byte(a.Worker), Value: value, Offset: offset, Timestamp: at,
		Headers: []kgo.RecordHeader{{Key: fleet.Header, Value: []byte("1")}}}
}

// TestTable: what counts is the last announcement of each worker, for two minutes.
func TestTable(t *testing.T) {
	table := newTestTable()
	take := func(why string, rec *kgo.Record, at time.Time, want outcome) {
		t.Helper()
		if !IsAnnouncement(rec) {
			t.Errorf("%s: no announcement", why)
		}
		if got := table.take(rec, at); got != want {
			t.Errorf("%s: %s, want %s", why, got, want)
		}
	}
	known := func(at time.Time) (names string) {
		for _, k := range table.Known(at) {
			names += fmt.Sprint(" ", k.Name, k.Seen.Sub(now))
		}
		return names
	}
	a := func(offset int64, at time.Time, more fleet.Announcement) *kgo.Record {
		more.Worker = "a"
		return record(t, offset, at, more)
	}
	take("the first", a(5, now.Add(-time.Second), fleet.Announcement{}), now, taken)
	take("one before it", a(4, now, fleet.Announcement{Gone: true}), now, old)
	take("one from long ago", a(6, now.Add(-fleet.GoneAfter), fleet.Announcement{}), now, old)
	if got := known(now); got != " a-1s" {
		t.Errorf("known are%s", got)
	}
	take("one from the future", a(7, now.Add(time.Hour), fleet.Announcement{}), now, taken)
	if got := known(now.Add(fleet.GoneAfter - 1)); got != " a0s" {
		t.Errorf("known are%s", got)
	}
	if got := known(now.Add(fleet.GoneAfter)); got != "" {
		t.Errorf("after silence are known%s", got)
	}
	take("again", a(8, now, fleet.Announcement{}), now, taken)
	if n := testutil.ToFloat64(table.metrics.known); n != 1 {
		t.Errorf("%v are known", n)
	}
	take("its end", a(9, now, fleet.Announcement{Gone: true}), now, taken)
	if n := testutil.ToFloat64(table.metrics.known); n != 0 || table.bytes != 0 {
		t.Errorf("%v are known, %d bytes", n, table.bytes)
	}
	other := a(10, now, fleet.Announcement{})
	other.Key = []byte("b")
	take("another's name", other, now, undecodable)
	other = a(11, now, fleet.Announcement{})
	other.Headers[0].Value = []byte("2")
	take("another version", other, now, undecodable)
	table.Close()
	take("after the end", a(12, now, fleet.Announcement{}), now, old)
}

// TestTableIsBounded in workers and in bytes: who has a place keeps it, and the silent make room.
func TestTableIsBounded(t *testing.T) {
	table := newTestTable()
	for i := range MaxWorkers + 10 {
		want := taken
		if i >= MaxWorkers {
			want = crowded
		}
		if got := table.take(record(t, int64(i), now, fleet.Announcement{Worker: fmt.Sprint("w", i)}), now); got != want {
			t.Fatalf("worker %d: %s", i, got)
		}
	}
	again := record(t, 5000, now.Add(time.Minute), fleet.Announcement{Worker: "w0"})
	if got := table.take(again, now.Add(time.Minute)); got != taken {
		t.Errorf("one that is known: %s", got)
	}
	later := now.Add(fleet.GoneAfter)
	if got := table.take(record(t, 5001, later, fleet.Announcement{Worker: "new"}), later); got != taken ||
		len(table.Known(later)) != 2 {
		t.Errorf("after the others' silence: %s, and %d are known", got, len(table.Known(later)))
	}

	table = newTestTable()
	large := fleet.Announcement{}
	for i := range fleet.MaxPaused {
		large.Paused = append(large.Paused, fleet.Paused{Tenant: "acme", Until: now,
			Endpoint: fleet.Endpoint("https://h.example", fmt.Sprint("/", i, strings.Repeat("x", 200)))})
	}
	refused := 0
	for i := 0; i < MaxWorkers && refused < 3; i++ {
		large.Worker = fmt.Sprint("w", i)
		if table.take(record(t, int64(i), now, large), now) == crowded {
			refused++
		}
	}
	if table.bytes > MaxBytes || table.bytes < MaxBytes/2 || refused == 0 {
		t.Errorf("%d bytes, %d refused", table.bytes, refused)
	}
}
