package fold

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
)

// BenchmarkFold folds a job's life of six events, decoded before; ns/op is one event.
func BenchmarkFold(b *testing.B) {
	var t testing.T
	life := []*event.Event{
		an(&t, event.Accepted), an(&t, event.Claimed), an(&t, event.Progress), an(&t, event.Progress, percent(50)),
		an(&t, event.Beat), an(&t, event.Completed),
	}
	b.ReportAllocs()
	var j *Job
	i := 0
	for b.Loop() {
		if i%len(life) == 0 {
			j = nil
		}
		r := Fold(j, life[i%len(life)], Meta{Offset: int64(i), Time: t0.Add(time.Duration(i) * time.Millisecond)})
		if !r.Changed {
			b.Fatal(r.Reason)
		}
		j = r.Job
		i++
	}
}
