package processor

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// courses is the table of stance.next, for every pair of a phase and an input. Each block is an input and its variants,
// which tableStance and tableInput explain; each line names phases and what becomes of a run in them:
//
//	=                          nothing changes, and there is nothing to do
//	phase changes | acts       the phase afterwards, or · for the same one; all other changes of the stance; what is done
//
// "stuck" is reporting while the handler has not returned. Changes are flags, +raised or -lowered ("flight" is inFlight
// and "report" reportInFlight), and times ("sent", "renewed", "told" of progress, "retry"): now, 0, sent (when the
// event was sent that is answered), or pause (after retryPause).
const courses = `
claimDurable
	claiming                                      running -flight +handling renewed=sent | mark settle:started begin
	waiting running reporting stuck silent ended  · -flight renewed=sent
claimDurable mustWait
	claiming                                      waiting -flight renewed=sent | mark
	waiting running reporting stuck silent ended  · -flight renewed=sent
claimDurable redelivered
	claiming                                      waiting +mustWait -flight renewed=sent | mark
	waiting running reporting stuck silent ended  · -flight renewed=sent
claimDurable mustWait granted
	claiming                                      running -flight +handling renewed=sent | mark settle:granted begin
	waiting running reporting stuck silent ended  · -flight renewed=sent
claimDurable slow
	claiming                                      waiting +mustWait -flight sent=0 renewed=sent | mark
	waiting running reporting stuck silent ended  · -flight
claimDurable outdated
	claiming                                      running -flight +handling renewed=sent | mark settle:started begin
	waiting running reporting stuck silent ended  · -flight
claimDurable quit unable leaving mustWait
	claiming            reporting -flight +report renewed=sent outcome=cancelled | mark settle:quit report:failed,cancelled
	waiting running reporting stuck silent ended  · -flight renewed=sent
claimDurable unable leaving mustWait
	claiming          reporting -flight +report renewed=sent outcome=unable | mark settle:unable report:released,no_handler
	waiting running reporting stuck silent ended  · -flight renewed=sent
claimDurable leaving mustWait
	claiming                 reporting -flight +report renewed=sent outcome=released | mark settle:released report:released
	waiting running reporting stuck silent ended  · -flight renewed=sent
claimFailed
	claiming waiting running reporting stuck silent ended  · -flight retry=pause sent=0
claimInDoubt
	claiming                                      · +mustWait -flight retry=pause sent=0
	waiting running reporting stuck silent ended  · -flight retry=pause sent=0

renewed
	claiming waiting running reporting stuck silent ended  · -flight renewed=sent
renewed outdated
	claiming                                      · -flight renewed=sent
	waiting running reporting stuck silent ended  · -flight
beatFailed
	claiming waiting running reporting stuck silent ended  · -flight retry=pause sent=0
progressFailed
	claiming waiting reporting stuck silent ended  · -flight retry=pause sent=0
	running                                        · -flight +unsent retry=pause sent=0

reported
	claiming waiting running silent ended  =
	reporting stuck                        ended -report | finish
reportFailed
	claiming waiting running silent ended  · retry=pause
	reporting stuck                        · -report retry=pause
resultTooLarge
	claiming waiting running silent ended  · retry=pause
	reporting stuck                        · outcome=failed | report:failed,result_too_large

grant
	claiming                              · +granted
	waiting                               running +granted +handling | settle:granted begin
	running reporting stuck silent ended  =
grant late
	claiming                              · +granted
	waiting                               · sent=0
	running reporting stuck silent ended  =
grant unable
	claiming                              · +granted
	waiting                            reporting +granted +report outcome=unable | settle:unable report:released,no_handler
	running reporting stuck silent ended  =
quit
	claiming                      · +quit
	waiting                       reporting +quit +report outcome=cancelled | settle:quit report:failed,cancelled
	running                       · | end-context:cancelled
	reporting stuck silent ended  =
quit unable leaving
	claiming                      · +quit
	waiting                       reporting +quit +report outcome=cancelled | settle:quit report:failed,cancelled
	running                       · | end-context:cancelled
	reporting stuck silent ended  =
stop
	claiming      ended | mark settle:refused finish
	waiting       ended | settle:refused finish
	running       silent outcome=stopped | end-context:stopped
	reporting     ended outcome=stopped | finish
	stuck         silent outcome=stopped
	silent ended  =

leave
	claiming running reporting stuck silent ended  · +leaving
	waiting                                   reporting +leaving +report outcome=released | settle:released report:released
leave late
	claiming running reporting stuck silent ended  · +leaving
	waiting                                   reporting +leaving +report outcome=released | settle:released report:released
cut
	claiming waiting reporting stuck silent ended  =
	running                                        · | end-context:shutdown
giveUp
	claiming waiting reporting stuck silent ended  =
	running                                        reporting +report outcome=released | stuck report:released
giveUp unsent
	claiming waiting reporting stuck silent ended  =
	running                   reporting -unsent +report sent=now told=now outcome=released | stuck progress report:released

pulse
	claiming waiting running reporting stuck silent ended  =
pulse answered
	claiming                      · +flight sent=now | claim
	waiting running silent ended  =
	reporting stuck               · +report | repeat
pulse due
	claiming         · +flight sent=now | claim
	waiting          · +flight sent=now | ask
	running          · +flight sent=now | beat
	reporting stuck  · +report | repeat
	silent ended     =
pulse failed
	claiming waiting running reporting stuck silent ended  =
pulse late
	claiming waiting reporting stuck silent ended  =
	running                                        silent outcome=lease_lost | lease-lost end-context:lease-lost
pulse late failed
	claiming waiting reporting stuck silent ended  =
	running                                        silent outcome=lease_lost | lease-lost end-context:lease-lost
pulse due unsent
	claiming         · +flight sent=now | claim
	waiting          · +flight sent=now | ask
	running          · +flight -unsent sent=now told=now | progress
	reporting stuck  · +report | repeat
	silent ended     =
pulse due unsent soon
	claiming         · +flight sent=now | claim
	waiting          · +flight sent=now | ask
	running          · +flight sent=now | beat
	reporting stuck  · +report | repeat
	silent ended     =
pulse unsent
	claiming waiting running reporting stuck silent ended  =
pulse answered unsent soon
	claiming                      · +flight sent=now | claim
	waiting running silent ended  =
	reporting stuck               · +report | repeat

progress
	claiming waiting reporting stuck silent ended  =
	running                                        · +unsent latest=60%
progress answered
	claiming waiting reporting stuck silent ended  =
	running                                        · +flight sent=now told=now latest=60% | progress
progress answered lower unsent
	claiming waiting reporting stuck silent ended  =
	running                                        · +flight -unsent sent=now told=now latest=50% | conflated progress
progress answered soon
	claiming waiting reporting stuck silent ended  =
	running                                        · +unsent latest=60%
progress failed
	claiming waiting reporting stuck silent ended  =
	running                                        · +unsent latest=60%
progress unsent
	claiming waiting reporting stuck silent ended  =
	running                                        · latest=60% | conflated

returned
	claiming waiting reporting ended  =
	running                           reporting -handling +report outcome=completed | report:completed
	stuck                             · -handling
	silent                            ended -handling | finish
returned failure
	claiming waiting reporting ended  =
	running                           reporting -handling +report outcome=failed | report:failed,x
	stuck                             · -handling
	silent                            ended -handling | finish
returned unsent
	claiming waiting reporting ended  =
	running             reporting -unsent -handling +report sent=now told=now outcome=completed | progress report:completed
	stuck                             · -handling
	silent                            ended -handling | finish
returned failed
	claiming waiting reporting ended  =
	running                           reporting -handling +report retry=0 outcome=completed | report:completed
	stuck                             · -handling
	silent                            ended -handling | finish
`

// tablePhases are the columns of courses.
var tablePhases = []string{"claiming", "waiting", "running", "reporting", "stuck", "silent", "ended"}

// The terms and times of runs in the table.
const (
	tableLease    = 10 * time.Second
	tableRenewal  = 4 * time.Second
	tableProgress = time.Second
)

var tableNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// ago returns a time before the input comes.
func ago(d time.Duration) time.Time { return tableNow.Add(-d) }

// tableStance returns the stance of a run that sent something a second ago, which is not answered yet.
func tableStance(t *testing.T, column string, variants []string) stance {
	t.Helper()
	s := stance{
		terms:    terms{lease: tableLease, renewal: tableRenewal, progress: tableProgress},
		phase:    phase(column),
		inFlight: true, sentAt: ago(time.Second),
	}
	if column != "claiming" {
		s.renewedAt = ago(2 * time.Second)
		s.latest = job.Progress{Percent: 50}
	}
	switch column {
	case "waiting":
		s.mustWait = true
	case "running":
		s.handling = true
	case "reporting":
		s.outcome, s.reportInFlight = ranCompleted, true
	case "stuck":
		s.phase, s.handling = reporting, true
		s.outcome, s.reportInFlight = ranReleased, true
	case "silent":
		s.handling, s.outcome = true, ranStopped
	case "ended":
		s.outcome = ranCompleted
	}
	for _, word := range variants {
		switch word {
		case "mustWait":
			s.mustWait = true
		case "granted":
			s.granted = true
		case "quit":
			s.quit = true
		case "leaving":
			s.leaving = true
		case "unable":
			s.terms.lacks = Unable(WithCode(CodeNoHandler, errors.New("no handler")))
		case "answered": // a moment ago
			s.inFlight, s.reportInFlight = false, false
		case "due": // answered, and a renewal is due
			s.inFlight, s.reportInFlight = false, false
			s.sentAt = ago(tableRenewal)
		case "failed": // answered by an error a moment ago
			s.inFlight, s.reportInFlight = false, false
			s.sentAt, s.retryAt = time.Time{}, tableNow.Add(time.Millisecond)
		case "late": // the lease is over
			s.renewedAt = ago(tableLease)
		case "unsent": // progress is due
			s.unsent, s.progressAt = true, ago(tableProgress)
		case "soon": // progress was just sent
			s.progressAt = ago(tableProgress - 1)
		case "redelivered", "slow", "outdated", "lower", "failure": // of the input
		default:
			t.Fatalf("unknown variant %q", word)
		}
	}
	return s
}

func tableInput(kind string, variants []string) input {
	in := input{kind: inputKind(kind), sentAt: ago(time.Second)}
	in.progress = job.Progress{Percent: 60, Message: "more"}
	in.ending = ending{event: event.Completed, outcome: ranCompleted}
	for _, word := range variants {
		switch word {
		case "redelivered":
			in.redelivered = true
		case "slow": // the answer took a lease
			in.sentAt = ago(tableLease)
		case "outdated": // sent before the last renewal
			in.sentAt = ago(3 * time.Second)
		case "lower":
			in.progress.Percent = 40
		case "failure":
			in.ending = ending{event: event.Failed, outcome: ranFailed, failure: &event.Failure{Error: job.Error{Code: "x"}}}
		}
	}
	return in
}

// changes writes what an input has changed in a stance and what is to be done, in the words of courses.
func changes(was, is stance, in input, acts []act) string {
	var words []string
	flag := func(name string, was, is bool) {
		switch {
		case is && !was:
			words = append(words, "+"+name)
		case was && !is:
			words = append(words, "-"+name)
		}
	}
	at := func(name string, was, is time.Time) {
		if is.Equal(was) {
			return
		}
		what := is.String()
		switch {
		case is.IsZero():
			what = "0"
		case is.Equal(tableNow):
			what = "now"
		case is.Equal(in.sentAt):
			what = "sent"
		case is.Equal(tableNow.Add(retryPause)):
			what = "pause"
		}
		words = append(words, name+"="+what)
	}
	flag("mustWait", was.mustWait, is.mustWait)
	flag("granted", was.granted, is.granted)
	flag("quit", was.quit, is.quit)
	flag("leaving", was.leaving, is.leaving)
	flag("flight", was.inFlight, is.inFlight)
	flag("unsent", was.unsent, is.unsent)
	flag("handling", was.handling, is.handling)
	flag("report", was.reportInFlight, is.reportInFlight)
	at("retry", was.retryAt, is.retryAt)
	at("sent", was.sentAt, is.sentAt)
	at("renewed", was.renewedAt, is.renewedAt)
	at("told", was.progressAt, is.progressAt)
	if !reflect.DeepEqual(is.latest, was.latest) {
		words = append(words, fmt.Sprintf("latest=%v%%", is.latest.Percent))
	}
	if is.outcome != was.outcome {
		words = append(words, "outcome="+string(is.outcome))
	}
	if is.terms != was.terms {
		words = append(words, "terms")
	}
	if is.phase == was.phase && len(words) == 0 && len(acts) == 0 {
		return "="
	}
	if is.phase == was.phase {
		words = append([]string{"·"}, words...)
	} else {
		words = append([]string{string(is.phase)}, words...)
	}
	if len(acts) > 0 {
		words = append(words, "|")
	}
	for _, a := range acts {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

// String writes an act in the words of courses.
func (a act) String() string {
	switch a.deed {
	case settleClaim:
		return "settle:" + string(a.how)
	case endContext:
		return "end-context:" + map[error]string{ErrCancelled: "cancelled", ErrStopped: "stopped", ErrLeaseLost: "lease-lost",
			ErrShutdown: "shutdown"}[a.cause]
	case makeReport:
		if f := a.ending.failure; f != nil {
			return fmt.Sprintf("report:%s,%s", a.ending.event, f.Code)
		}
		return fmt.Sprintf("report:%s", a.ending.event)
	}
	return string(a.deed)
}

func TestEveryPhaseAndInput(t *testing.T) {
	tested := map[inputKind]bool{}
	name := ""
	columns := map[string]string{} // of the current block
	check := func() {
		if name == "" {
			return
		}
		tested[inputKind(strings.Fields(name)[0])] = true
		for _, column := range tablePhases {
			want, ok := columns[column]
			if !ok {
				t.Errorf("%s: no line for a run that is %s", name, column)
				continue
			}
			t.Run(name+"/"+column, func(t *testing.T) { checkCourse(t, name, column, want) })
		}
		clear(columns)
	}
	for line := range strings.Lines(courses) {
		switch {
		case strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, "\t"):
			of, want, ok := strings.Cut(strings.TrimSpace(line), "  ")
			if !ok {
				t.Fatalf("line without an outcome: %q", line)
			}
			for column := range strings.FieldsSeq(of) {
				if !slices.Contains(tablePhases, column) || columns[column] != "" {
					t.Fatalf("%s: phase %q is unknown or doubled", name, column)
				}
				columns[column] = strings.TrimSpace(want)
			}
		default:
			check()
			name = strings.TrimSpace(line)
		}
	}
	check()
	for _, kind := range inputKinds {
		if !tested[kind] {
			t.Errorf("no block for %s", kind)
		}
	}
	for _, p := range phases {
		if !slices.Contains(tablePhases, string(p)) {
			t.Errorf("no column for %s", p)
		}
	}
	if len(tested) != len(inputKinds) {
		t.Errorf("blocks for %v, which are not all inputs", slices.Collect(maps.Keys(tested)))
	}
}

func checkCourse(t *testing.T, name, column, want string) {
	words := strings.Fields(name)
	was, in := tableStance(t, column, words[1:]), tableInput(words[0], words[1:])
	is, acts := was.next(in, tableNow)
	if got := changes(was, is, in, acts); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
