package model

import (
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// Rule is a rule of the lifecycle that can be taken out.
type Rule string

// The rules. Each value says what holds while the rule is in place.
const (
	// Rules of gateways.
	RequestFirst Rule = "accepted is produced after its request is durable, and names it"
	Verdict      Rule = "a keyed submit is acked only by the fold's verdict on its own accepted"
	// Rules of the fold.
	Born         Rule = "a claim makes a job that is not known"
	OwnRequest   Rule = "a claim must come from the request that the job names"
	SameRun      Rule = "the run that holds the lease may claim again"
	NamedRenewal Rule = "an expiry of a lease names the renewal that is current"
	ReleaseBumps Rule = "a release raises the dispatch"
	NamedRound   Rule = "cancel and retry name the round that they saw"
	RetryBumps   Rule = "an explicit retry raises the dispatch"
	Scheduled    Rule = "a scheduled job is handed out as dispatch 2"
	NamedLife    Rule = "an event of another life changes nothing"
	YoungRequest Rule = "a claim makes no job that may have expired"
	// Rules of trackers.
	FactAfter Rule = "a next request is durable before requeued is appended"
	// Rules of workers.
	AskAgain  Rule = "a claim of what may be a redelivery waits for granted"
	ClaimBeat Rule = "a run that waits for granted claims again"
	SameClaim Rule = "after a doubt the same run claims again"
)

// Rules lists every rule that can be taken out.
var Rules = []Rule{RequestFirst, Verdict, Born, OwnRequest, SameRun, NamedRenewal, ReleaseBumps, NamedRound,
	RetryBumps, Scheduled, NamedLife, YoungRequest, FactAfter, AskAgain, ClaimBeat, SameClaim}

// long is longer than anything in the model takes.
const long = 1000 * time.Hour

// fold is fold.Fold without the rule that is taken out.
func (c *Config) fold(j *fold.Job, e *event.Event, at fold.Meta) fold.Result {
	given := *e
	switch c.Without {
	case Born:
		if j == nil && e.Type == event.Claimed {
			stop := event.Order{Type: event.Stop, JobID: e.JobID, Dispatch: e.Dispatch, Run: e.Run, Worker: e.Worker}
			return fold.Result{Reason: fold.UnknownJob, Orders: []event.Order{stop}}
		}
	case OwnRequest:
		if j != nil && j.Request != nil && e.Type == event.Claimed {
			given.Request = j.Request
		}
	case Scheduled:
		r := fold.Fold(j, &given, at)
		if e.Type == event.Accepted && r.Changed && r.Job.Doc.State == job.Scheduled {
			changed := *r.Job
			changed.Dispatch = 1
			r.Job = &changed
		}
		return r
	case NamedLife:
		given.Life = ""
		if j == nil {
			given.Life = e.Life
		}
	case YoungRequest:
		given.RequestedAt = nil
	case SameRun:
		if e.Type == event.Claimed && j != nil && j.Doc.State == job.Processing {
			given.Run += "'" // a run that the job does not know
			r := fold.Fold(j, &given, at)
			for i := range r.Orders {
				r.Orders[i].Run = e.Run
			}
			return r
		}
	case NamedRenewal:
		if e.Type == event.LeaseExpired && j != nil {
			given.Renewal = &j.Renewal
		}
	case NamedRound:
		if j != nil && (e.Type == event.CancelRequested || e.Type == event.RetryRequested) {
			given.Round = j.Round
		}
	case ReleaseBumps, RetryBumps:
		of := map[Rule]event.Type{ReleaseBumps: event.Released, RetryBumps: event.RetryRequested}[c.Without]
		r := fold.Fold(j, &given, at)
		if e.Type == of && r.Changed && r.Job != nil && r.Job.Dispatch > j.Dispatch {
			changed := *r.Job
			changed.Dispatch = j.Dispatch
			r.Job = &changed
		}
		return r
	}
	return fold.Fold(j, &given, at)
}

// debts returns the kinds of timers that may fire for j: those that NextDebt returns for a time before
// and for a time after everything in the model.
func debts(j *fold.Job) []fold.Kind {
	var kinds []fold.Kind
	for _, seen := range []time.Time{epoch.Add(-long), epoch.Add(long)} {
		k := fold.NextDebt(j, seen).Kind
		if k != fold.None && (len(kinds) == 0 || kinds[0] != k) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}
