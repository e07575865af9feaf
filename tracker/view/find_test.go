package view

import (
	"testing"

	"github.com/ackwire/ackwire/tracker/fold"
)

// A job is found as the last transaction left it; one that is open does not count, nor is it
// waited for.
func TestAJobIsFound(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		find := func(why, name, id string, version, next int64) {
			t.Helper()
			f, err := Find(t.Context(), w.cfg.Reader, name, partition, id)
			if err != nil {
				t.Fatalf("%s: %v", why, err)
			}
			has := int64(0)
			if f.Job != nil {
				has = f.Job.Version
			}
			if has != version || f.Next != next || f.Job != nil && (f.Job.Doc.JobID != id || f.Job.Tenant != "acme") {
				t.Errorf("%s: version %d of %+v, next %d", why, has, f.Job, f.Next)
			}
		}
		find("there is no such table", "t.other", "a", 0, 0)
		find("an empty table", names.View(), "a", 0, 0)
		v := w.take()
		find("an owner has come", names.View(), "a", 0, 0)
		for _, jobs := range []map[string]*fold.Job{{"a": aJob("a", 1), "b": aJob("b", 2)}, {"a": aJob("a", 3)},
			{"b": nil, "c": aJob("c", 4)}} {
			if err := w.write(v, w.change(jobs)); err != nil {
				t.Fatal(err)
			}
		}
		find("changed twice", names.View(), "a", 3, w.next)
		find("removed", names.View(), "b", 0, w.next)
		find("never there", names.View(), "x", 0, w.next)
		if err := v.cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := v.cl.ProduceSync(t.Context(), jobRecord(names.View(), partition, "a", nil)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		find("while a transaction is open", names.View(), "a", 3, w.next)
	})
}
