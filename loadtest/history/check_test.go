package history

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// The histories below are of one job, j, unless a record says another; times are seconds.
const (
	endsWithin    = 30 * time.Second
	deliverWithin = 10 * time.Second
)

func at(seconds int64, r Record) Record {
	r.At = seconds * 1_000_000
	if r.Job == "" && r.Kind != Open && r.Kind != Close && r.Kind != Fault && r.Kind != End {
		r.Job = "j"
	}
	return r
}

func ack(t int64, client int) Record {
	return at(t, Record{Kind: Ack, Client: client, Conn: 1, Watch: true})
}

func status(t int64, client int, version int64, state job.State) Record {
	return at(t, Record{Kind: Status, Client: client, Conn: 1, Version: version, State: state})
}

func get(t int64, code int, version int64, state job.State) Record {
	return at(t, Record{Kind: Get, Client: 1, Code: code, Version: version, State: state})
}

func open(t int64, client, conn int) Record {
	return at(t, Record{Kind: Open, Client: client, Conn: conn})
}

func end(t int64) Record { return at(t, Record{Kind: End}) }

func write(t *testing.T, records []Record) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "history.ndjson")
	b := Record{Kind: Run, Run: &Header{Format: Format, Scenario: "test", EndsWithin: job.Seconds(endsWithin),
		DeliverWithin: job.Seconds(deliverWithin)}}.append(nil)
	for _, r := range records {
		b = r.append(b)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func check(t *testing.T, records []Record) *Verdict {
	t.Helper()
	v, err := Check(write(t, records))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// mine is a socket that asks for all jobs of its subject and is answered.
func mine(t int64, client int) []Record {
	return []Record{
		{At: t * 1_000_000, Kind: Watch, Client: client, Conn: 1}, {At: t * 1_000_000, Kind: Watched, Client: client,
			Conn: 1},
	}
}

// spent is a read of a job at that attempt.
func spent(t int64, version int64, state job.State, attempt int, code string, runs ...Attempt) Record {
	r := get(t, 200, version, state)
	r.Attempt, r.Text, r.Runs = attempt, code, runs
	return r
}

func TestCheck(t *testing.T) {
	const processing, completed, failed = job.Processing, job.Completed, job.Failed
	const ranAndFailed = job.OutcomeFailed
	runs := func(from, to int) (out []Attempt) {
		for n := from; n <= to; n++ {
			out = append(out, Attempt{n, ranAndFailed, "x"})
		}
		return out
	}
	for name, c := range map[string]struct {
		records []Record
		want    string // "", or invariant, client and a part of what is said
		client  int
		says    string
	}{
		"a good life": {records: []Record{
			open(0, 1, 1), ack(1, 1), get(1, 200, 1, job.Pending), status(1, 1, 2, processing), status(2, 1, 3, completed), get(
				3, 200, 3, completed), end(20)}},
		"statuses may be skipped": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(2, 1, 9, completed), get(3, 200, 9, completed), end(20)}},
		"lost": {records: []Record{
			open(0, 1, 1), ack(1, 1), get(40, 404, 0, ""), end(60)}, want: "I1", says: "404"},
		"lost, though it was seen": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(1, 1, 2, processing), get(40, 404, 0, ""), end(60)}, want: "I1", says: "404"},
		"never readable": {records: []Record{
			open(0, 1, 1), ack(1, 1), get(40, 503, 0, ""), get(50, 0, 0, ""), end(60)}, want: "I1",
			says: "no GET could read it"},
		"not found before the ack": {records: []Record{
			open(0, 1, 1), get(0, 404, 0, ""), ack(1, 1), status(2, 1, 3, completed), get(3, 200, 3, completed), end(20)}},
		"not found for a moment": {records: []Record{
			open(0, 1, 1), ack(1, 1), get(1, 404, 0, ""), status(2, 1, 3, completed), get(3, 200, 3, completed), end(20)},
			want: "I4", says: "404"},
		"two outcomes": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(2, 1, 3, completed), get(3, 200, 4, failed), end(20)}, want: "I2",
			says: "failed at version 4 beside completed at version 3"},
		"one outcome at two versions": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(2, 1, 3, completed), get(3, 200, 4, completed), end(20)}, want: "I2",
			says: "beside"},
		"it goes on after its end": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(2, 1, 3, completed), get(3, 200, 5, processing), end(20)}, want: "I2",
			says: "processing at version 5"},
		"it went on after its end": {records: []Record{
			open(0, 1, 1), open(0, 2, 1), ack(1, 1), get(2, 200, 5, processing), status(3, 1, 3, completed), end(20)},
			want: "I2", says: "went on up to version 5"},
		"an old answer after the end": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(2, 1, 3, completed), get(3, 200, 2, processing), end(20)}},
		"a retry opens it again": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(2, 1, 3, failed), at(3, Record{Kind: Retry, Client: 1}), status(4, 1, 5,
				processing), status(5, 1, 6, completed), get(6, 200, 6, completed), end(30)}},
		"a duplicate": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(1, 1, 2, processing), status(1, 1, 2, processing), status(2, 1, 3, completed), get(
				3, 200, 3, completed), end(20)},
			want: "I3", client: 1, says: "version 2 came after version 2"},
		"the end twice": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(2, 1, 3, completed), status(2, 1, 3, completed), end(20)}, want: "I3", client: 1,
			says: "version 3 came after version 3"},
		"two in the wrong order": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(1, 1, 3, completed), status(2, 1, 2, processing), get(3, 200, 3, completed), end(
				20)},
			want: "I3", client: 1, says: "version 2 came after version 3"},
		"before its ack": {records: []Record{
			open(0, 1, 1), status(1, 1, 1, job.Pending), ack(1, 1), status(2, 1, 3, completed), end(20)}, want: "I3", client: 1,
			says: "before its ack"},
		"to a client that did not ask": {records: []Record{
			open(0, 1, 1), open(0, 2, 1), ack(1, 1), status(2, 1, 3, completed), status(2, 2, 3, completed), end(20)},
			want: "I3", client: 2, says: "does not watch"},
		"the end never came": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(1, 1, 2, processing), get(5, 200, 3, completed), end(16)}, want: "I3", client: 1,
			says: "the last version seen is 2"},
		"the end never came before the run's own end": {records: []Record{
			open(0, 1, 1), ack(1, 1), get(5, 200, 3, completed), end(16), at(16, Record{Kind: Close, Client: 1, Conn: 1})},
			want: "I3", client: 1, says: "the last version seen is 0"},
		"the end never came, but the socket is gone": {records: []Record{
			open(0, 1, 1), ack(1, 1), get(5, 200, 3, completed), at(6, Record{Kind: Close, Client: 1, Conn: 1}), end(30)}},
		"the end may still come": {records: []Record{
			open(0, 1, 1), ack(1, 1), get(5, 200, 3, completed), end(14)}},
		"the watch was refused": {records: []Record{
			open(0, 1, 1), open(0, 2, 1), ack(1, 1), at(1, Record{Kind: Watch, Client: 2, Conn: 1}), at(1,
				Record{Kind: Watched, Client: 2, Conn: 1, Text: "limit_exceeded"}),
			status(2, 1, 3, completed), end(30)}},
		"another watcher never saw the end": {records: []Record{
			open(0, 1, 1), open(0, 2, 1), ack(1, 1), at(1, Record{Kind: Watch, Client: 2, Conn: 1}), at(1,
				Record{Kind: Watched, Client: 2, Conn: 1}),
			status(2, 1, 3, completed), end(30)}, want: "I3", client: 2, says: "never came"},
		"after a reconnect only what is newer": {records: []Record{
			open(0, 1, 1), ack(1, 1), status(1, 1, 2, processing), at(2, Record{Kind: Close, Client: 1, Conn: 1}), open(3, 1, 2),
			at(3, Record{Kind: Watch, Client: 1, Conn: 2, Version: 2}), at(3, Record{Kind: Watched, Client: 1, Conn: 2}),
			at(4, Record{Kind: Status, Client: 1, Conn: 2, Version: 2, State: processing}), at(5, Record{Kind: Status, Client: 1,
				Conn: 2, Version: 3, State: completed}), end(30)},
			want: "I3", client: 1, says: "version 2 came after version 2"},
		"silence after a version ahead of the log": {records: []Record{
			open(0, 1, 1), open(0, 2, 1), ack(1, 1), status(2, 1, 3, completed),
			at(3, Record{Kind: Watch, Client: 2, Conn: 1, Version: 1000}), at(3, Record{Kind: Watched, Client: 2, Conn: 1,
				Version: 3}), end(30)},
			want: "I3", client: 2, says: "never came"},
		"the state after a version ahead of the log": {records: []Record{
			open(0, 1, 1), open(0, 2, 1), ack(1, 1), status(2, 1, 3, completed),
			at(3, Record{Kind: Watch, Client: 2, Conn: 1, Version: 1000}), at(3, Record{Kind: Watched, Client: 2, Conn: 1,
				Version: 3}),
			status(4, 2, 3, completed), end(30)}},
		"a socket that nobody asked on": {records: []Record{
			open(0, 1, 1), ack(1, 1), at(2, Record{Kind: Close, Client: 1, Conn: 1}), open(3, 1, 2),
			at(4, Record{Kind: Status, Client: 1, Conn: 2, Version: 3, State: completed}), end(30)}, want: "I3", client: 1,
			says: "does not watch"},
		"a version by the ack's watch and by all jobs'": {records: slices.Concat([]Record{open(0, 1, 1)}, mine(0, 1),
			[]Record{
				ack(1, 1), status(1, 1, 2, processing), status(2, 1, 2, processing), status(3, 1, 3, completed), end(30)}),
			want: "I3", client: 1, says: "version 2 came after version 2"},
		"a version by all jobs' and by a watch": {records: slices.Concat([]Record{open(0, 1, 1), open(0, 2, 1)}, mine(0, 2),
			[]Record{
				ack(1, 1), status(1, 2, 2, processing), at(2, Record{Kind: Watch, Client: 2, Conn: 1}), at(2,
					Record{Kind: Watched, Client: 2, Conn: 1, Version: 2}),
				status(2, 2, 2, processing), status(3, 1, 3, completed), status(3, 2, 3, completed), end(30)}),
			want: "I3", client: 2, says: "version 2 came after version 2"},
		"a version by all jobs' before the watch's older answer": {
			records: slices.Concat([]Record{open(0, 1, 1), open(0, 2, 1)}, mine(0, 2), []Record{
				ack(1, 1), at(2, Record{Kind: Watch, Client: 2, Conn: 1}), status(2, 2, 2, processing), at(2,
					Record{Kind: Watched, Client: 2, Conn: 1, Version: 1}),
				status(2, 2, 2, processing), status(3, 1, 3, completed), status(3, 2, 3, completed), end(30)}),
			want: "I3", client: 2, says: "version 2 came after version 2"},
		"each version once, by all jobs' and by a watch": {records: slices.Concat([]Record{open(0, 1, 1), open(0, 2, 1)},
			mine(0, 2), []Record{
				status(1, 2, 1, job.Pending), ack(1, 1), at(2, Record{Kind: Watch, Client: 2, Conn: 1}), at(2,
					Record{Kind: Watched, Client: 2, Conn: 1, Version: 1}),
				status(2, 2, 2, processing), status(3, 1, 3, completed), status(3, 2, 3, completed), end(30)})},
		"a watch that asked for less than all jobs'": {records: slices.Concat([]Record{open(0, 1, 1), open(0, 2, 1)},
			mine(0, 2), []Record{
				ack(1, 1), at(2, Record{Kind: Watch, Client: 2, Conn: 1, Version: 2}), status(2, 2, 2, processing), at(2,
					Record{Kind: Watched, Client: 2, Conn: 1, Version: 2}),
				status(3, 1, 3, completed), status(3, 2, 3, completed), end(30)})},
		"an end by a watch, then by all jobs'": {records: slices.Concat([]Record{open(0, 1, 1), open(0, 2, 1), ack(1, 1),
			status(1, 1, 3, completed),
			at(2, Record{Kind: Watch, Client: 2, Conn: 1, Version: 2}), at(2, Record{Kind: Watched, Client: 2, Conn: 1,
				Version: 3}), status(2, 2, 3, completed)},
			mine(2, 2), []Record{status(3, 2, 3, completed), end(30)}),
			want: "I3", client: 2, says: "version 3 came after version 3"},
		"all jobs' before their answer": {records: []Record{
			open(0, 1, 1), open(0, 2, 1), ack(1, 1), mine(1, 2)[0], status(2, 2, 3, completed), status(2, 1, 3, completed), end(
				30)},
			want: "I3", client: 2, says: "does not watch"},
		"all jobs' end there where an own job's end never came": {records: slices.Concat([]Record{open(0, 1, 1)}, mine(0, 1),
			[]Record{
				at(1, Record{Kind: Ack, Client: 1, Conn: 1}), get(5, 200, 3, completed), end(30)}),
			want: "I3", client: 1, says: "the last version seen is 0"},
		"attempts that were run": {records: []Record{open(0, 1, 1), ack(1, 1), status(1, 1, 2, processing),
			spent(2, 4, job.Retrying, 3, "", Attempt{1, job.OutcomeReleased, ""}, Attempt{1, job.OutcomeLost, "worker_lost"},
				Attempt{2, ranAndFailed, "x"}),
			spent(3, 6, failed, 3, "x", Attempt{1, job.OutcomeLost, ""}, Attempt{2, ranAndFailed, "x"},
				Attempt{3, ranAndFailed, "x"}), status(3, 1, 6, failed), end(30)}},
		"an attempt without a run": {records: []Record{open(0, 1, 1), ack(1, 1), status(1, 1, 2, processing),
			spent(2, 4, job.Retrying, 3, "", Attempt{1, ranAndFailed, "x"}), status(3, 1, 6, completed), end(30)},
			want: "I2a", says: "of attempt 2 no run"},
		"an attempt that was only handed back": {records: []Record{open(0, 1, 1), ack(1, 1), status(1, 1, 2, processing),
			spent(2, 4, job.Retrying, 2, "", Attempt{1, job.OutcomeReleased, "no_handler"}), status(3, 1, 6, completed), end(
				30)},
			want: "I2a", says: "of attempt 1 no run"},
		"an attempt that nobody could begin": {records: []Record{open(0, 1, 1), ack(1, 1), status(1, 1, 2, processing),
			spent(2, 4, job.Retrying, 2, "", Attempt{1, ranAndFailed, "no_handler"}), status(3, 1, 6, completed), end(30)},
			want: "I2a", says: "could not begin it: no_handler"},
		"failed without a run": {records: []Record{open(0, 1, 1), ack(1, 1),
			spent(2, 4, failed, 1, "x"), status(3, 1, 4, failed), end(30)}, want: "I2a", says: "of its last attempt, 1, no run"},
		"a deadline needs no run": {records: []Record{open(0, 1, 1), ack(1, 1),
			spent(2, 4, failed, 1, "deadline_exceeded"), status(3, 1, 4, failed), end(30)}},
		"runs that the document leaves out": {records: []Record{open(0, 1, 1), ack(1, 1),
			spent(2, 90, job.Retrying, 31, "", runs(11, 30)...), status(3, 1, 93, completed), end(30)}},
		"a gap in the last runs": {records: []Record{open(0, 1, 1), ack(1, 1),
			spent(2, 90, job.Retrying, 32, "", runs(11, 30)...), status(3, 1, 93, completed), end(30)}, want: "I2a",
			says: "of attempt 31 no run"},
		"a retry of a job that never ran": {records: []Record{open(0, 1, 1), ack(1, 1), status(1, 1, 2, job.Cancelled),
			at(2, Record{Kind: Retry, Client: 1}),
			spent(3, 4, processing, 2, "", Attempt{2, "", ""}), status(4, 1, 6, completed), end(30)}},
		"not ended in time": {records: []Record{
			open(0, 1, 1), ack(1, 1), get(32, 200, 2, processing), end(33)}, want: "I7", says: "still processing 31s"},
		"a fault gives it more time": {records: []Record{
			open(0, 1, 1), ack(1, 1), at(20, Record{Kind: Fault, Text: "cut"}), get(32, 200, 2, processing), status(40, 1, 3,
				completed), end(60)}},
		"not ended in time after the fault": {records: []Record{
			open(0, 1, 1), ack(1, 1), at(20, Record{Kind: Fault, Text: "cut"}), get(51, 200, 2, processing), end(52)},
			want: "I7", says: "31s after its ack or the last fault"},
		"broken off": {records: []Record{open(0, 1, 1), ack(1, 1), get(5, 200, 3, completed), at(60, Record{Kind: Fault})}},
	} {
		t.Run(name, func(t *testing.T) {
			v := check(t, c.records)
			if c.want == "" {
				if v.Found != 0 {
					t.Fatalf("violations: %+v", v.Violations)
				}
				return
			}
			if v.Found != 1 || len(v.Violations) != 1 {
				t.Fatalf("%d violations, want one: %+v", v.Found, v.Violations)
			}
			got := v.Violations[0]
			if string(got.Invariant) != c.want || got.Job != "j" || got.Client != c.client ||
				!strings.Contains(got.What, c.says) {
				t.Errorf("got %s of job %s, client %d: %s", got.Invariant, got.Job, got.Client, got.What)
			}
			if len(got.Records) == 0 || !slices.ContainsFunc(got.Records, func(r Record) bool { return r.Kind == Ack }) {
				t.Errorf("records: %v", got.Records)
			}
		})
	}
}

func TestAJobOfWhichNothingIsKnownIsNotProven(t *testing.T) {
	v := check(t, []Record{open(0, 1, 1), ack(1, 1), end(60)})
	if v.Found != 0 || v.Unproven != 1 || v.Acked != 1 || !v.Complete {
		t.Errorf("%+v", v)
	}
}

// The middle of a long story is left out, and how much of it.
func TestAViolationHasABoundedNumberOfRecords(t *testing.T) {
	records := []Record{open(0, 1, 1), ack(1, 1)}
	for i := range int64(100) {
		records = append(records, status(2, 1, i+2, job.Processing))
	}
	v := check(t, append(records, status(3, 1, 2, job.Processing), end(4)))
	if len(v.Violations) != 1 {
		t.Fatalf("%+v", v)
	}
	got := v.Violations[0]
	if len(got.Records) != maxRecords || got.Omitted != 102-maxRecords || got.Records[0].Kind != Ack ||
		got.Records[maxRecords-1].Version != 2 {
		t.Errorf("%d records, %d left out, from %v to %v", len(got.Records), got.Omitted, got.Records[0],
			got.Records[len(got.Records)-1])
	}
}

// However many parts a history is checked in, each job is in exactly one.
func TestPartsMakeTheWhole(t *testing.T) {
	records := []Record{open(0, 1, 1)}
	for _, id := range strings.Split("a b c d e f g h i k l m n o p q r s t u", " ") {
		r := ack(1, 1)
		r.Job = id
		g := get(40, 404, 0, "")
		g.Job = id
		records = append(records, r, g)
	}
	name := write(t, append(records, end(60)))
	v := &Verdict{}
	for pass := range uint64(3) {
		before := v.Found
		if err := checkPart(name, v, pass, 3); err != nil {
			t.Fatal(err)
		}
		if v.Found == before || v.Found-before == 20 {
			t.Errorf("part %d has %d of the 20 jobs", pass, v.Found-before)
		}
	}
	if v.Found != 20 || v.Acked != 20 || v.Records != 43 {
		t.Errorf("%d violations, %d acked, %d records", v.Found, v.Acked, v.Records)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	want := []Record{
		{
			Kind: Ack, Client: 3, Conn: 2, Job: `a"\`, Version: 1 << 60, State: job.Completed, Watch: true, Code: 404,
			Text: "new\nline",
		},
		{
			Kind: Status, Client: 1, Stream: 4, Conn: 1, Job: "j", Reset: true, Attempt: 2,
			Runs: []Attempt{{1, job.OutcomeLost, `"`}, {Number: 2}},
		},
		{Kind: Fault}, {Kind: End},
	}
	name := filepath.Join(t.TempDir(), "h")
	w, err := Create(name, "s", time.Second, 1500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range want {
		w.Add(r)
	}
	if err := w.Close(); err != nil || w.Records() != 5 {
		t.Fatal(err, w.Records())
	}
	cutOff, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cutOff.WriteString(`{"t":12,"k":"sta`); err != nil {
		t.Fatal(err)
	}
	if err := cutOff.Close(); err != nil {
		t.Fatal(err)
	}
	var got []Record
	if err := Read(name, func(r Record) bool { got = append(got, r); return true }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 5 || got[0].Run.Scenario != "s" || got[0].Run.DeliverWithin.Duration() != 1500*time.Millisecond {
		t.Fatalf("%+v", got)
	}
	for i, r := range got[1:] {
		r.At = 0
		if !reflect.DeepEqual(r, want[i]) {
			t.Errorf("%+v became %+v", want[i], r)
		}
	}
}

func TestReadRefusesWhatIsNoHistory(t *testing.T) {
	for content, want := range map[string]string{
		"hello\n":                   ":1:",
		"{\"t\":1,\"k\":\"ack\"}\n": "does not begin with a run",
		"{\"t\":1,\"k\":\"run\",\"run\":{\"format\":9}}\n":                       "format 9",
		"{\"t\":1,\"k\":\"run\",\"run\":{\"format\":1}}\n{\"t\":1,\"what\":1}\n": ":2:",
	} {
		name := filepath.Join(t.TempDir(), "h")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Check(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
	if _, err := Check(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there")
	}
}
