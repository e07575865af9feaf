package fold

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// rules is RULES.md's table, for every pair of a state and an event. Each block is an event
// and its variant; each line names states and what becomes of a job in them:
//
//	state orders     the event is taken; "+d", "+a", "+r": dispatch, attempt, round rise
//	!reason orders   it changes nothing
//
// The job is in dispatch 3, round 2 and attempt 3 of 4, its request lies at offset 30 and
// its holder, if it has one, is r1. "unaccepted" was born by a claim and still runs, "last"
// runs its last attempt, "cancelling" runs and was told to quit.
const rules = `
accepted
	unknown                                                  pending
	unaccepted                                               processing
	pending scheduled queued processing cancelling last      !duplicate
	retrying completed failed cancelled                      !duplicate
	erased                                                   !conflict
accepted later
	unknown                                                  scheduled
	unaccepted                                               processing
	pending scheduled queued processing cancelling last      !duplicate
	retrying completed failed cancelled                      !duplicate
	erased                                                   !conflict
accepted other-request
	unknown                                                  pending
	unaccepted pending scheduled queued processing last      !duplicate
	cancelling retrying completed failed cancelled           !duplicate
	erased                                                   !conflict
accepted other-request other-payload
	unknown                                                  pending
	unaccepted pending scheduled queued processing last      !conflict
	cancelling retrying completed failed cancelled           !conflict
	erased                                                   !conflict

claimed
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        processing granted
	unaccepted processing last                               processing granted
	cancelling                                               processing granted quit
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
claimed first-dispatch
	unknown                                                  processing granted
	pending scheduled queued retrying                        !old_dispatch stop
	unaccepted processing last cancelling                    !old_dispatch stop
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
claimed other-run
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        processing granted
	unaccepted processing last cancelling                    !wrong_run stop
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
claimed other-run other-request
	unknown                                                  !unknown_job stop
	pending queued                                           !wrong_request stop
	scheduled retrying                                       processing granted
	unaccepted processing last cancelling                    !wrong_run stop
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
claimed old-dispatch
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        !old_dispatch stop
	unaccepted processing last cancelling                    !old_dispatch stop
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
claimed future-dispatch
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        !future_dispatch stop
	unaccepted processing last cancelling                    !future_dispatch stop
	completed failed cancelled                               !future_dispatch stop
	erased                                                   !future_dispatch stop

beat · progress
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        !not_held stop
	unaccepted processing last                               processing
	cancelling                                               processing quit
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
completed
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        !not_held stop
	unaccepted processing last cancelling                    completed
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
failed
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        !not_held stop
	unaccepted processing                                    retrying+d+a
	last                                                     failed
	cancelling                                               cancelled
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
failed permanent
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        !not_held stop
	unaccepted processing last                               failed
	cancelling                                               cancelled
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
released · released unable
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        !not_held stop
	unaccepted processing last                               retrying+d
	cancelling                                               cancelled
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
beat other-run · progress other-run · completed other-run · failed other-run · failed permanent other-run · released other-run · released unable other-run
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        !not_held stop
	unaccepted processing last cancelling                    !wrong_run stop
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
beat old-dispatch · progress old-dispatch · completed old-dispatch · failed old-dispatch · released old-dispatch
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        !old_dispatch stop
	unaccepted processing last cancelling                    !old_dispatch stop
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
beat future-dispatch · progress future-dispatch · completed future-dispatch · failed future-dispatch · released future-dispatch
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        !future_dispatch stop
	unaccepted processing last cancelling                    !future_dispatch stop
	completed failed cancelled                               !future_dispatch stop
	erased                                                   !future_dispatch stop

leaseExpired · attemptTimedOut · attemptTimedOut other-renewal
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_held
	unaccepted processing                                    retrying+d+a stop
	last                                                     failed stop
	cancelling                                               cancelled stop
	completed failed cancelled                               !ended
	erased                                                   !ended
leaseExpired other-renewal
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_held
	unaccepted processing last cancelling                    !stale_renewal
	completed failed cancelled                               !ended
	erased                                                   !ended
leaseExpired other-run · attemptTimedOut other-run
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_held
	unaccepted processing last cancelling                    !wrong_run
	completed failed cancelled                               !ended
	erased                                                   !ended
leaseExpired old-dispatch · attemptTimedOut old-dispatch
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !old_dispatch
	unaccepted processing last cancelling                    !old_dispatch
	completed failed cancelled                               !ended
	erased                                                   !ended
leaseExpired future-dispatch · attemptTimedOut future-dispatch · requeued future-dispatch · cancelForced future-dispatch
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !future_dispatch
	unaccepted processing last cancelling                    !future_dispatch
	completed failed cancelled                               !future_dispatch
	erased                                                   !future_dispatch

requeued
	unknown                                                  !unknown_job
	scheduled retrying                                       pending
	pending queued                                           !not_held
	unaccepted processing last cancelling                    !not_held
	completed failed cancelled                               !ended
	erased                                                   !ended
requeued old-dispatch · cancelForced old-dispatch
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !old_dispatch
	unaccepted processing last cancelling                    !old_dispatch
	completed failed cancelled                               !ended
	erased                                                   !ended

cancelRequested
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        cancelled
	unaccepted processing last cancelling                    processing quit
	completed failed cancelled                               !ended
	erased                                                   !ended
cancelRequested other-round
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !wrong_round
	unaccepted processing last cancelling                    !wrong_round
	completed failed cancelled                               !ended
	erased                                                   !ended
cancelForced
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_held
	unaccepted processing last                               !not_requested
	cancelling                                               cancelled stop
	completed failed cancelled                               !ended
	erased                                                   !ended

retryRequested
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_ended
	unaccepted processing last cancelling                    !not_ended
	completed failed cancelled                               retrying+d+a+r
	erased                                                   !ended
retryRequested other-round
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_ended
	unaccepted processing last cancelling                    !not_ended
	completed failed cancelled                               !wrong_round
	erased                                                   !ended

deadlineExceeded
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        failed
	unaccepted processing last cancelling                    failed stop
	completed failed cancelled                               !ended
	erased                                                   !ended
deadlineExceeded other-round
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !wrong_round
	unaccepted processing last cancelling                    !wrong_round
	completed failed cancelled                               !ended
	erased                                                   !ended

expired
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_ended
	unaccepted processing last cancelling                    !not_ended
	completed failed cancelled                               removed
	erased                                                   removed
expired other-round
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_ended
	unaccepted processing last cancelling                    !not_ended
	completed failed cancelled                               !wrong_round
	erased                                                   !wrong_round
expired too-early
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_ended
	unaccepted processing last cancelling                    !not_ended
	completed failed cancelled                               !not_due
	erased                                                   !not_due

callbackQueued
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_owed
	unaccepted processing last cancelling                    !not_owed
	completed failed cancelled                               !not_owed
	erased                                                   !not_owed

payloadLost
	unknown                                                  !unknown_job
	scheduled retrying                                       failed
	pending queued                                           !wrong_request
	unaccepted processing last cancelling                    !not_held
	completed failed cancelled                               !ended
	erased                                                   !ended
payloadLost own-request
	unknown                                                  !unknown_job
	scheduled retrying                                       !wrong_request
	pending queued                                           failed
	unaccepted processing last cancelling                    !not_held
	completed failed cancelled                               !ended
	erased                                                   !ended
payloadLost other-request
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !wrong_request
	unaccepted processing last cancelling                    !not_held
	completed failed cancelled                               !ended
	erased                                                   !ended
payloadLost old-dispatch · payloadLost own-request old-dispatch
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !old_dispatch
	unaccepted processing last cancelling                    !old_dispatch
	completed failed cancelled                               !ended
	erased                                                   !ended
payloadLost future-dispatch
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !future_dispatch
	unaccepted processing last cancelling                    !future_dispatch
	completed failed cancelled                               !future_dispatch
	erased                                                   !future_dispatch

requestLost own-request
	unknown                                                  !unknown_job
	pending queued                                           retrying+d
	scheduled retrying                                       !not_held
	unaccepted processing last cancelling                    !not_held
	completed failed cancelled                               !ended
	erased                                                   !ended
requestLost other-request
	unknown                                                  !unknown_job
	pending queued                                           !wrong_request
	scheduled retrying                                       !not_held
	unaccepted processing last cancelling                    !not_held
	completed failed cancelled                               !ended
	erased                                                   !ended

claimed this-life
	unknown                                                  !unknown_job stop
	pending scheduled queued retrying                        processing granted
	unaccepted processing last                               processing granted
	cancelling                                               processing granted quit
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
claimed other-life
	unknown                                                  !unknown_job stop
	pending queued                                           processing granted
	scheduled retrying                                       !other_life stop
	unaccepted processing last                               processing granted
	cancelling                                               processing granted quit
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
claimed first-dispatch young
	unknown                                                  processing granted
	pending scheduled queued retrying                        !old_dispatch stop
	unaccepted processing last cancelling                    !old_dispatch stop
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
claimed first-dispatch stale
	unknown                                                  !stale_request stop
	pending scheduled queued retrying                        !old_dispatch stop
	unaccepted processing last cancelling                    !old_dispatch stop
	completed failed cancelled                               !ended stop
	erased                                                   !ended stop
leaseExpired other-life · attemptTimedOut other-life · requeued other-life · cancelRequested other-life · cancelForced other-life · retryRequested other-life · deadlineExceeded other-life · expired other-life · callbackQueued other-life · payloadLost other-life · payloadLost own-request other-life · requestLost own-request other-life
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !other_life
	unaccepted processing last cancelling                    !other_life
	completed failed cancelled                               !other_life
	erased                                                   !other_life
cancelRequested this-life
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        cancelled
	unaccepted processing last cancelling                    processing quit
	completed failed cancelled                               !ended
	erased                                                   !ended
expired this-life
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_ended
	unaccepted processing last cancelling                    !not_ended
	completed failed cancelled                               removed
	erased                                                   removed

erased · erased this-life
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_ended
	unaccepted processing last cancelling                    !not_ended
	completed failed cancelled                               erased
	erased                                                   !ended
erased other-round
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !not_ended
	unaccepted processing last cancelling                    !not_ended
	completed failed cancelled                               !wrong_round
	erased                                                   !ended
erased other-life
	unknown                                                  !unknown_job
	pending scheduled queued retrying                        !other_life
	unaccepted processing last cancelling                    !other_life
	completed failed cancelled                               !other_life
	erased                                                   !other_life
`

// tableStates are the columns of rules: every state and what else the rules ask of it.
var tableStates = []string{"unknown", "unaccepted", "pending", "scheduled", "queued", "processing",
	"cancelling", "last", "retrying", "completed", "failed", "cancelled", "erased"}

const (
	tableDispatch = 3
	tableRound    = 2
	tableRenewal  = 40
	tableVersion  = 41
)

// tableJob returns a new job in the state of a column.
func tableJob(column string) *Job {
	if column == "unknown" {
		return nil
	}
	created, started, due := t0, t0.Add(time.Minute), t0.Add(2*time.Minute)
	j := &Job{
		Doc: job.Document{JobID: jobID, Type: "report.generate", State: job.State(column), Attempt: 3, MaxAttempts: 4,
			CreatedAt: created, UpdatedAt: started, Subject: "alice", Lane: "default"},
		Version: tableVersion, Life: "life-2", Tenant: "acme", PayloadHash: "sha256:1",
		Policy: *policy(), Source: *request(7), Accepted: true,
		Dispatch: tableDispatch, Round: tableRound, RoundAt: created, Request: request(30),
	}
	switch column {
	case "scheduled":
		j.Request, j.Doc.RunAt = nil, &due
	case "retrying":
		j.Request, j.Doc.RetryAt = nil, &due
	case "unaccepted", "processing", "cancelling", "last":
		j.Doc.State = job.Processing
		j.Doc.StartedAt = &started
		j.Run, j.Worker, j.Renewal = "r1", "worker-of-r1", tableRenewal
		j.Accepted = column != "unaccepted"
		if column == "cancelling" {
			j.Doc.CancelRequested, j.CancelAt = true, &started
		}
		if column == "last" {
			j.Doc.Attempt = 4
		}
	case "completed", "failed", "cancelled":
		j.Doc.FinishedAt = &due
	case "erased":
		ended := *j
		ended.Doc.State, ended.Doc.FinishedAt = job.Completed, &due
		j = (&step{old: &ended, at: Meta{Time: due, Clock: due}, e: &event.Event{Round: tableRound}}).erased().Job
		j.Version = tableVersion
	}
	return j
}

// tableEvent makes the event of a block: a type and its variants.
func tableEvent(t *testing.T, name string) (*event.Event, Meta) {
	t.Helper()
	words := strings.Fields(name)
	typ := event.Type(words[0])
	at := Meta{Offset: tableVersion + 10, Time: t0.Add(100 * 24 * time.Hour)}
	mods := []mod{round(tableRound), renewal(tableRenewal)}
	if typ != event.Accepted {
		mods = append(mods, dispatch(tableDispatch))
	}
	if typ == event.Claimed {
		mods = append(mods, from(30))
	}
	for _, word := range words[1:] {
		switch word {
		case "later":
			mods = append(mods, runAt(at.Time.Add(time.Hour)))
		case "other-request":
			mods = append(mods, from(31))
		case "other-payload":
			mods = append(mods, hash("sha256:2"))
		case "other-run":
			mods = append(mods, run("r2"))
		case "first-dispatch":
			mods = append(mods, dispatch(1))
		case "old-dispatch":
			mods = append(mods, dispatch(tableDispatch-1))
		case "future-dispatch":
			mods = append(mods, dispatch(tableDispatch+1))
		case "other-round":
			mods = append(mods, round(tableRound-1))
		case "other-renewal":
			mods = append(mods, renewal(tableRenewal-1))
		case "permanent":
			mods = append(mods, permanent)
		case "unable":
			mods = append(mods, unable("no_handler"))
		case "own-request":
			mods = append(mods, from(30))
		case "this-life":
			mods = append(mods, life("life-2"))
		case "other-life":
			mods = append(mods, life("life-1"))
		case "young":
			mods = append(mods, requestedAt(at.Time.Add(time.Second-policy().Retention.Duration())))
		case "stale":
			mods = append(mods, requestedAt(at.Time.Add(-policy().Retention.Duration())))
		case "too-early":
			at.Time = t0.Add(time.Hour)
		default:
			t.Fatalf("unknown variant %q of %s", word, typ)
		}
	}
	return an(t, typ, mods...), at
}

// outcome writes what Fold did in the words of rules.
func outcome(was *Job, r Result) string {
	var s strings.Builder
	switch {
	case !r.Changed:
		fmt.Fprintf(&s, "!%s", r.Reason)
	case r.Job == nil:
		s.WriteString("removed")
	default:
		s.WriteString(string(r.Job.Doc.State))
		if was != nil {
			rises := func(letter string, before, after int) {
				if after != before {
					s.WriteString("+" + letter)
				}
				if after > before+1 || after < before {
					fmt.Fprintf(&s, "(from %d to %d)", before, after)
				}
			}
			rises("d", was.Dispatch, r.Job.Dispatch)
			if !r.Job.Erased() {
				rises("a", was.Doc.Attempt, r.Job.Doc.Attempt)
			}
			rises("r", was.Round, r.Job.Round)
		}
	}
	for _, o := range r.Orders {
		s.WriteString(" " + string(o.Type))
	}
	return s.String()
}

func TestEveryStateAndEvent(t *testing.T) {
	tested := map[event.Type]bool{}
	var names []string
	columns := map[string]string{} // of the current block
	check := func() {
		for _, name := range names {
			tested[event.Type(strings.Fields(name)[0])] = true
			for _, column := range tableStates {
				want, ok := columns[column]
				if !ok {
					t.Errorf("%s: no line for a job that is %s", name, column)
					continue
				}
				t.Run(name+"/"+column, func(t *testing.T) { checkRule(t, name, column, want) })
			}
		}
		clear(columns)
	}
	for line := range strings.Lines(rules) {
		switch {
		case strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, "\t"):
			states, want, ok := strings.Cut(strings.TrimSpace(line), "  ")
			if !ok {
				t.Fatalf("line without an outcome: %q", line)
			}
			for state := range strings.FieldsSeq(states) {
				if !slices.Contains(tableStates, state) || columns[state] != "" {
					t.Fatalf("%s: state %q is unknown or doubled", names, state)
				}
				columns[state] = strings.TrimSpace(want)
			}
		default:
			check()
			names = strings.Split(strings.TrimSpace(line), " · ")
		}
	}
	check()
	for _, typ := range event.Types {
		if !tested[typ] {
			t.Errorf("no rule for %s", typ)
		}
	}
}

func checkRule(t *testing.T, name, column, want string) {
	e, at := tableEvent(t, name)
	same, _ := tableEvent(t, name)
	was := tableJob(column)
	r := Fold(was, e, at)
	if got := outcome(tableJob(column), r); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !reflect.DeepEqual(was, tableJob(column)) {
		t.Error("the job that was given in has changed")
	}
	if !reflect.DeepEqual(e, same) {
		t.Error("the event has changed")
	}
	if !r.Changed && r.Job != was {
		t.Error("a refused event gave another job")
	}
	if r.Changed && r.Job != nil {
		if r.Job.Version != at.Offset+1 {
			t.Errorf("version %d after offset %d", r.Job.Version, at.Offset)
		}
		if !r.Job.Doc.UpdatedAt.Equal(at.Time) {
			t.Errorf("updatedAt %s, want the record's time", r.Job.Doc.UpdatedAt)
		}
		if got := clone(t, r.Job); !reflect.DeepEqual(got, r.Job) {
			t.Errorf("stored and read again it is another job:\n%+v\n%+v", got, r.Job)
		}
	}
	for _, o := range r.Orders {
		if o.Type == event.Stop && o.Reason == "" {
			t.Error("a stop without a reason")
		}
		if o.JobID != jobID || o.Run == "" || o.Worker == "" || o.Dispatch == 0 {
			t.Errorf("incomplete order %+v", o)
		}
	}
	// Whatever the event: folded before, it is skipped.
	if was != nil {
		if r := Fold(was, e, Meta{Offset: was.Version - 1, Time: at.Time}); r.Changed || r.Reason != Old || r.Job != was ||
			len(r.Orders) != 0 {
			t.Errorf("an event below the job's version was not skipped: %+v", r)
		}
	}
}
