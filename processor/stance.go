package processor

import (
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// This file has the rules of a run, from its claim to its durable report, as data and a pure function: stance.next
// takes an input, and returns the stance afterwards and the acts that it asks for. It has no clock, no lock, no Kafka
// and no goroutine: run.go does the acts. tracker/fold/RULES.md has the rules for workers, and says why each is needed.
//
// The table shows the phase after an input, and "·" where the phase stays. All other inputs leave every phase as it is.
// "decide" is turn.decide: the run begins its handler (running), waits for a grant (waiting) or hands the job back
// (reporting).
//
//	             claiming  waiting  running    reporting  silent  ended
//	claimDurable decide    ·        ·          ·          ·       ·
//	grant        ·         decide   ·          ·          ·       ·
//	quit         ·         decide   ·          ·          ·       ·
//	leave        ·         decide   ·          ·          ·       ·
//	stop         ended     ended    silent     ended (1)  ·       ·
//	pulse        ·         ·        silent (2) ·          ·       ·
//	returned     ·         ·        reporting  ·          ended   ·
//	giveUp       ·         ·        reporting  ·          ·       ·
//	reported     ·         ·        ·          ended      ·       ·
//
//	(1) silent, if the handler has not returned
//	(2) if the lease is over

// phase is the state of a run. The comment of each constant says what moves the run on.
type phase string

const (
	// claiming: it is not known whether the claim is durable. The claim's answer moves it on.
	claiming phase = "claiming"
	// waiting: the claim is durable, and the handler needs a grant to begin. An order moves it on.
	waiting phase = "waiting"
	// running: the handler runs and the lease is renewed. The handler's return, an order or
	// the lease's end moves it on.
	running phase = "running"
	// reporting: the terminal event is sent until it is durable. Its answer, or a stop order, moves it on.
	reporting phase = "reporting"
	// silent: the run was stopped or lost its lease, and appends no more events. The handler's return
	// moves it on.
	silent phase = "silent"
	// ended: the slot is free.
	ended phase = "ended"
)

var phases = []phase{claiming, waiting, running, reporting, silent, ended}

const retryPause = 250 * time.Millisecond // between two tries to append the same event

// terms are what a stance depends on and never changes.
type terms struct {
	lease    time.Duration // the policy's lease minus the margin
	renewal  time.Duration // interval between renewals
	progress time.Duration // the least interval between progress events
	lacks    error         // what this worker lacks to run the job; nil when it can
}

// stance holds all that decides what a run does next.
type stance struct {
	terms terms

	phase    phase
	mustWait bool // the handler may begin only after a grant
	granted  bool
	quit     bool // the job was cancelled
	leaving  bool // the processor stops: a job whose handler has not begun is handed back

	inFlight  bool      // a claim, beat or progress was handed to the client and not answered
	retryAt   time.Time // no event is sent before; zero when nothing failed
	sentAt    time.Time // when the last claim, beat or progress was sent; zero if one is due
	renewedAt time.Time // when the last of these that became durable was sent: the lease counts from here

	latest     job.Progress
	unsent     bool      // latest was not sent yet
	progressAt time.Time // when progress was last sent

	handling       bool    // the handler has begun and has not returned
	outcome        outcome // set from reporting and silent on
	reportInFlight bool    // the terminal event was handed to the client and not answered
}

// inputKind says what has happened.
type inputKind string

// The kinds of inputs. A claim, beat or progress is answered by one of the first five, a terminal event by one of the
// next three.
const (
	onClaimDurable   inputKind = "claimDurable"   // the claim is durable
	onClaimFailed    inputKind = "claimFailed"    // the broker refused the claim, which was not written
	onClaimInDoubt   inputKind = "claimInDoubt"   // it is not known whether the claim was written
	onRenewed        inputKind = "renewed"        // a beat or progress is durable
	onBeatFailed     inputKind = "beatFailed"     // Kafka did not confirm a beat
	onProgressFailed inputKind = "progressFailed" // Kafka did not confirm progress
	onReported       inputKind = "reported"       // the terminal event is durable
	onReportFailed   inputKind = "reportFailed"   // Kafka did not confirm the terminal event
	onResultTooLarge inputKind = "resultTooLarge" // the broker refuses a completed event of this size
	onGrant          inputKind = "grant"          // the tracker's order granted: the run holds the job
	onQuit           inputKind = "quit"           // the tracker's order quit: the job is cancelled
	onStop           inputKind = "stop"           // the tracker's order stop: the run does not hold the job
	onLeave          inputKind = "leave"          // the processor begins to stop
	onCut            inputKind = "cut"            // the grace for running handlers is over
	onGiveUp         inputKind = "giveUp"         // the time for handlers to return is over
	onPulse          inputKind = "pulse"          // time has passed; the first pulse sends the claim
	onProgress       inputKind = "progress"       // the handler reports progress
	onReturn         inputKind = "returned"       // the handler has returned
)

var inputKinds = []inputKind{onClaimDurable, onClaimFailed, onClaimInDoubt, onRenewed, onBeatFailed, onProgressFailed,
	onReported, onReportFailed, onResultTooLarge, onGrant, onQuit, onStop, onLeave, onCut, onGiveUp, onPulse, onProgress,
	onReturn}

// input is something that has happened to a run.
type input struct {
	kind        inputKind
	sentAt      time.Time    // of onClaimDurable and onRenewed: when the event was sent
	redelivered bool         // of onClaimDurable: the request may have been delivered before
	progress    job.Progress // of onProgress
	ending      ending       // of onReturn
}

// deed is something that a run has to do.
type deed string

const (
	sendClaim     deed = "claim"       // send the claim
	askAgain      deed = "ask"         // send the claim again, only to be granted
	sendBeat      deed = "beat"        // send a beat
	sendProgress  deed = "progress"    // send the latest progress
	makeReport    deed = "report"      // make the terminal event of act.ending, and send it
	repeatReport  deed = "repeat"      // send the terminal event again
	markRequest   deed = "mark"        // the request need not be delivered again
	settleClaim   deed = "settle"      // it is decided whether the handler begins: act.how
	beginHandler  deed = "begin"       // start the handler
	endContext    deed = "end-context" // end the handler's context with act.cause
	finishRun     deed = "finish"      // the run has ended: free its slot
	noteLeaseLost deed = "lease-lost"  // count and log it
	noteConflated deed = "conflated"   // count it: progress that was not sent is replaced
	noteStuck     deed = "stuck"       // log it: the handler does not return
)

// act is a deed with what it needs.
type act struct {
	deed   deed
	how    claimOutcome // of settleClaim
	cause  error        // of endContext
	ending ending       // of makeReport
}

// next returns the stance after an input that comes at now, and what the run then has to do, in this order.
func (s stance) next(in input, now time.Time) (stance, []act) {
	t := turn{stance: s, in: in, now: now}
	t.take()
	return t.stance, t.acts
}

// turn is the taking of one input.
type turn struct {
	stance // becomes the one afterwards
	in     input
	now    time.Time
	acts   []act
}

func (t *turn) do(acts ...act) { t.acts = append(t.acts, acts...) }

func (t *turn) take() {
	switch t.in.kind {
	case onClaimDurable:
		t.claimDurable()
	case onClaimFailed:
		t.renewalFailed()
	case onClaimInDoubt:
		t.renewalFailed()
		if t.phase == claiming {
			t.mustWait = true // another run may win the dispatch: this one cannot know
		}
	case onRenewed:
		t.renewed()
	case onBeatFailed:
		t.renewalFailed()
	case onProgressFailed:
		t.renewalFailed()
		if t.phase == running {
			t.unsent = true
		}
	case onReported:
		t.reportInFlight = false
		if t.phase == reporting {
			t.finish()
		}
	case onReportFailed:
		t.reportFailed()
	case onResultTooLarge:
		t.reportFailed()
		if t.phase == reporting {
			// The broker's limit is below ResultLimit: it would refuse every repetition too.
			t.conclude(tooLarge("the broker refuses a record with this result"))
		}
	case onGrant:
		t.grant()
	case onQuit:
		t.quitOrder()
	case onStop:
		t.stop()
	case onLeave:
		t.leaving = true
		if t.phase == waiting {
			t.decide()
		}
	case onCut:
		if t.phase == running {
			t.do(act{deed: endContext, cause: ErrShutdown})
		}
	case onGiveUp:
		if t.phase == running {
			t.do(act{deed: noteStuck})
			t.conclude(ending{event: event.Released, outcome: ranReleased})
		}
	case onPulse:
		t.pulse()
	case onProgress:
		t.progressed()
	case onReturn:
		t.returned()
	}
}

// claimDurable: the request need not be delivered again, whether the claim is taken or not.
func (t *turn) claimDurable() {
	t.renewed()
	if t.phase != claiming {
		return
	}
	t.do(act{deed: markRequest})
	t.mustWait = t.mustWait || t.in.redelivered
	t.decide()
}

// renewed: a claim, beat or progress is durable. The lease counts from when it was sent.
func (t *turn) renewed() {
	t.inFlight = false
	if t.in.sentAt.After(t.renewedAt) {
		t.renewedAt = t.in.sentAt
	}
}

// renewalFailed: a claim, beat or progress is due again after a pause, not a third of the lease later.
func (t *turn) renewalFailed() {
	t.inFlight = false
	t.sentAt = time.Time{}
	t.retryAt = t.now.Add(retryPause)
}

func (t *turn) reportFailed() {
	t.reportInFlight = false
	t.retryAt = t.now.Add(retryPause)
}

func (t *turn) grant() {
	switch t.phase {
	case claiming:
		t.granted = true
	case waiting:
		t.granted = true
		t.decide()
	}
}

func (t *turn) quitOrder() {
	switch t.phase {
	case claiming:
		t.quit = true
	case waiting:
		t.quit = true
		t.decide()
	case running:
		t.do(act{deed: endContext, cause: ErrCancelled})
	}
}

// decide moves on a run whose claim is durable and whose handler has not begun: it starts the handler, waits for a
// grant, or ends the run.
func (t *turn) decide() {
	switch {
	case t.quit:
		t.settle(claimQuit)
		t.conclude(ending{event: event.Failed, outcome: ranCancelled, failure: cancelled("cancelled before it began")})
	case t.terms.lacks != nil:
		// It does not wait for a grant: if the claim was not accepted, the fold ignores the release too.
		e, _ := handBack(t.terms.lacks)
		t.settle(claimUnable)
		t.conclude(e)
	case t.leaving:
		t.settle(claimReleased)
		t.conclude(ending{event: event.Released, outcome: ranReleased})
	case t.mustWait && !t.granted:
		t.phase = waiting
	case t.leaseOver():
		// The claim took longer than its own lease: the tracker may let the lease expire right
		// after the handler has begun. Send the claim again, and wait for a new grant.
		t.phase, t.mustWait, t.granted = waiting, true, false
		t.sentAt = time.Time{}
	default:
		how := claimStarted
		if t.mustWait {
			how = claimGranted
		}
		t.settle(how)
		t.phase, t.handling = running, true
		t.do(act{deed: beginHandler})
	}
}

func (t *turn) settle(how claimOutcome) { t.do(act{deed: settleClaim, how: how}) }

func (t *turn) leaseOver() bool { return t.now.Sub(t.renewedAt) >= t.terms.lease }

// conclude sends the terminal event for the first time, after the last progress if that was not sent yet. It does not
// wait for a renewal that is in flight: the client keeps the order of a partition's records.
func (t *turn) conclude(e ending) {
	if t.unsent && t.phase == running {
		t.sendLatest()
	}
	t.phase, t.outcome = reporting, e.outcome
	t.retryAt = time.Time{}
	t.reportInFlight = true
	t.do(act{deed: makeReport, ending: e})
}

func (t *turn) finish() {
	t.phase = ended
	t.do(act{deed: finishRun})
}

// stop ends the run without a report. The tracker refuses only claims that it has read, so the claim is durable.
func (t *turn) stop() {
	switch t.phase {
	case claiming:
		t.do(act{deed: markRequest})
		t.settle(claimRefused)
		t.finish()
	case waiting:
		t.settle(claimRefused)
		t.finish()
	case running:
		t.silence(ErrStopped, ranStopped)
	case reporting:
		t.outcome = ranStopped
		if t.handling {
			t.phase = silent
			return
		}
		t.finish()
	}
}

// silence ends the handler's context; from then on the run appends no events.
func (t *turn) silence(cause error, how outcome) {
	t.phase, t.outcome = silent, how
	t.do(act{deed: endContext, cause: cause})
}

// pulse does what is due: it sends an event again that failed, renews the lease, sends conflated progress, and notices
// that the lease was lost.
func (t *turn) pulse() {
	if t.phase == running && t.leaseOver() {
		t.do(act{deed: noteLeaseLost})
		t.silence(ErrLeaseLost, ranLeaseLost)
	}
	if t.now.Before(t.retryAt) {
		return
	}
	renewalDue := !t.inFlight && t.now.Sub(t.sentAt) >= t.terms.renewal
	switch t.phase {
	case claiming:
		if !t.inFlight {
			t.send(sendClaim)
		}
	case waiting:
		// The claim and not a beat: the tracker answers a claim with a grant, and a beat with nothing.
		if renewalDue {
			t.send(askAgain)
		}
	case running:
		switch {
		case t.unsent && t.progressDue():
			t.sendLatest()
		case renewalDue:
			t.send(sendBeat)
		}
	case reporting:
		if !t.reportInFlight {
			t.reportInFlight = true
			t.do(act{deed: repeatReport})
		}
	}
}

// send sends a claim, beat or progress. At most one of these is in flight, except before the terminal event.
func (t *turn) send(what deed) {
	t.inFlight, t.sentAt = true, t.now
	t.do(act{deed: what})
}

func (t *turn) sendLatest() {
	t.unsent, t.progressAt = false, t.now
	t.send(sendProgress)
}

func (t *turn) progressDue() bool {
	return !t.inFlight && t.now.Sub(t.progressAt) >= t.terms.progress
}

// progressed: the handler's progress is sent unless progress was sent just before; then a pulse sends the latest one
// later.
func (t *turn) progressed() {
	if t.phase != running {
		return
	}
	if t.unsent {
		t.do(act{deed: noteConflated})
	}
	percent := max(t.in.progress.Percent, t.latest.Percent)
	t.latest, t.unsent = t.in.progress, true
	t.latest.Percent = percent
	if !t.now.Before(t.retryAt) && t.progressDue() {
		t.sendLatest()
	}
}

// returned: a silent run ends; a run whose report is on its way, because its handler seemed stuck, goes on with that;
// any other reports what the handler returned.
func (t *turn) returned() {
	t.handling = false
	switch t.phase {
	case running:
		t.conclude(t.in.ending)
	case silent:
		t.finish()
	}
}
