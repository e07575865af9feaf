#!/usr/bin/env bash
# Removes each rule marked ▲ from a copy of the code, one at a time, and checks that the rule's scenario
# in the simulation then fails. A mutant whose scenario passes is an error.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T - 2>/dev/null) | tar -x -C "$copy"
cd "$copy"

survivors=0
# mutant RULE FILE SED-EXPRESSION SCENARIO
mutant() {
	cp "$2" "$2.was"
	sed -i "$3" "$2"
	if cmp -s "$2" "$2.was"; then
		echo "STALE     $1: the expression changes nothing in $2"
		survivors=$((survivors + 1))
	elif go test -tags synctests -count=1 -timeout 120s -run "^$4\$" ./embedded/sim >"$copy/out" 2>&1; then
		echo "SURVIVED  $1: $4 passes without it"
		survivors=$((survivors + 1))
	elif grep -q 'build failed' "$copy/out"; then
		echo "BROKEN    $1: the mutant does not build"
		survivors=$((survivors + 1))
	else
		echo "killed    $1: $4"
	fi
	mv "$2.was" "$2"
}

mutant 'a claim makes a job that is not known' tracker/fold/fold.go \
	's/case j == nil \&\& s.e.Dispatch == 1:/case j == nil \&\& s.e.Dispatch == 99:/' TestAcceptedIsLostAfterItsRequest
mutant 'a claim that overtakes accepted is taken' tracker/fold/fold.go \
	's/case j == nil \&\& s.e.Dispatch == 1:/case j == nil \&\& s.e.Dispatch == 99:/' TestAClaimOvertakesAccepted
mutant 'a claim must name the job'"'"'s own request' tracker/fold/fold.go \
	's/ \&\& (j.Request == nil || \*j.Request == \*s.e.Request)//' TestAClaimFromAnotherRequestIsRefused
mutant 'a second claim of a dispatch is refused' tracker/fold/fold.go \
	's/waiting := j.Doc.State == job.Pending/waiting := true || j.Doc.State == job.Pending/; s/ \&\& (j.Request == nil || \*j.Request == \*s.e.Request)//' TestADoubledRequestRunsOnce
mutant 'the same run may say its claim again' tracker/fold/fold.go \
	's/case j.holds(s.e):/case false \&\& j.holds(s.e):/' TestAClaimSaidTwiceIsTaken
mutant 'an expiry names the renewal that it has seen' tracker/fold/fold.go \
	's/case \*s.e.Renewal != s.old.Renewal:/case false:/' TestAnExpiryAfterARenewalChangesNothing
mutant 'a claim of what may be a redelivery waits for granted' processor/partition.go \
	's/return !p.backlogKnown || offset < p.backlog/return false/' TestARequestIsRedeliveredAfterARebalance
mutant 'the next request is durable before requeued is said' tracker/shard/handout.go \
	's/if err := h.sender.produce(ctx, request); err != nil {/h.sender.kafka.Produce(request, func(error) {}); if false {/; s/return fmt.Errorf("produce request: %w", err)/return nil/' TestTheTrackerCrashesBeforeTheNextRequestIsDurable
mutant 'what is owed follows from the document' tracker/fold/timer.go \
	's/owe(HandOut, j.Doc.RetryAt.Add(-j.Skew))/_ = j.Doc.RetryAt/' TestTheTrackerCrashesBetweenTheNextRequestAndRequeued
mutant 'a run that does not hold the job changes nothing' tracker/fold/fold.go \
	's/func (s \*step) completed() Result {/func (s *step) completed() Result { if s.old != nil { s.change().end(job.Completed, s.at); return s.took() }/' TestAZombiesLateWordChangesNothing
mutant 'a key is reserved at its shard' gateway/intake/submit.go \
	's/if s.key == "" {$/if true {/' TestAHundredSubmitsWithOneKeyMakeOneRequest
mutant 'a release costs no attempt' tracker/fold/fold.go \
	's/		j.handOut(s.at, 0)$/		j.handOut(s.at, 0); j.Doc.Attempt++/' TestAPoliteStopReleasesAndCostsNoAttempt
mutant 'a scheduled job is handed out as dispatch 2' tracker/fold/fold.go \
	's/s.next.Dispatch = 2/s.next.Dispatch = 1/' TestAStrayRequestOfAScheduledJob
mutant 'a claim makes no job that may have expired' tracker/fold/fold.go \
	's/if s.stale() {/if false {/' TestALanesGroupLosesItsOffsets
mutant 'an event of another life changes nothing' tracker/fold/fold.go \
	's/if !s.sameLife() {/if false {/' TestAnOrderOfAFormerLife
mutant 'a dead request is handed out as another dispatch' tracker/fold/life.go \
	's/s.change().handOut(s.at, 0)$/s.change().handOut(s.at, 0); s.next.Dispatch--/' TestADeadRequestIsRequeued
mutant 'a lost request is the one that the job names' tracker/fold/life.go \
	'/^func (s \*step) requestLost/,/^}/s/case \*j.Request != \*s.e.Request:/case false:/' TestALostRequestIsTheOneTheJobNames
mutant 'blobs are of a life' tracker/sweep.go \
	's/event.PayloadFolder(id, life)/event.PayloadPrefix(id)/; s/event.ResultFolder(id, life)/event.ResultPrefix(id)/' TestAnIDUsedAgain
mutant 'a submit that came to nothing frees its key' gateway/intake/submit.go \
	's/in.keys.unreserve(ctx, s)$/_ = ctx/' TestARefusedSubmitFreesItsKey
mutant 'a time that its writer set is not the broker'"'"'s' tracker/shard/clock.go \
	's/believed: rec.Timestamp, byWriter: true}/believed: rec.Timestamp, byWriter: false}/' TestWritersClocks
mutant 'times of writers do not say that an expiry is not due' tracker/fold/owner.go \
	's/case !s.at.ByWriter \&\& !j.ByWriter \&\& /case /' TestWritersClocks
exit "$survivors"
